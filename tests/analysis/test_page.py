"""The report: one page that needs nothing beside itself, with everything drawn also as figures and numbers."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from synthetic import DRAWS_PER_SNAPSHOT, LADDER, ar1, write_store
from test_analysis_cli import run_program

L, D, DRAWS = 16, 8, 150


def whole_store(path: Path, model: str = "transformer-2-8", blocks: int = 2, peak: int = 2) -> Path:
    """Everything that a run of a transformer stores, C largest at LADDER[peak + 1]."""
    rng = np.random.default_rng(21)
    temperature = LADDER[1:6]
    walkers, snapshots = 2 * temperature.size, DRAWS // DRAWS_PER_SNAPSHOT
    capacity = 500.0 / (1.0 + np.log(temperature / temperature[peak]) ** 2)
    noise = ar1(0.3, (2, temperature.size, DRAWS), rng)
    energy = 1.0 + np.cumsum(capacity * np.gradient(temperature)) [:, None] + temperature[:, None] * np.sqrt(
        capacity[:, None]) * noise  # fmt: skip
    layers = {"E": 21 * D}
    for b in range(blocks):
        layers |= {f"{b}.Wqk": D * D, f"{b}.Wvc": D * D, f"{b}.LN1.gain": D, f"{b}.LN1.bias": D, f"{b}.LN2.gain": D,
                   f"{b}.LN2.bias": D, f"{b}.W1": 4 * D * D, f"{b}.b1": 4 * D, f"{b}.W2": 4 * D * D, f"{b}.b2": D}
    layers |= {"Wo": 21 * D, "bo": 21}
    size = sum(layers.values())
    parameters = rng.standard_normal((walkers, 1, size)) + rng.standard_normal((walkers, snapshots, size))
    contacts = np.triu(rng.random((L, L)) < 0.2, 2)
    observables = {}
    references = {"es_energy": np.array([1.0, 1.1]), "ot_energy": np.array([0.9, 1.0]),
                  "es_parameters": parameters[:2, 0], "ot_parameters": parameters[2:4, 0]}  # fmt: skip
    if blocks:
        maps = rng.random((walkers, snapshots, blocks, L, L)) + contacts
        observables["attention"] = maps
        references |= {"es_attention": maps[:2, 0], "ot_attention": maps[2:4, 0]}
    flat = energy.reshape(walkers, DRAWS)
    return write_store(
        path, temperature, flat, parameters=parameters, layers=layers, contacts=contacts | contacts.T,
        references=references, model={"name": model, "kind": model.partition("-")[0]}, train_error=0.3 * flat,
        val_error=0.4 * flat, test_error=0.41 * flat[:, 9::10],
        kinetic_ratio=1 + 0.02 * rng.standard_normal(flat.shape), **observables,
    )  # fmt: skip


class Links(HTMLParser):
    """Every address on a page, every anchor, every tag that could run or fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                self.addresses.append(value or "")
            if name == "id":
                self.anchors.add(value or "")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one run in `one`, of three networks in `three`."""
    folder = tmp_path_factory.mktemp("reports")
    whole = whole_store(folder / "a.zarr")
    pooling = whole_store(folder / "b.zarr", "pooling-8-40", blocks=0, peak=1)
    again = whole_store(folder / "c.zarr", peak=3)
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run_program(monkeypatch, "report", whole, "--out", folder / "one", "--tolerance", 2) == 0
        assert run_program(monkeypatch, "report", whole, pooling, again, "--out", folder / "three") == 0
    return folder


@pytest.mark.parametrize("name", ["one", "three"])
def test_a_page_holds_all_that_it_shows(reports: Path, name: str) -> None:
    page = Links()
    page.feed((reports / name / "index.html").read_text())
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    outside = [a for a in page.addresses if not a.startswith(("data:", "#"))]
    assert outside == []
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= page.anchors
    pictures = list((reports / name).rglob("*.png"))
    assert sum(a.startswith("data:image/png") for a in page.addresses) == len(pictures)
    assert {p.with_suffix(".pdf").exists() for p in pictures} == {True}


def test_the_page_says_what_a_reader_asks(reports: Path) -> None:
    text = (reports / "one" / "index.html").read_text()
    for part in ("transformer-2-8", "kinetic temperature", "±", "adapt_until", "within 2 sites", "Self-checks",
                 "No peak at zero"):  # fmt: skip
        assert part in text
    text = (reports / "three" / "index.html").read_text()
    for part in ("transformer-2-8 (a)", "transformer-2-8 (c)", "pooling-8-40", "Networks together"):
        assert part in text


def test_everything_drawn_is_a_number_too(reports: Path) -> None:
    names = {path.stem for path in (reports / "one").glob("*.csv")}
    assert {"overlaps", "overlap_decay", "gains", "precision", "tolerant_precision", "self_averaging", "attention",
            "gain_histograms", "precision_reference"} <= names  # fmt: skip
    with (reports / "one" / "precision.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 3 * 2  # temperatures, blocks and the best, mean and error
    assert {row["temperature [nats]"] for row in rows} == {str(t) for t in LADDER[1:6]}
    assert not (reports / "three" / "pooling-8-40" / "attention.csv").exists()
    assert (reports / "three" / "networks_contacts.png").exists()


CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run", "--enable-logging=stderr")  # fmt: skip


OWN_HOSTS = ("google.com", "googleapis.com", "gvt1.com")
"""Where the browser itself looks for updates, whatever the page."""


def opened(page: Path, folder: Path, width: int) -> tuple[str, set[str]]:
    """What headless Chromium logs on a page, and the hosts that it asks for it."""
    log = folder / "net.json"
    done = subprocess.run(
        ["chromium", *CHROMIUM, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900",
         f"--log-net-log={log}", f"--screenshot={folder / 'page.png'}", page.resolve().as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (folder / "page.png").stat().st_size > 1_000
    urls = (urlsplit(event.get("params", {}).get("url", "")) for event in json.loads(log.read_text())["events"])
    hosts = {url.hostname for url in urls if url.scheme in ("http", "https", "ws", "wss") and url.hostname}
    return done.stderr, {host for host in hosts if not host.endswith(OWN_HOSTS)}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_opens_the_page_without_complaint_or_request(reports: Path, tmp_path: Path, width: int) -> None:
    """At the width of a phone and of a screen: no console message, no address fetched."""
    logged, hosts = opened(reports / "three" / "index.html", tmp_path, width)
    assert "CONSOLE" not in logged
    assert hosts == set()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
def test_a_page_that_complains_and_fetches_is_seen(tmp_path: Path) -> None:
    """The broken twin."""
    page = tmp_path / "page.html"
    page.write_text("<img src='http://figures.invalid/a.png'><script>console.error('no data')</script>")
    logged, hosts = opened(page, tmp_path, 800)
    assert "CONSOLE" in logged
    assert hosts == {"figures.invalid"}

"""`protmpi-analysis contacts`: tables, JSON, figures and refusals, on stores of tiny networks and on made-up folds."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import gemmi
import h5py
import numpy as np
import pytest
import torch
from conftest import small_data
from folds import contacts, structure, walk
from matplotlib.image import imread
from synthetic import LADDER, write_store
from test_analysis_cli import BLOCKED, refuse_constant, run_program

from analysis.subjects.contacts.folding_networks import FoldingNetwork, open_source
from analysis.subjects.contacts.heads import ATTENTION
from analysis.subjects.contacts.proteins import native
from analysis.subjects.contacts.sampled import GROUPS, Options, sampled_contacts
from analysis.subjects.contacts.single_pass import JACOBIAN, predict
from analysis.subjects.contacts.tables import best_temperatures
from protmpi.data import dataset
from protmpi.models.layers import sinusoidal_positions
from protmpi.models.transformer import Transformer

L, SNAPSHOTS = 30, 4
NETWORK = {"name": "transformer-2-4", "kind": "transformer", "blocks": 2, "d": 4, "m": 16}


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of 30 sites, so that there are pairs of |i-j| >= 24."""
    path = tmp_path_factory.mktemp("data") / "family.h5"
    data = small_data(L, 40)
    assert isinstance(data, dataset.FoldingData)
    separation = np.abs(np.subtract.outer(np.arange(L), np.arange(L)))
    close = (separation == 3) | (separation == 8) | (separation == 25)
    dataset.save(path, dataset.FoldingData(data.sequences, data.masked, data.split, contact_map=close,
                                           native="ACDEFGHIKLMNPQRSTVWYACDEFGHIKL"))  # fmt: skip
    return path


def store_of(path: Path, data_file: Path, d: int = 4, **more: object) -> Path:
    """A store at three temperatures whose snapshots hold weights of a small transformer."""
    random, layout = np.random.default_rng(d), Transformer(21, L, 2, d, 4 * d).layout
    weights = random.normal(0, 0.5, (3, SNAPSHOTS, layout.size)).astype(np.float32)
    energy = 1.3 + 0.01 * random.standard_normal((3, 10 * SNAPSHOTS))
    data = dataset.load(data_file)
    return write_store(
        path, LADDER[2:5], energy, parameters=weights, contacts=data.contact_map,
        model={**NETWORK, "d": d, "m": 4 * d, "name": f"transformer-2-{d}"},
        references={"es_parameters": weights[:2, 0], "es_energy": np.ones(2)},
        more={"data": {"task": "folding", "file": str(data_file)}}, identity={"data.file": data.data_hash(), **more},
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, data_file: Path) -> Path:
    return store_of(tmp_path_factory.mktemp("store") / "run.zarr", data_file)


def test_logits_are_those_of_the_network_at_masked_sites(data_file: Path) -> None:
    """Against the plain formula of docs/method/networks.md section 2, one masked site after the other."""
    random = np.random.default_rng(1)
    weights = random.normal(0, 0.5, Transformer(21, L, 1, 4, 16).layout.size)
    network = FoldingNetwork({**NETWORK, "blocks": 1, "name": "transformer-1-4"}, L, weights)
    tokens = random.integers(20, size=L).astype(np.uint8)
    found = network.logits(tokens[np.newaxis])[0]
    for site in (0, 7, L - 1):
        masked = tokens.copy()
        masked[site] = 20
        changed = tokens.copy()
        changed[site] = (tokens[site] + 1) % 20
        attention = network.attention(masked)
        np.testing.assert_allclose(found[site], _plain(weights, masked, attention[0])[site], rtol=1e-4, atol=1e-5)
        again = network.logits(changed[np.newaxis])[0]
        np.testing.assert_array_equal(again[site], found[site])  # its own residue is hidden from a site
        assert not np.allclose(np.delete(again, site, 0), np.delete(found, site, 0), atol=1e-4)
    assert network.passes(tokens) == L


def _plain(weights: np.ndarray, tokens: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Logits (L, 20) of one block from its attention map."""
    network = Transformer(21, L, 1, 4, 16)
    p = {n: a[0].numpy() for n, a in network.layout.split(torch.from_numpy(weights[np.newaxis])).items()}
    positions = {d: sinusoidal_positions(L, d) for d in (4, 16)}

    def norm(x: np.ndarray, layer: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return np.asarray(p[f"{layer}.gain"] * scaled + p[f"{layer}.bias"])

    x = p["E"][tokens] + positions[4]
    y = norm(x + attention @ x @ p["0.Wvc"].T, "0.LN1")
    hidden = np.maximum(y @ p["0.W1"].T + p["0.b1"], 0) + positions[16]
    return np.asarray((norm(y + hidden @ p["0.W2"].T + p["0.b2"], "0.LN2") @ p["Wo"].T + p["bo"])[:, :20])


def test_what_is_asked_of_a_store(store: Path) -> None:
    source = open_source(store, None)
    options = Options(labelled=4, sequences=2, snapshots=2)
    data = sampled_contacts(source, options)
    assert data["evaluated"].values.tolist() == [2, 2, 2]
    assert data["passes"].sel(predictor=JACOBIAN).item() == pytest.approx((19 * L + 1) * L)
    assert data["predictor"].values.tolist() == ["best head", ATTENTION, "regression", JACOBIAN]
    assert data["reference_precision"].shape == (1, 2, 4, 3, 3)
    first = data["reference_precision"].isel(reference=0).sel(weights="ES", predictor=JACOBIAN, group="native").values
    network = FoldingNetwork(source.model, L, source.references["ES"][0])
    protein = native(source.data)[0]
    scores = predict(network, protein.tokens, None, 1)[JACOBIAN].scores
    np.testing.assert_allclose(first, protein.precisions(scores))
    mean = data["precision"].sel(statistic="mean")
    assert 0.0 <= np.nanmin(mean) < np.nanmax(mean) <= 1.0


def test_networks_command(
    store: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = store_of(tmp_path / "wide.zarr", data_file, d=6)
    few = ("--labelled", 3, "--sequences", 1, "--snapshots", 1)
    assert run_program(monkeypatch, "contacts", "networks", store, other, *few, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 120
    for shown in (ATTENTION, JACOBIAN, "native", "1e-4", "ES", "rank correlation", "Random scores"):
        assert shown in printed
    names = {f"contacts-transformer-2-{d}.{suffix}" for d in (4, 6) for suffix in ("png", "pdf", "csv")}
    names |= {"contacts-dimension.png", "contacts-dimension.pdf"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for name in ("contacts-transformer-2-4", "contacts-dimension"):
        image = imread(tmp_path / "out" / f"{name}.png")[..., :3]
        assert 0.01 < np.mean(image.min(axis=2) < 0.9) < 0.5
    rows = list(csv.DictReader((tmp_path / "out" / "contacts-transformer-2-4.csv").open()))
    assert len(rows) == 3 * 4 * len(GROUPS) * 3 * 2
    assert run_program(monkeypatch, "contacts", "networks", store, *few, "--json") == 0
    tree = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)["networks"][0]
    values = {row["quantity"] for row in tree["precision"]}
    assert values == {"precision", "reference_precision"}
    assert tree["dimension"] == 4


def test_a_weights_file_needs_its_data(
    store: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = open_source(store, None)
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["references/ES"] = file["references/OT"] = source.references["ES"]
        file.attrs.update(model=json.dumps(source.model), data_hash=source.data.data_hash())
    weights = tmp_path / "weights.h5"
    few = ("--labelled", 3, "--sequences", 1)
    assert run_program(monkeypatch, "contacts", "networks", weights, *few, "--data", data_file) == 0
    assert sum(line.split()[:1] == ["OT"] for line in capsys.readouterr().out.splitlines()) == 4
    other = tmp_path / "other.h5"
    dataset.save(other, small_data(L, 40, seed=6))
    for arguments, reason in (
        ((weights,), "weights.h5 does not say where its data set is"),
        ((weights, "--data", other), "other.h5: is not the data set of"),
        ((store, "--data", tmp_path / "none.h5"), "no such data file"),
        ((data_file, "--data", data_file), "not a weights file"),
        ((tmp_path / "none.zarr",), "none.zarr"),
        ((store, "--out", other), "other.h5: no figures can be written here"),
    ):
        out = () if "--out" in arguments else ("--out", tmp_path / "no")
        assert run_program(monkeypatch, "contacts", "networks", *out, *arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert reason in error
    assert not (tmp_path / "no").exists()


def folds(folder: Path, count: int, seed: int) -> Path:
    """Made-up chains of 40 Cα, a file each."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for index in range(count):
        x = walk(40, random)
        structure("fold", x, random.integers(20, size=40)).write_pdb(str(folder / f"fold-{index}.pdb"))
        assert contacts(x).any()
    return folder


def test_structures_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="pip install 'protmpi[plm]'")
    from test_language_models import write_esm

    (tmp_path / "esm").mkdir()
    model, folder = write_esm(tmp_path / "esm"), folds(tmp_path / "folds", 5, 1)
    capsys.readouterr()
    held_out = folds(tmp_path / "new", 2, 2)
    gemmi.read_structure(str(folder / "fold-0.pdb")).write_pdb(str(held_out / "copy.pdb"))
    arguments = ("contacts", "structures", folder, "--plm", model, "--held-out", held_out, "--labelled", 2, "--top", 3,
                 "--cutoff", 8)  # fmt: skip
    assert run_program(monkeypatch, *arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) <= 120
    lines = captured.out.splitlines()
    for method in ("best head", "top 3 heads", ATTENTION, "regression", JACOBIAN):
        assert sum(method in line and line.split()[0] in ("train-like", "held-out") for line in lines) == 2
    assert sum(f"{19 * 40 + 1}" in line for line in lines) == 2
    assert "copy.pdb" in captured.out
    assert run_program(monkeypatch, *arguments, "--json") == 0
    tree = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
    assert tree["leaks"] == ["copy.pdb"]
    assert tree["identity"]["copy.pdb"] == 1.0
    assert len(tree["precision"]) == 5 * 2 * 3
    assert len(tree["labelled"]) == 2


def test_structures_command_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, empty = folds(tmp_path / "folds", 2, 1), tmp_path / "empty"
    empty.mkdir()
    broken = folds(tmp_path / "broken", 1, 1)
    (broken / "fold-1.pdb").write_text("no structure")
    for arguments, reason in (
        ((folder, "--plm", tmp_path / "none", "--labelled", 1), "cannot be loaded as a protein language model"),
        ((folder, "--plm", "x"), "--labelled: 10 of 2 structures leave none to test; at most 1"),
        ((empty, "--plm", "x"), "empty: 0 PDB or mmCIF files"),
        ((tmp_path / "none", "--plm", "x"), "no such folder"),
        ((broken, "--plm", "x"), "fold-1.pdb"),
    ):
        assert run_program(monkeypatch, "contacts", "structures", *arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert reason in captured.err


def test_without_torch_the_command_says_what_is_missing(store: Path) -> None:
    code = BLOCKED.replace('"thermodynamics", sys.argv[1]', '"contacts", "networks", sys.argv[1]')
    done = subprocess.run([sys.executable, "-c", code, store], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr.startswith("error: networks are run by torch, which is missing")


def test_best_temperatures_of_planted_curves(store: Path) -> None:
    data = sampled_contacts(open_source(store, None), Options(labelled=3, sequences=1, snapshots=1))
    assert np.isnan(data["precision"].sel(statistic="sem")).all(), "one snapshot has no error"
    for predictor, curve in ((ATTENTION, [0.1, 0.5, 0.2]), (JACOBIAN, [0.9, 0.3, 0.6])):
        data["precision"].loc[{"predictor": predictor, "group": GROUPS[0], "statistic": "mean"}] = np.tile(
            curve, (3, 1)
        ).T
    lines = best_temperatures(data)
    assert len(lines) == 3
    assert "attention is best at T = 2e-4 (0.500), the Jacobian at T = 1e-4 (0.900)" in lines[0]
    assert "correlation is -1.00" in lines[0]

"""Files from anywhere: whatever their bytes, a reader gives their content or one line of error, in bounded memory."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import small_data
from forked import Running, alone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from short_run import CONFIG, load, sample

from hpc.stop import Stop
from hpc.world import OneRank
from protmpi import config as configuration
from protmpi import references, tasks, weights
from protmpi.data import alignments, contacts, dataset
from protmpi.errors import DataError
from protmpi.hdf5 import numbers, reading
from protmpi.store.reader import Store
from protmpi.store.verify import examine

MEMORY = 1 << 30  # bytes that a reader may take beside what is there already
SECONDS = 60  # of CPU time, far above what any reader takes

PDB = "\n".join(
    f"ATOM  {i:5d}  CA  ALA A{i:4d}    {3.8 * (i % 3):8.3f}{2.5 * (i % 5):8.3f}{i:8.3f}  1.00  0.00           C"
    for i in range(1, 25)
)
FASTA = "".join(f">sequence {i}\n{'ACDEFGHIKL' if i % 2 else 'ACDEFGHIKM'}\n" for i in range(12))
EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9)), max_size=6)
ENDS = st.floats(0, 1.3)
"""Where a file is cut off; above 1, nowhere."""


def examples(count: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
        return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=quiet)(test)

    return decorate


def edited(content: bytes, edits: list[tuple[float, bytes]], end: float) -> bytes:
    changed = bytearray(content)
    for place, new in edits:
        at = int(place * len(content))
        changed[at : at + len(new)] = new
    return bytes(changed[: int(end * len(changed))] if end < 1 else changed)


def verdict(read: Callable[[], object]) -> str:
    """What a reader says in a process of little memory: "" or its one line."""

    def program(_: object) -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        read()

    (outcome,) = Running(program).wait()
    assert outcome.status in (0, 2), outcome.printed
    errors = [line for line in outcome.printed.splitlines() if line]
    assert len(errors) == (outcome.status == 2), outcome.printed
    return "".join(errors)


@examples(40)
@given(edits=EDITS, end=ENDS)
def test_configurations(tmp_path: Path, edits: list[tuple[float, bytes]], end: float) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(edited(CONFIG.encode(), edits, end))
    verdict(lambda: configuration.load(path))


@examples(30)
@given(edits=EDITS, end=ENDS)
def test_structures_and_alignments(tmp_path: Path, edits: list[tuple[float, bytes]], end: float) -> None:
    structure, sequences = tmp_path / "s.pdb", tmp_path / "s.fasta"
    structure.write_bytes(edited(PDB.encode(), edits, end))
    sequences.write_bytes(edited(FASTA.encode(), edits, end))
    verdict(lambda: contacts.contact_map(str(structure), cutoff=4.5, min_separation=2, chain=None, model=1))
    verdict(lambda: alignments.read(sequences))


@pytest.fixture(scope="module")
def hdf5(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, configuration.Config]:
    """A data file, a weights file, and the configuration that the weights are of."""
    folder = tmp_path_factory.mktemp("fuzz")
    dataset.save(folder / "data.h5", small_data())  # type: ignore[arg-type]
    config = load(folder / "store.zarr", f'train.file="{folder}/weights.h5"', "train.inits=1", "train.references=1",
                  "train.max_epochs=2", "train.over_epochs=400", "train.warmup=5", "train.eval_every=1")  # fmt: skip
    world = OneRank()
    assert alone(lambda: references.train(config, tasks.build(config), world, Stop(world), "cpu", lambda _: None))
    return folder / "data.h5", config.train.file, config


@examples(30)
@given(edits=EDITS, end=ENDS)
def test_data_and_weights(
    tmp_path: Path, hdf5: tuple[Path, Path, configuration.Config], edits: list[tuple[float, bytes]], end: float
) -> None:
    data, trained, config = hdf5
    for source in (data, trained):
        (tmp_path / source.name).write_bytes(edited(source.read_bytes(), edits, end))
    verdict(lambda: dataset.load(tmp_path / data.name))
    verdict(lambda: weights.load(tmp_path / trained.name, config, tasks.build(config)))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: f.create_dataset("x", data=np.array(["a"], dtype=object), dtype=h5py.string_dtype()), "type object"),
        (lambda f: f.create_dataset("x", (3,), dtype=h5py.vlen_dtype(np.int32)), "type object"),
        (lambda f: f.create_dataset("x", (3,), dtype=h5py.ref_dtype), "type object"),
        (lambda f: f.create_dataset("x", data=h5py.Empty("f8")), "numbers are expected"),
        (lambda f: f.create_dataset("x", (10**9,), dtype="f8", chunks=(1000,)), "more than"),
        (lambda f: f.create_dataset("x", (8,), dtype="u1", external=[("/etc/hostname", 0, 8)]), "another file"),
        (lambda f: f.create_virtual_dataset("x", _virtual()), "another file"),
    ],
    ids=["text", "vlen", "reference", "empty", "bomb", "external", "virtual"],
)
def test_hdf5_of_more_than_numbers_is_refused(tmp_path: Path, harm: Callable[[h5py.File], object], said: str) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        harm(file)
    with pytest.raises(DataError, match=said), reading(tmp_path / "x.h5") as file:
        numbers(file, tmp_path / "x.h5")


def _virtual() -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout((8,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (8,))
    return layout


def test_links_out_of_an_hdf5_file_are_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(3)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
    with reading(tmp_path / "x.h5") as file:
        assert numbers(file, tmp_path / "x.h5") == {}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("fuzz") / "store.zarr"
    (outcome,) = Running(sample(store, "run.steps=20")).wait()
    assert outcome.status == 0, outcome.printed
    return store


def read_all(store: Path) -> None:
    """As status, digest, verify and the analysis do."""
    found = Store(store)
    found.status()
    found.digest()
    found.read("temperature")
    assert found.first_measured
    examine(store, lambda stored: configuration.parse(stored, "stored").physics())


@examples(40)
@given(which=st.floats(0, 1, exclude_max=True), edits=EDITS, end=ENDS)
def test_stores(folder: Path, original: Path, which: float, edits: list[tuple[float, bytes]], end: float) -> None:
    """One file in two is the group's metadata or a commit record: what everything else hangs on."""
    store = folder / "store.zarr"
    shutil.copytree(original, store)
    files = sorted(path for path in store.rglob("*") if path.is_file())
    central = [path for path in files if path.parent in (store, store / "commits")]
    chosen = files if which < 0.5 else central
    victim = chosen[int(2 * which % 1 * len(chosen))]
    victim.write_bytes(edited(victim.read_bytes(), edits, end))
    verdict(lambda: read_all(store))
    shutil.rmtree(store)


def _consolidated(change: dict[str, object]) -> Callable[[dict[str, dict]], None]:  # type: ignore[type-arg]
    return lambda j: j["consolidated_metadata"]["metadata"]["energy"].update(change)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "harm",
    [
        _consolidated({"shape": [10**12, 10**12]}),
        _consolidated({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**9, 10**9]}}}),
        _consolidated({"data_type": "string"}),
        _consolidated({"codecs": [{"name": "vlen-utf8"}]}),
        lambda j: j["attributes"]["layout"].update(walkers=10**15),
        lambda j: j["attributes"]["layout"]["variables"][0].update(shape=[10**9] * 3, dims=["a", "b", "c"]),
        lambda j: j["attributes"].update(config=[[[[]]]]),
        lambda j: j["attributes"].update(layout=None),
    ],
)
def test_absurd_metadata_of_a_store_is_one_line(
    folder: Path,
    original: Path,
    harm: Callable[[dict[str, dict]], None],  # type: ignore[type-arg]
) -> None:
    store = folder / "store.zarr"
    shutil.copytree(original, store)
    metadata = json.loads((store / "zarr.json").read_text())
    harm(metadata)
    (store / "zarr.json").write_text(json.dumps(metadata))
    assert verdict(lambda: read_all(store)).startswith(f"error: {store}")


def test_a_chunk_that_would_unpack_to_much_is_refused(folder: Path, original: Path) -> None:
    """A zstd frame of 13 bytes that says it holds 16 GiB."""
    store = folder / "store.zarr"
    shutil.copytree(original, store)
    frame = b"\x28\xb5\x2f\xfd\xe0" + (16 << 30).to_bytes(8, "little") + b"\x01\x00\x00"
    (store / "energy/c/0/0").write_bytes(frame)
    assert "at most" in verdict(lambda: Store(store).read("energy"))


def test_a_link_out_of_a_store_is_refused(folder: Path, original: Path) -> None:
    store = folder / "store.zarr"
    shutil.copytree(original, store)
    (store / "energy/c/0/0").unlink()
    (store / "energy/c/0/0").symlink_to("/etc/hostname")
    assert "leads out of the store" in verdict(lambda: Store(store).read("energy"))

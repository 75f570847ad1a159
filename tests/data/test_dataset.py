"""The data file: what is written is read, what is damaged is refused in one line, before it is allocated."""

import dataclasses
import subprocess
import sys

import h5py
import numpy as np
import pytest

from protmpi.data import dataset
from protmpi.errors import DataError


def made(n=12, length=7):
    random = np.random.default_rng(3)
    sequences = random.integers(0, 20, (n, length), dtype=np.uint8)
    sequences[0, 0] = 20
    masked = random.random((n, length)) < 0.3
    masked[:, 0] = False
    masked[:, 1] = True
    raw = random.standard_normal((20, 20))
    touching = np.triu(random.random((length, length)) < 0.3, 2)
    return dataset.FoldingData(
        sequences,
        masked,
        np.arange(n, dtype=np.uint8) % 3,
        random.standard_normal(n),
        raw + raw.T,
        touching | touching.T,
        "ACDEFGX",
        {"parameters": {"seed": 1}},
        {"visits": np.ones((2, 4)), "z": np.array(0.5)},
    )


@pytest.fixture
def path(tmp_path):
    dataset.save(tmp_path / "deep/er/set.h5", made())
    return tmp_path / "deep/er/set.h5"


def test_round_trip(path):
    data, again = made(), dataset.load(path)
    for field in dataclasses.fields(data):
        if field.name == "convergence":
            assert again.convergence.keys() == data.convergence.keys()
            assert all(np.array_equal(again.convergence[key], value) for key, value in data.convergence.items())
        elif isinstance(getattr(data, field.name), np.ndarray):
            assert getattr(again, field.name).dtype == getattr(data, field.name).dtype
            assert np.array_equal(getattr(again, field.name), getattr(data, field.name))
        else:
            assert getattr(again, field.name) == getattr(data, field.name)
    assert again.data_hash() == data.data_hash()
    assert [entry.name for entry in path.parent.iterdir()] == ["set.h5"]


def test_own_sequences_need_neither_energies_nor_structure(tmp_path):
    data = dataclasses.replace(made(), energies=None, couplings=None, contact_map=None, native="", convergence={})
    dataset.save(tmp_path / "own.h5", data)
    again = dataset.load(tmp_path / "own.h5")
    assert again.energies is again.couplings is again.contact_map is None
    assert again.data_hash() == data.data_hash() != made().data_hash()


@pytest.mark.parametrize("name", ["sequences", "masked", "split", "contact_map"])
def test_hash_covers_the_content(name):
    data = made()
    changed = getattr(data, name).copy()
    changed.flat[-1] ^= 1
    assert dataclasses.replace(data, **{name: changed}).data_hash() != data.data_hash()
    assert dataclasses.replace(data, energies=None, attributes={}).data_hash() == data.data_hash()


def replaced(name, **arguments):
    def damage(file):
        del file[name]
        file.create_dataset(name, **arguments)

    return damage


def changed(name, index, value):
    def damage(file):
        file[name][index] = value

    return damage


def flipped(name, index):
    def damage(file):
        file[name][index] = not file[name][index]

    return damage


def attribute(name, value):
    def damage(file):
        file.attrs[name] = value

    return damage


def linked(link):
    def damage(file):
        del file["sequences"]
        file["sequences"] = link

    return damage


def without(name):
    def damage(file):
        del file[name]

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (replaced("sequences", data=np.zeros((12, 7), np.int64)), "sequences: is int64 of rank 2, must be uint8"),
        (replaced("sequences", data=np.zeros(12, np.uint8)), "sequences: is uint8 of rank 1"),
        (replaced("sequences", shape=(10**12, 7), dtype="u1", chunks=(1000, 7)), "masked: has N = 12, must be 10000"),
        (replaced("sequences", data=np.array([b"pickle"])), "sequences: is .S6, must be numbers"),
        (replaced("convergence/visits", shape=(10**6, 10**6), dtype="f8", chunks=(100, 100)), "more than 16 GiB"),
        (replaced("contact_map", data=np.zeros((7, 8), bool)), "contact_map: has L = 8, must be 7"),
        (replaced("couplings", data=np.zeros((21, 21))), "couplings: has 20 = 21"),
        (replaced("split", data=h5py.Empty("u1")), "split: must be an array"),
        (changed("sequences", (3, 2), 21), "sequences: tokens must be 0 to 20"),
        (changed("masked", (0, 0), True), "masked: a masked site must hold a known"),
        (changed("masked", 4, False), "masked: every sequence must have"),
        (changed("split", 5, 3), "split: must be 0"),
        (changed("split", slice(None), 0), "split: a train, a validation and a test"),
        (changed("couplings", (0, 1), np.nan), "couplings: must be finite and symmetric"),
        (changed("energies", 1, np.inf), "energies: must be finite"),
        (flipped("contact_map", (0, 6)), "contact_map: must be symmetric"),
        (changed("contact_map", (1, 1), True), "contact_map: must be symmetric with an empty diagonal"),
        (attribute("schema", "protmpi folding data 99"), "expected schema"),
        (attribute("native", "ACD"), "native: must be empty or 7 letters"),
        (attribute("native", 5), "attribute native: must be one text"),
        (attribute("attributes", "{"), "attributes: not JSON"),
        (attribute("attributes", "[]"), "attributes: must be a JSON object"),
        (linked(h5py.ExternalLink("/etc/passwd", "x")), "sequences: is a link"),
        (linked(h5py.SoftLink("/masked")), "sequences: is a link"),
        (without("masked"), "masked: missing"),
        (without("convergence"), "convergence: missing"),
        (lambda file: file["convergence"].create_dataset("text", data="x"), "text: is object, must be numbers"),
    ],
)
def test_damage_is_one_line(path, damage, message):
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(DataError, match=message) as raised:
        dataset.load(path)
    assert "set.h5" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_truncated_or_foreign_file(path, tmp_path):
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100)):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged or not a data file") as raised:
            dataset.load(path)
        assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match="no such data file"):
        dataset.load(tmp_path / "nowhere.h5")
    with h5py.File(tmp_path / "empty.h5", "w"), pytest.raises(DataError):
        dataset.load(tmp_path / "empty.h5")


def test_importing_it_is_cheap():
    heavy = "{'numba', 'gemmi', 'torch', 'scipy'}"
    program = f"import sys, protmpi.data.dataset; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_bad_data_are_not_written(tmp_path):
    with pytest.raises(DataError, match="native"):
        dataset.save(tmp_path / "bad.h5", dataclasses.replace(made(), native="A"))
    assert list(tmp_path.iterdir()) == []

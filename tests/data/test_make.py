"""`protmpi data` as a user meets it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from protmpi.data import dataset, make, structure
from protmpi.data.alphabet import encode
from protmpi.data.commands import app
from protmpi.data.energy import energies
from protmpi.errors import ConfigError, DataError

SMALL = """
[data]
sequences = 60
train = 20
val = 20
temperature = 3.0
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `protmpi data ...` in an empty folder; what it raises is raised here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)

    def runner(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, Exception):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return runner


def test_make_and_make_again(run, tmp_path):
    output = run("make", "small.toml", "--out", "new/folder/set.h5")
    assert "60 sequences of length 86 (20 train, 20 validation, 20 test)" in output
    assert "round trips" in output
    data = dataset.load(tmp_path / "new/folder/set.h5")
    native = structure.shipped()
    assert data.native == native.sequence
    assert np.array_equal(data.contact_map, native.contact_map())
    assert np.array_equal(np.sort(data.sequences, axis=1), np.tile(np.sort(encode(native.sequence)), (60, 1)))
    assert np.allclose(data.energies, energies(data.sequences, data.couplings, data.contact_map))
    assert data.attributes["structure"]["file"] == "1nti.pdb"
    assert data.attributes["parameters"]["temperature"] == 3.0
    assert {"visits", "weights", "temperatures", "energy_autocorrelation"} <= data.convergence.keys()

    written = (tmp_path / "new/folder/set.h5").stat().st_mtime_ns
    assert "there already" in run("make", "small.toml", "--out", "new/folder/set.h5")
    assert (tmp_path / "new/folder/set.h5").stat().st_mtime_ns == written
    with pytest.raises(DataError, match="exists with other seed, temperature; choose another --out or delete it"):
        run("make", "small.toml", "--out", "new/folder/set.h5", "--set", "data.temperature=4", "--set", "data.seed=2")
    run("make", "small.toml", "--out", "again.h5")
    assert dataset.load(tmp_path / "again.h5").data_hash() == data.data_hash()


def test_seed_decides_everything(run, tmp_path):
    for seed in (1, 2):
        run("make", "small.toml", "--out", f"{seed}.h5", "--set", f"data.seed={seed}")
    one, two = (dataset.load(tmp_path / f"{seed}.h5") for seed in (1, 2))
    for name in ("sequences", "masked", "split", "couplings"):
        assert not np.array_equal(getattr(one, name), getattr(two, name)), name


def test_mutate_frees_the_composition(run, tmp_path):
    run("make", "small.toml", "--out", "free.h5", "--set", "data.moves=mutate")
    composition = {tuple(np.bincount(row, minlength=20)) for row in dataset.load(tmp_path / "free.h5").sequences}
    assert len(composition) > 50


def test_own_sequences(run, tmp_path):
    (tmp_path / "own.a3m").write_text(">q\nACDEFG\n>a\nA-DEkFG\n>b\nACXEFG\n>c\nACDEFA\n")
    counts = ("--set", "data.train=1", "--set", "data.val=1")
    output = run("make", "--sequences", "own.a3m", "--out", "own.h5", *counts)
    assert "insertions: 1, gaps: 1, unknown: 1" in output
    data = dataset.load(tmp_path / "own.h5")
    assert data.sequences.shape == (4, 6)
    assert (data.sequences[1, 1], data.sequences[2, 2]) == (20, 20)
    assert data.contact_map is None
    assert "there already" in run("make", "--sequences", "own.a3m", "--out", "own.h5", *counts)
    with pytest.raises(DataError, match=r"data\.train \+ data\.val = 2000 leaves no test set among 4 .* at most 3"):
        run("make", "--sequences", "own.a3m", "--out", "other.h5")
    with pytest.raises(DataError, match="acbp has 86 residues, the sequences have 6 sites"):
        run("make", "--sequences", "own.a3m", "--structure", "acbp", "--out", "other.h5", *counts)
    assert not (tmp_path / "other.h5").exists()

    folded = structure.Structure("ACDEFG", ((0, 5),), ("",) * 6, {"cutoff": 4.5, "min_separation": 2, "model": 1})
    folded.save(tmp_path / "own.json")
    run("make", "--sequences", "own.a3m", "--structure", "own.json", "--out", "folded.h5", *counts)
    assert dataset.load(tmp_path / "folded.h5").contact_map[0, 5]


def test_contacts_command(run, tmp_path):
    lines = [
        f"ATOM  {n:>5}  CA  ALA A{n:>4}    {4.0 * n:8.3f}{0:8.3f}{0:8.3f}  1.00 10.00           C" for n in range(1, 6)
    ]
    (tmp_path / "line.pdb").write_text("\n".join([*lines, "TER", "END", ""]))
    output = run("contacts", "line.pdb", "--cutoff", 9, "--out", "deep/line.json")
    assert "L = 5" in output
    assert "3 contacts with |i-j| >= 2" in output
    assert json.loads((tmp_path / "deep/line.json").read_text())["contacts"] == [[0, 2], [1, 3], [2, 4]]
    with pytest.raises(DataError, match="all residues are alike"):
        run("make", "small.toml", "--structure", "deep/line.json", "--set", "data.cutoff=9")
    with pytest.raises(DataError, match=r"data\.cutoff: 4\.5 does not fit the contact list"):
        run("make", "small.toml", "--structure", "deep/line.json")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((), DataError, "CONFIG is missing"),
        (("small.toml", "--set", "data.cutoff=5"), DataError, r"data\.cutoff: 5\.0 does not fit"),
        (("small.toml", "--structure", "nowhere.pdb"), DataError, "no such file"),
        (("small.toml", "--sequences", "nowhere.fasta"), DataError, "cannot be read"),
        (("small.toml", "--set", "data.nonsense=1"), ConfigError, "nonsense"),
        (
            ("small.toml", "--set", "data.sequences=3", "--set", "data.train=1", "--set", "data.val=1"),
            DataError,
            "at least 4",
        ),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(run, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message) as raised:
        run("make", *arguments)
    assert "\n" not in str(raised.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.toml"]


def test_streams_of_different_purpose_differ():
    drawn = {make.stream(1, *purpose).generate_state(1)[0] for purpose in [(0,), (1, 0), (1, 1), (2,), (3,), (4,)]}
    assert len(drawn) == 6

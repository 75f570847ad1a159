"""From folders of structures to a file of chains: what is read, what is left out, what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import Command
from folds import structure

from protmpi.data import chains, collect
from protmpi.data.alphabet import decode, encode
from protmpi.data.masking import TEST, TRAIN, VAL
from protmpi.errors import DataError

ACBP_FILE = Path(__file__).parents[3] / "shared/data/1nti.pdb"
HALVES = (0.25, 0.25)


def line(length: int) -> np.ndarray:
    """Cα (L, 3) on a straight line, 3.8 Å apart."""
    return np.outer(np.arange(length), [3.8, 0.0, 0.0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight structures a.pdb, b.pdb ... of different sequences."""
    for index, name in enumerate("abcdefgh"):
        sequence = np.roll(encode("ARNDCQEGHI"), index)
        structure(name, line(10), sequence).write_pdb(str(tmp_path / f"{name}.pdb"))
    return tmp_path


def read(folder: Path, table: str | None = None, max_length: int = 100) -> chains.ChainData:
    path = None
    if table is not None:
        path = folder / "clusters.csv"
        path.write_text(table)
    return collect.collect(folder, path, max_length, HALVES, seed=1)


def test_sequence_coordinates_and_names(folder: Path) -> None:
    data = read(folder)
    assert data.names == tuple(f"{name}_A" for name in "abcdefgh")
    second = data.sites(1)
    assert decode(data.tokens[second]) == "IARNDCQEGH"
    assert np.allclose(data.coordinates[second], line(10) - line(10).mean(0), atol=1e-3)
    assert not data.missing.any()


def test_names_are_those_of_the_files_zipped_or_not(tmp_path: Path) -> None:
    made = structure("x", line(5), encode("ARNDC"))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "1ABC.PDB.gz").write_bytes(gzip.compress(made.make_pdb_string().encode()))
    made.setup_entities()
    made.make_mmcif_document().write_file(str(tmp_path / "af-2.cif"))
    paths = collect.files(tmp_path)
    assert [trace.name for path in paths for trace in collect.traces(path)] == ["af-2_A", "1ABC_A"]


def test_a_residue_without_coordinates_keeps_its_place(tmp_path: Path) -> None:
    """SEQRES has four residues, the third has no atom and the fourth no Cα."""
    atoms = [("ALA", 1, "CA", 0.0), ("GLY", 2, "CA", 3.8), ("TRP", 4, "CB", 11.4)]
    lines = ["SEQRES   1 A    4  ALA GLY SER TRP"]
    lines += [f"ATOM      1  {atom:<3} {residue} A{number:>4}    {x:8.3f}   0.000   0.000  1.00 10.00           C"
              for residue, number, atom, x in atoms]  # fmt: skip
    (tmp_path / "gap.pdb").write_text("\n".join([*lines, "TER", "END"]) + "\n")
    (trace,) = collect.traces(tmp_path / "gap.pdb")
    assert decode(trace.tokens) == "AGSW"
    assert trace.missing.tolist() == [False, False, True, True]
    assert trace.coordinates[:, 0].tolist() == pytest.approx([-1.9, 1.9, 0.0, 0.0])


def test_files_without_elements_are_read(folder: Path) -> None:
    path = folder / "a.pdb"
    path.write_text("\n".join(line[:76] for line in path.read_text().splitlines()))
    (trace,) = collect.traces(path)
    assert not trace.missing.any()


def test_chains_that_a_network_cannot_take_are_left_out_and_counted(folder: Path) -> None:
    structure("long", line(40), encode("A" * 40)).write_pdb(str(folder / "long.pdb"))
    data = read(folder, max_length=39)
    assert data.attributes["left_out"] == {"too long": 1, "nothing known": 0}
    assert len(data) == 8
    assert len(read(folder, max_length=40)) == 9


def test_chains_of_one_sequence_stay_together(folder: Path) -> None:
    for name in "ijklmnop":
        structure(name, 2.0 * line(10), encode("ARNDCQEGHI")).write_pdb(str(folder / f"{name}.pdb"))
    data = read(folder)
    same = [n for n, name in enumerate(data.names) if name[0] in "aijklmnop"]
    assert len(set(data.split[same])) == 1
    assert len(set(data.cluster[same])) == 1
    assert len(set(data.cluster)) == 8
    # broken twin: dealt one by one, chains of one sequence part
    one_by_one = "chain,cluster\n" + "".join(f"{name},{n}\n" for n, name in enumerate(data.names))
    assert len(set(read(folder, one_by_one).split[same])) > 1


def test_a_table_of_clusters_is_dealt_whole(folder: Path) -> None:
    table = "cluster,chain\n" + "".join(f"{'xyxyzzuu'[n]},{name}_A\n" for n, name in enumerate("abcdefgh"))
    data = read(folder, table)
    for pair in ([0, 2], [1, 3], [4, 5], [6, 7]):
        assert len(set(data.split[pair])) == 1
    assert np.bincount(data.split).tolist() == [4, 2, 2]


def test_a_table_of_splits_is_followed(folder: Path) -> None:
    chosen = ["train", "val", "test", "train", "train", "val", "test", "train"]
    table = "chain\tsplit\n" + "".join(f"{name}_A\t{split}\n" for name, split in zip("abcdefgh", chosen, strict=True))
    assert read(folder, table).split.tolist() == [{"train": TRAIN, "val": VAL, "test": TEST}[s] for s in chosen]


def test_a_byte_order_mark_is_no_letter_of_the_table(folder: Path) -> None:
    table = "chain,cluster\n" + "".join(f"{name}_A,{n // 2}\n" for n, name in enumerate("abcdefgh"))
    assert read(folder, "\ufeff" + table).cluster.tolist() == read(folder, table).cluster.tolist()


def test_hidden_files_are_passed_over(folder: Path) -> None:
    (folder / "._a.pdb").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "a-checkpoint.pdb").write_bytes((folder / "b.pdb").read_bytes())
    assert read(folder).names == tuple(f"{name}_A" for name in "abcdefgh")


def test_the_molecules_of_a_chain_are_chains(tmp_path: Path) -> None:
    """The lengths differ, so that none can stand for another."""
    parts = [structure("x", line(length), encode("ARNDCQEGHI"[:length])).make_pdb_string() for length in (10, 7)]
    atoms = [[row for row in part.splitlines() if row.startswith("ATOM")] for part in parts]
    (tmp_path / "x.pdb").write_text("\n".join([*atoms[0], "TER", *atoms[1], "END"]) + "\n")
    assert [(trace.name, decode(trace.tokens)) for trace in collect.traces(tmp_path / "x.pdb")] == [
        ("x_A", "ARNDCQEGHI"),
        ("x_A-2", "ARNDCQE"),
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("chain,split,split\na_A,train,test\n", "has 2 columns 'split'"),
        ("chain,cluster,split\na_A,x,train\nb_A,x,test\n", "cluster x is in two splits, at chain b_A"),
        ("chain,split\na_A,training\n", "'training' is none of train, val, test"),
        ("chain,split\na_A,train\na_A,train\n", "chain a_A has two rows"),
        ("chain,cluster\na_A,x\n", "no row for 7 of 8 chains, the first is b_A"),
        ("chain\na_A\n", "must have a column 'cluster' or 'split'"),
        ("a_A,train\n", "must have one column 'chain'"),
        ("chain,split\na_A\n", "line 2 has 1 columns"),
        ("", "must have one column 'chain'"),
    ],
)
def test_bad_tables_are_one_line(folder: Path, table: str, said: str) -> None:
    with pytest.raises(DataError, match=r"clusters\.csv") as caught:
        read(folder, table)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def far_away(path: Path) -> None:
    made = structure("z", np.concatenate([line(4), [[1e30, 0.0, 0.0]]]), encode("ARNDC"))
    made.setup_entities()
    made.make_mmcif_document().write_file(str(path))


HOSTILE = {
    "not a readable PDB or mmCIF file": lambda folder, path: path.write_text("HELLO\n"),
    "has no protein chain": lambda folder, path: path.write_text(
        "HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00 10.00           O\n"
    ),
    "leads out of": lambda folder, path: path.symlink_to("/etc/passwd"),
    "no plain file": lambda folder, path: path.mkdir(),
    "more than 10000 Å off": lambda folder, path: far_away(path),
    "in another file already": lambda folder, path: path.with_suffix(".cif").write_bytes(
        (folder / "a.pdb").read_bytes()
    ),
}


@pytest.mark.parametrize("said", HOSTILE)
def test_hostile_files_are_refused_in_one_line(folder: Path, said: str) -> None:
    HOSTILE[said](folder, folder / ("a.pdb" if said.startswith("in another") else "z.pdb"))
    with pytest.raises(DataError) as caught:
        read(folder)
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refusal_is_one_line_and_writes_nothing(folder: Path, protmpi: Command) -> None:
    (folder / "z.pdb").write_text("HELLO\n")
    done = protmpi("data", "structures", folder, "--out", folder / "out.h5")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not list(folder.glob("*out.h5*"))


def test_a_file_of_chains_comes_back_and_is_not_overwritten(folder: Path, protmpi: Command) -> None:
    out = folder / "chains.h5"
    for status in (0, 2):
        assert protmpi("data", "structures", folder, "--out", out, "--val", 0.25, "--test", 0.25).returncode == status
    data, again = read(folder), chains.load(out)
    assert again.names == data.names
    assert again.data_hash() == data.data_hash()


@pytest.mark.parametrize(
    ("array", "values", "said"),
    [
        ("tokens", np.full(80, 21, np.uint8), "tokens: must be 0 to 20"),
        ("tokens", np.full(79, 1, np.uint8), "has 79 rows, must have 80"),
        ("tokens", np.full(80, 20, np.uint8), "a known amino acid"),
        ("coordinates", np.full((80, 3), np.inf, np.float32), "must be finite"),
        ("coordinates", np.zeros((80, 3)), "must be float32"),
        ("split", np.zeros(8, np.uint8), "each at least once"),
        ("lengths", np.full(8, 2**30, np.int32), "must be 2 to 10000"),
        ("names", np.frombuffer(b"a\nb", np.uint8), "8 different names"),
        ("cluster", np.zeros(8, np.int32), "in one split"),
    ],
)
def test_damaged_files_are_one_line(folder: Path, array: str, values: np.ndarray, said: str) -> None:
    path = folder / "chains.h5"
    chains.save(path, read(folder))
    with h5py.File(path, "r+") as file:
        del file[array]
        file[array] = values
    with pytest.raises(DataError, match=r"chains\.h5") as caught:
        chains.load(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hash_sees_coordinates(folder: Path) -> None:
    data = read(folder)
    before = data.data_hash()
    data.coordinates[3, 1] += 0.01
    assert data.data_hash() != before


@pytest.mark.skipif(not ACBP_FILE.is_file(), reason="../shared/data/1nti.pdb is not here")
def test_acbp() -> None:
    (trace,) = collect.traces(ACBP_FILE)
    assert trace.name == "1nti_A"
    assert len(trace.tokens) == 86
    assert not trace.missing.any()
    steps = np.linalg.norm(np.diff(trace.coordinates, axis=0), axis=1)
    assert steps == pytest.approx(np.full(85, 3.8), abs=0.15)

"""Contact maps from synthetic PDB and mmCIF files, and from 1NTI where it is at hand."""

import gzip
from pathlib import Path
from urllib.error import URLError

import gemmi
import numpy as np
import pytest
from pdb_text import atom, pdb

from protmpi.data import polymer, structure
from protmpi.data.contacts import contact_map
from protmpi.errors import DataError

ACBP_FILE = Path(__file__).parents[3] / "shared/data/1nti.pdb"
needs_1nti = pytest.mark.skipif(not ACBP_FILE.is_file(), reason="../shared/data/1nti.pdb is not here")


@pytest.fixture
def write(tmp_path):
    def writer(text, name="made.pdb"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return writer


# 4 Å between neighbours: touching at cutoff 4.5, next neighbours are 8 Å apart
LINE = [atom(residue, number, 4.0 * number) for number, residue in enumerate(["ALA", "GLY", "SER", "LYS"], start=1)]


def test_line(write):
    made = contact_map(write(pdb(*LINE)), min_separation=1)
    assert made.sequence == "AGSK"
    assert made.contacts == ((0, 1), (1, 2), (2, 3))
    assert made.residues == ("1", "2", "3", "4")
    assert made.provenance["file"] == "made.pdb"
    assert contact_map(write(pdb(*LINE)), min_separation=2).contacts == ()
    # closer than the cutoff, strictly
    assert contact_map(write(pdb(*LINE)), cutoff=8.0, min_separation=1).contacts == made.contacts
    assert contact_map(write(pdb(*LINE)), cutoff=8.01, min_separation=2).contacts == ((0, 2), (1, 3))


def test_contacts_are_not_shifted_against_the_sequence(write):
    """The only contact joins the first and the last residue: 1-based indices in a 0-based list would miss it."""
    ring = [atom("TRP", 1, 0.0), atom("ALA", 2, 20.0), atom("ALA", 3, 40.0), atom("CYS", 4, 4.0)]
    made = contact_map(write(pdb(*ring)))
    ((i, j),) = made.contacts
    assert (made.sequence[i], made.sequence[j]) == ("W", "C")
    assert made.contact_map()[0, 3]
    assert made.contact_map().sum() == 2


def test_gzip_and_mmcif_give_the_same_contacts(write):
    plain = contact_map(write(pdb(*LINE, sequence=["ALA", "GLY", "SER", "LYS"])), min_separation=1)
    parsed = gemmi.read_pdb_string(pdb(*LINE, sequence=["ALA", "GLY", "SER", "LYS"]))
    parsed.setup_entities()
    parsed.assign_label_seq_id()
    cif = parsed.make_mmcif_document().as_string()
    for made in (
        contact_map(write(pdb(*LINE), "made.pdb.gz"), min_separation=1),
        contact_map(write(cif, "made.cif"), min_separation=1),
        contact_map(write(cif, "made.cif.gz"), min_separation=1),
    ):
        assert (made.sequence, made.contacts) == (plain.sequence, plain.contacts)


def test_missing_residue_keeps_its_place(write):
    """SER 3 has no coordinates; residues 2 and 4 touch and are two apart, not neighbours."""
    atoms = [LINE[0], LINE[1], atom("LYS", 4, 12.0)]
    made = contact_map(write(pdb(*atoms, sequence=["ALA", "GLY", "SER", "LYS"])))
    assert made.sequence == "AGSK"
    assert made.contacts == ((1, 3),)
    assert made.residues == ("1", "2", "", "4")
    assert made.missing == 1
    assert made.provenance["numbering"] == "deposited sequence"
    without = contact_map(write(pdb(*atoms)))
    assert (without.sequence, without.contacts) == ("AGK", ())
    assert without.provenance["numbering"] == "residues found"


def test_insertion_codes_are_residues_of_their_own(write):
    atoms = [
        atom("ALA", 1, 4.0),
        atom("GLY", 1, 8.0, insertion="A"),
        atom("SER", 1, 12.0, insertion="B"),
        atom("LYS", 2, 16.0),
    ]
    made = contact_map(write(pdb(*atoms)), min_separation=1)
    assert made.sequence == "AGSK"
    assert made.contacts == ((0, 1), (1, 2), (2, 3))
    assert made.residues == ("1", "1A", "1B", "2")


@pytest.mark.parametrize(("a", "b", "touching"), [(0.6, 0.4, True), (0.4, 0.6, False), (0.5, 0.5, True)])
def test_alternate_location_of_highest_occupancy(write, a, b, touching):
    """Location A of residue 2 touches residue 1, location B does not; the first wins a tie."""
    atoms = [
        atom("ALA", 1, 0.0),
        atom("SER", 2, 4.0, alternate="A", occupancy=a),
        atom("SER", 2, 9.0, alternate="B", occupancy=b),
        atom("LYS", 3, 30.0),
    ]
    assert (contact_map(write(pdb(*atoms)), min_separation=1).contacts == ((0, 1),)) is touching


def test_microheterogeneity_takes_one_residue_name(write):
    atoms = [
        atom("ALA", 1, 0.0),
        atom("SER", 2, 4.0, alternate="A", occupancy=0.3),
        atom("THR", 2, 4.0, alternate="B", occupancy=0.7),
        atom("LYS", 3, 30.0),
    ]
    assert contact_map(write(pdb(*atoms)), min_separation=1).sequence == "ATK"


def test_hydrogens_waters_ligands_and_other_chains_do_not_count(write):
    far = [atom(residue, number, 20.0 * number) for number, residue in enumerate(["ALA", "GLY", "SER"], start=1)]
    light = [
        atom("GLY", 2, 22.0, name="H", element="H"),
        atom("GLY", 2, 22.0, name="D", element="D"),
        atom("ALA", 1, 38.0, name="HB1", element="H"),
    ]
    others = [
        atom("ALA", 1, 20.0, chain="B", y=1.0),
        atom("GLY", 2, 60.0, chain="B"),
        "TER",
        atom("HOH", 101, 21.0, name="O", element="O", record="HETATM"),
        atom("ATP", 102, 30.0, record="HETATM"),
    ]
    made = contact_map(write(pdb(far[0], light[2], far[1], *light[:2], far[2], after=others)), min_separation=1)
    assert (made.sequence, made.contacts) == ("AGS", ())
    assert contact_map(write(pdb(*far, after=others)), chain="B", min_separation=1).sequence == "AG"


def test_modified_residues_count_as_their_parents(write):
    atoms = [
        atom("ALA", 1, 4.0),
        atom("MSE", 2, 8.0, record="HETATM"),
        atom("SEP", 3, 12.0, record="HETATM"),
        atom("UNK", 4, 16.0),
        atom("SEC", 5, 20.0),
        atom("LYS", 6, 24.0),
    ]
    made = contact_map(write(pdb(*atoms)), min_separation=1)
    assert made.sequence == "AMSXCK"
    assert len(made.contacts) == 5


def test_caps_are_no_residues(write):
    atoms = [atom("ACE", 0, 0.0, record="HETATM"), *LINE, atom("NH2", 5, 20.0, record="HETATM")]
    made = contact_map(write(pdb(*atoms, sequence=["ACE", "ALA", "GLY", "SER", "LYS", "NH2"])), min_separation=1)
    assert (made.sequence, made.contacts) == ("AGSK", ((0, 1), (1, 2), (2, 3)))
    assert made.residues[0] == "1"


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [({"chain": "Z"}, "choose A"), ({"model": 2}, "models 1 to 1"), ({"model": 0}, "models 1 to 1")],
)
def test_wrong_chain_or_model(write, arguments, allowed):
    with pytest.raises(DataError, match=allowed):
        contact_map(write(pdb(*LINE)), **arguments)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x1f\x8b rubbish", b"data_x\n_atom", bytes(range(256)), gzip.compress(b"ATOM" * 1000)[:-20]],
)
def test_unreadable_file_is_one_line(tmp_path, content):
    path = tmp_path / "bad.pdb"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        contact_map(path)
    assert "bad.pdb" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_pdb_id_is_fetched(monkeypatch):
    parsed = gemmi.read_pdb_string(pdb(*LINE))
    parsed.setup_entities()
    content = gzip.compress(parsed.make_mmcif_document().as_string().encode())
    monkeypatch.setattr(polymer, "fetch", lambda pdb_id: content)
    made = contact_map("1abc", min_separation=1)
    assert made.sequence == "AGSK"
    assert made.provenance["file"] == "1ABC.cif.gz"


def test_no_network_is_one_line(monkeypatch):
    def unreachable(pdb_id):
        raise URLError("no route to host")

    monkeypatch.setattr(polymer, "fetch", unreachable)
    with pytest.raises(DataError, match="1ABC: cannot be read: no route to host"):
        contact_map("1ABC")
    with pytest.raises(DataError, match="no such file, and not a PDB id"):
        contact_map("nowhere.pdb")


@needs_1nti
@pytest.mark.parametrize(("cutoff", "pairs"), [(4.0, [342, 257, 181, 126]), (4.5, [382, 297, 214, 158])])
def test_pairs_of_1nti(cutoff, pairs):
    made = contact_map(ACBP_FILE, cutoff=cutoff, min_separation=1)
    assert made.length == 86
    assert list(made.pairs_by_separation().values()) == pairs


@needs_1nti
def test_shipped_contacts_are_those_of_1nti():
    computed, shipped = contact_map(ACBP_FILE), structure.shipped()
    assert computed.sequence == shipped.sequence
    assert computed.contacts == shipped.contacts
    same = ("file", "sha256", "model", "chain", "cutoff", "min_separation")
    assert {key: computed.provenance[key] for key in same} == {key: shipped.provenance[key] for key in same}


def test_shipped_contacts():
    shipped = structure.shipped()
    assert (shipped.length, len(shipped.contacts), shipped.missing) == (86, 297, 0)
    assert min(j - i for i, j in shipped.contacts) == 2
    assert np.array_equal(shipped.contact_map(), shipped.contact_map().T)


def test_json_round_trip(tmp_path):
    shipped = structure.shipped()
    shipped.save(tmp_path / "copy.json")
    assert structure.load(tmp_path / "copy.json") == shipped
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "copy.json").read_bytes())
    assert structure.load(tmp_path / "marked.json") == shipped
    assert shipped.at_separation(4).pairs_by_separation((1, 4)) == {1: 158, 4: 158}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("protmpi contact map 1", "something else", "schema"),
        ("[[0, 2]", "[[0, 86]", "contacts"),
        ("[[0, 2]", "[[2, 0]", "contacts"),
        ("[[0, 2]", "[[0.0, 2]", "contacts"),
        ("[[0, 2]", "[[0, 3]", "twice"),
        ("[[0, 2]", "[[true, 2]", "contacts"),
        ("[[0, 2]", "[3", "contacts"),
        ("SQAEF", "SQAEfF", "sequence"),
        ("SQAEF", "SQAE", "residues"),
        ('"1", "2",', '"1", 2,', "residues"),
        ('"provenance": {', '"provenance": {"x": [],', "provenance"),
        ("{", "[", "JSON"),
    ],
)
def test_tampered_json_is_one_line(tmp_path, old, new, named):
    path = tmp_path / "tampered.json"
    structure.shipped().save(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=named) as raised:
        structure.load(path)
    assert "tampered.json" in str(raised.value)
    assert "\n" not in str(raised.value)

"""PDB files as other programs write them: read rightly, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gemmi
import pytest
from commands import Command
from pdb_text import atom, pdb

from protmpi.data.contacts import contact_map
from protmpi.data.residues import PARENTS, STANDARD, letter
from protmpi.data.structure import Structure
from protmpi.errors import DataError

Read = Callable[..., Structure]
CASES = Path(__file__).parents[3] / "shared/cases"

# 4 Å between neighbours: touching at cutoff 4.5, next neighbours are 8 Å apart
ALA, GLY, SER, LYS = LINE = [
    atom(name, number, 4.0 * number) for number, name in enumerate(["ALA", "GLY", "SER", "LYS"], 1)
]
OTHER = [atom("TRP", 1, 40.0), atom("TYR", 2, 44.0)]
WATER = atom("HOH", 9, 24.0, record="HETATM")
IN_LINE = ((0, 1), (1, 2), (2, 3))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reader(text: str | bytes, chain: str | None = None, model: int = 1) -> Structure:
        path = tmp_path / "made.pdb"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return contact_map(path, min_separation=1, chain=chain, model=model)

    return reader


def lines(*rows: str) -> str:
    """Without TER."""
    return "\n".join([*rows, "END"]) + "\n"


def segment(rows: list[str], name: str, chain: str = " ") -> list[str]:
    return [f"{row[:21]}{chain}{row[22:72]}{name:<4}{row[76:]}" for row in rows]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("HSD HID HIE HSP HSE HIP", "HHHHHH"),
        ("ASH GLH LYN CYX CYM ARN", "DEKCCR"),
        ("ala GLY hsd MSE SEP M2L", "AGHMSK"),
        ("ALA UNK DOB TYM LSN GLY", "AXXYKG"),
    ],
)
def test_names_of_force_fields(read: Read, names: str, expected: str) -> None:
    made = read(lines(*(atom(name, n, 4.0 * n) for n, name in enumerate(names.split(), 1)), WATER))
    assert made.sequence == expected
    assert made.provenance.get("unknown_residues") == ("UNK DOB" if "X" in expected else None)


def test_every_name_of_a_force_field_has_a_letter() -> None:
    assert {letter(parent) for parent in PARENTS.values()} == set("ARNDCQEGHILKMFPSTWYVX")  # X: water
    assert {letter(name) for name in STANDARD} == set("ARNDCQEGHILKMFPSTWYV")


def test_homoserine_is_no_histidine(read: Read) -> None:
    """Both are HSE; homoserine has no ring."""
    ring = [atom("HSE", 1, 4.0), atom("HSE", 1, 5.5, name="CB"), atom("HSE", 1, 5.5, name="CG", y=1.5)]
    chain = [atom("HSE", 2, 8.0), atom("HSE", 2, 9.5, name="CB"), atom("HSE", 2, 9.5, name="C3", y=1.5)]
    assert read(pdb(*ring, *chain)).sequence == "HS"


@pytest.mark.parametrize("chain", ["A", " "])
def test_names_of_four_letters(read: Read, chain: str) -> None:
    """GROMACS writes LYSH and HISA in columns 18 to 21."""
    rows = [
        row.replace("LYS A", f"LYSH{chain}").replace("SER A", f"HISA{chain}").replace(" A ", f" {chain} ")
        for row in LINE
    ]
    made = read(pdb(*rows))
    assert (made.sequence, made.contacts, made.provenance["chain"]) == ("AGHK", IN_LINE, chain.strip())


def test_chains_of_two_letters(read: Read) -> None:
    """Column 21 is then part of the chain, and LYS of HA is no LYSH of A."""
    two = [row.replace(" A ", "HA ") for row in LINE]
    made = read(pdb(*two, "TER", *LINE[:3]))
    assert (made.sequence, made.provenance["chain"]) == ("AGSK", "HA")
    assert read(pdb(*two, "TER", *LINE[:3]), chain="A").sequence == "AGS"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lines(*LINE, "TER", *OTHER), id="TER between, none at the end"),
        pytest.param(pdb(*LINE, "TER", *OTHER), id="TER"),
        pytest.param(lines(*segment(LINE, "PROA", "A"), *segment(OTHER, "PROB", "A")), id="segments"),
    ],
)
def test_two_molecules_of_one_chain(read: Read, text: str) -> None:
    first, second = read(text), read(text, chain="A-2")
    assert (first.sequence, first.contacts, first.missing) == ("AGSK", IN_LINE, 0)
    assert (second.sequence, second.contacts, second.missing) == ("WY", ((0, 1),), 0)
    assert first.provenance["molecules_of_chain"] == "A A-2"


def test_chains_without_a_letter_are_named_by_their_segments(read: Read) -> None:
    text = lines(*segment(LINE, "P1"), *segment(LINE[1:], "P2"))
    made = read(text)
    assert (made.sequence, made.provenance["chain"]) == ("AGSK", "P1")
    assert "molecules_of_chain" not in made.provenance
    assert read(text, chain="P2").sequence == "GSK"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lines(*LINE, *LINE), id="the same molecule again"),
        pytest.param(lines(*LINE, *OTHER), id="another one"),
        pytest.param(pdb(*LINE, "TER", *LINE, sequence=["ALA", "GLY", "SER", "LYS"]), id="against SEQRES"),
        pytest.param(lines(ALA, GLY, atom("TRP", 2, 9.0), SER), id="an insertion code is lost"),
        pytest.param(lines(ALA, GLY, atom("GLY", 2, 9.0), SER), id="of two equal residues"),
    ],
)
def test_numbers_that_come_twice_are_refused(read: Read, text: str) -> None:
    with pytest.raises(DataError, match=r"made\.pdb: \w+ \d comes twice in one chain"):
        read(text)


def test_a_chain_whose_sequence_is_known_goes_on_after_ter(read: Read) -> None:
    """Residues that have atoms are not missing."""
    names = ["ALA", "GLY", "SER", "LYS"]
    for text in (pdb(ALA, GLY, "TER", SER, LYS, sequence=names),
                 pdb(*segment(LINE[:2], "P1", "A"), *segment(LINE[2:], "P2", "A"), sequence=names)):  # fmt: skip
        made = read(text)
        assert (made.sequence, made.contacts, made.missing) == ("AGSK", IN_LINE, 0)


@pytest.mark.parametrize("name", ["HOH", "TIP", "SOL"])
def test_water_does_not_end_a_chain(read: Read, name: str) -> None:
    water = WATER.replace("HOH", name)
    for text in (lines(ALA, GLY, water, SER, LYS), lines(water, *LINE)):
        assert (read(text).sequence, read(text).contacts) == ("AGSK", IN_LINE)


def test_amino_acids_behind_an_ion_are_refused_and_ligands_are_none(read: Read) -> None:
    with pytest.raises(DataError, match="chain A: SER 3 is apart from the chain of 2 residues"):
        read(lines(ALA, GLY, atom("ZN", 9, 40.0, record="HETATM"), SER, LYS))
    ligand = atom("GLU", 9, 17.0, record="HETATM")
    for text in (pdb(*LINE, after=[ligand, WATER]), lines(*LINE, ligand, WATER)):
        assert (read(text).sequence, read(text).contacts) == ("AGSK", IN_LINE)
        assert "molecules_of_chain" not in read(text).provenance


def test_what_stands_before_ter_is_part_of_the_chain(read: Read) -> None:
    """A gap and a modified residue at the end: without TER it could be a ligand, and an unknown one is refused."""
    for name, code, record in (("MSE", "M", "HETATM"), ("DOB", "X", "ATOM")):
        end = atom(name, 9, 60.0, record=record)
        assert read(pdb(*LINE, end)).sequence == "AGSK" + code
        assert read(pdb(*LINE, end, "TER", *OTHER)).sequence == "AGSK" + code
    unknown = [atom("DOB", 9, 60.0 + n, name=name) for n, name in enumerate(["N", "CA", "C"])]
    with pytest.raises(DataError, match="DOB 9 is apart from the chain of 4 residues"):
        read(lines(*LINE, *unknown))


def side_chain(residue: str, alternate: str, occupancy: float, y: float, *names: str) -> list[str]:
    return [atom(residue, 2, 8.0 + 0.1 * n, name=name, alternate=alternate, occupancy=occupancy, y=y, element=name[0])
            for n, name in enumerate(names)]  # fmt: skip


@pytest.mark.parametrize("sequence", [None, ["ALA", "SER", "LYS"]])
def test_the_more_occupied_residue_stays_though_it_has_fewer_atoms(read: Read, sequence: list[str] | None) -> None:
    tryptophan = side_chain("TRP", "B", 0.4, 30.0, "N", "CA", "C", "O", "CB", "CG", "CD1", "CD2", "NE1", "CE2")
    rows = [ALA, *side_chain("SER", "A", 0.6, 0.0, "CA", "OG"), *tryptophan, atom("LYS", 3, 12.0)]
    made = read(pdb(*rows, sequence=sequence))
    assert (made.sequence, made.contacts) == ("ASK", ((0, 1), (1, 2)))
    twin = [row.replace("  0.40", "  0.70") for row in rows]
    made = read(pdb(*twin, sequence=sequence))
    assert (made.sequence, made.contacts) == ("AWK", ())


def test_a_residue_in_two_places_counts_whole(read: Read) -> None:
    rows = [ALA, *side_chain("SER", "A", 0.3, 0.0, "CA"), *side_chain("SER", "B", 0.3, 9.0, "CA"),
            *side_chain("THR", "C", 0.4, 9.5, "CA"), atom("LYS", 3, 12.0)]  # fmt: skip
    assert (read(pdb(*rows)).sequence, read(pdb(*rows)).contacts) == ("ASK", ((0, 1), (1, 2)))


@pytest.mark.parametrize(("first", "contacts"), [(0.6, ((0, 1), (1, 2))), (0.4, ())])
def test_an_alternate_beside_atoms_without_a_letter(read: Read, first: float, contacts: tuple) -> None:
    rows = [ALA, *side_chain("SER", " ", first, 0.0, "CA"), *side_chain("SER", "B", 1 - first, 30.0, "CA"),
            atom("LYS", 3, 12.0)]  # fmt: skip
    assert read(pdb(*rows)).contacts == contacts


def at(row: str, place: str) -> str:
    assert len(place) == 24
    return row[:30] + place + row[54:]


ORIGIN = f"{0.0:8.3f}" * 3


@pytest.mark.parametrize("place", [ORIGIN, "*" * 24, " " * 24, f"{9999:8.3f}" * 3, f"{999.999:8.3f}" * 3,
                                   f"{'nan':>8}" * 3, f"{4.5:8.3f}********{0.0:8.3f}", f"{'?':>8}" * 3])  # fmt: skip
def test_atoms_without_a_place_do_not_touch(read: Read, place: str) -> None:
    """Two of each; GLY 2 is near the origin, LYS 4 has no other atom."""
    rows = [atom("ALA", 1, 4.0), at(atom("ALA", 1, 0.0, name="CB"), place), atom("GLY", 2, 3.0, y=3.0),
            atom("SER", 3, 40.0), at(atom("LYS", 4, 0.0), place)]  # fmt: skip
    made = read(pdb(*rows))
    assert made.contacts == ((0, 1),)
    assert made.residues == ("1", "2", "3", "")
    assert made.provenance["atoms_without_place"] == 2


def test_one_atom_at_the_origin(read: Read) -> None:
    """It has a place where the rest of its residue is near, or where there is no rest."""
    near, far = ([atom("ALA", 1, 0.0, name="CB"), atom("ALA", 1, x), atom("GLY", 2, 0.0, y=4.0)] for x in (1.5, 20.0))
    assert read(pdb(*near)).contacts == ((0, 1),)
    assert read(pdb(*far)).contacts == ()
    assert read(pdb(near[0], near[2])).contacts == ((0, 1),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (pdb(*LINE).replace("ALA A", "ALA\tA"), "line 1: has a tab"),
        (pdb(*LINE).replace("SER A", "SERINE A"), "line 3: 'E A ' in columns 23 to 26 is not a residue number"),
        (pdb(*LINE).replace("A   3", "A****"), r"line 3: '\*\*\*\*' in columns 23 to 26"),
        (pdb(*LINE).replace(" 12.000", " 1200.000"), "line 3: columns 31 to 54, .* are not three coordinates"),
        (pdb(*LINE).encode("utf-16"), "has no protein chain|not a readable"),
    ],
)
def test_shifted_columns_are_refused(read: Read, text: str | bytes, said: str) -> None:
    with pytest.raises(DataError, match=rf"made\.pdb: .*{said}") as caught:
        read(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_byte_order_marks(read: Read, start: str, end: str) -> None:
    text = lines(*LINE)  # the first line is an atom
    assert read(start + text.replace("\n", end)).contacts == IN_LINE
    parsed = gemmi.read_pdb_string(text)
    parsed.setup_entities()
    cif = parsed.make_mmcif_document().as_string()
    assert read(start + cif.replace("\n", end)).contacts == IN_LINE


def test_hydrogens_of_files_without_elements(read: Read) -> None:
    """Names begin in column 13 here, where HG is mercury, HE helium and CD cadmium."""
    names = ["CA", "HG", "HE", "HO", "HB1", "1HB", "D", "QB"]
    rows = [f"{row[:12]}{name:<4}{row[16:66]}" for name in names
            for row in [atom("SER", 1, 0.0, y=0.5 * names.index(name))]]  # fmt: skip
    made = read(pdb(*rows, atom("GLY", 2, 0.0, y=6.0)[:66]))
    assert made.contacts == ()
    heavy = read(pdb(*(row.replace("HG  ", "CD  ") for row in rows), atom("GLY", 2, 0.0, y=4.9)[:66]))
    assert heavy.contacts == ((0, 1),)


@pytest.mark.parametrize("number", ["A000", "9999", "  -1"])
def test_numbers_of_residues(read: Read, number: str) -> None:
    made = read(pdb(ALA.replace("A   1", f"A{number}"), GLY, SER, LYS))
    assert made.residues == ({"A000": "10000"}.get(number, number.strip()), "2", "3", "4")
    assert made.contacts == IN_LINE


def test_files_with_numbered_lines(read: Read) -> None:
    rows = [f"{row[:72]}1ABC{n:4d}" for n, row in enumerate(LINE)]
    assert (read(pdb(*rows)).sequence, read(pdb(*rows)).provenance["chain"]) == ("AGSK", "A")


def test_mmcif_with_two_molecules_under_one_author_chain(tmp_path: Path) -> None:
    """They differ in the name that the file gives a molecule; `?` is no place."""
    columns = ["group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
               "label_seq_id", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "auth_seq_id", "auth_asym_id"]  # fmt: skip
    rows = ["ALA A 1 4.0 0 0 ? 1 Z", "GLY A 2 8.0 0 0 . 2 Z", "SER A 3 ? ? ? ? 3 Z", "TRP B 1 9.0 0 0 1 5 Z",
            "TYR B 2 13.0 0 0 1 6 Z"]  # fmt: skip
    text = "\n".join(["data_x", "loop_", *(f"_atom_site.{name}" for name in columns),
                      *(f"ATOM {n} C CA . {row}" for n, row in enumerate(rows, 1))])  # fmt: skip
    path = tmp_path / "made.cif"
    path.write_text(text + "\n")
    first, second = (contact_map(path, min_separation=1, chain=chain) for chain in ("Z", "Z-2"))
    assert (first.sequence, first.contacts, first.residues) == ("AGS", ((0, 1),), ("1", "2", ""))
    assert (second.sequence, second.contacts) == ("WY", ((0, 1),))


def test_the_command_says_what_it_left_out(tmp_path: Path, protmpi: Command) -> None:
    path = tmp_path / "made.pdb"
    rows = [*LINE, at(atom("DOB", 5, 0.0), "*" * 24), atom("DOB", 6, 24.0)]
    path.write_text(pdb(*rows, "TER", *OTHER))
    done = protmpi("data", "contacts", path)
    assert done.returncode == 0, done.stderr
    for line in ("unknown residues: DOB", "atoms without place: 1", "molecules of chain: A A-2"):
        assert line in done.stdout.splitlines()


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not here")
@pytest.mark.parametrize(
    ("name", "sequence", "pairs"),
    [
        ("names/amber", "whole", [382, 297, 214, 158]),
        ("names/charmm", "whole", [382, 297, 214, 158]),
        ("repeated-numbers/hetero_sameid", "first", [139, 100, 63, 37]),
        ("repeated-numbers/hetero_segid", "first", [139, 100, 63, 37]),
        ("repeated-numbers/segid_noter", "whole", [382, 297, 214, 158]),
        ("microhet/microhet", "whole", [382, 297, 214, 158]),
        ("placeholder/placeholder0", "whole", [360, 275, 192, 137]),
        ("placeholder/placeholder9999", "whole", [360, 275, 192, 137]),
        ("placeholder/starcoord", "whole", [381, 296, 213, 157]),
    ],
)
def test_cases(name: str, sequence: str, pairs: list[int]) -> None:
    native = "SQAEFDKAAEEVKHLKTKPADEEMLFIYSHYKQATVGDINTERPGMLDFKGKAKWDAWNELKGTSKEDAMKAYIDKVEELKKKYGI"
    made = contact_map(CASES / f"{name}.pdb", min_separation=1)
    assert made.sequence == (native if sequence == "whole" else native[:40])
    assert made.missing == 0
    assert list(made.pairs_by_separation().values()) == pairs

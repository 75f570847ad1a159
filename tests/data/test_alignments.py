"""A user's own sequences in every form that is read."""

import gzip

import numpy as np
import pytest

from protmpi.data.alignments import read
from protmpi.data.alphabet import AMINO_ACIDS, MASK, decode, encode
from protmpi.errors import DataError


@pytest.fixture
def write(tmp_path):
    def writer(content, name="own.fasta"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return writer


def letters(alignment):
    return [decode(row) for row in alignment.sequences]


def test_alphabet():
    assert encode(AMINO_ACIDS).tolist() == list(range(20))
    assert encode("X-*aé").tolist() == [MASK] * 5
    assert decode(encode("WYVX")) == "WYVX"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (">a\nACDE\n>b desc > more\nAC\nDF\n", ["ACDE", "ACDF"]),  # plain, wrapped lines
        ("\r\n>a\r\nACDE\r\n>b\r\nACDF", ["ACDE", "ACDF"]),  # Windows line ends
        ("ACDE\n\n# comment\nACDF\n", ["ACDE", "ACDF"]),  # one per line
        (">a\nACDE*\n>b\nACDF*\n", ["ACDE", "ACDF"]),  # stops
        (">a\nA-DE\n>b\nAC.E\n", ["AXDE", "ACXE"]),  # aligned FASTA
        (">query\nACDE\n>b\nAkkC-E\n>c\n-CDEw\n", ["ACDE", "ACXE", "XCDE"]),  # A3M
        (">a\nA.CDE\n>b\nAkC-E\n", ["ACDE", "ACXE"]),  # A2M
        (">a\nACDE\n>b\nacDE\n", ["ACDE", "ACDE"]),  # soft-masked FASTA
        ("\ufeff>a Protéine α\nACDE\n>b\nACDF\n", ["ACDE", "ACDF"]),  # byte order mark, UTF-8 in a name
        (b">a \xe9\nACDE\n>b\nACDF\n", ["ACDE", "ACDF"]),  # Latin-1
        (">a\rACDE\r>b\rACDF\r", ["ACDE", "ACDF"]),  # line ends of old Macintoshes
        ("#A3M#\n>a\nACDE\n>b\nAkkC-E\n", ["ACDE", "ACXE"]),  # HH-suite
        ("#4\t1\n>101\nACDE\n>b\t1\t0.5\nAkkC-E\n", ["ACDE", "ACXE"]),  # ColabFold
        (">ss_pred x\nHEHE\n>ss_conf\n9999\n>a\nACDE\n>b\nACDF\n", ["ACDE", "ACDF"]),  # secondary structure
        (">P1;a\nMAN\nACDE*\n>P1;b\nRAT\nACDF*\n", ["ACDE", "ACDF"]),  # PIR: a line of description
        ("# STOCKHOLM 1.0\n#=GF ID x\na AC..DE\nb ACklDE\n#=GR b SS HHHHHH\nc A-..DE\n//\n", ["ACDE", "ACDE", "AXDE"]),
        ("# STOCKHOLM 1.0\nA AC\nA AD\n\nA EF\nA GH\n//\n", ["ACEF", "ADGH"]),  # one name twice, two blocks
        ("CLUSTAL W (1.83)\n\n\na AC 2\nb A- 1\n  * \n\na EF 4\nb GF 3\n   *\n", ["ACEF", "AXGF"]),
        (" 2 4\na  ACDE\nb  A-DF\n", ["ACDE", "AXDF"]),  # PHYLIP
        (" 2 4\na  AC\nb  A-\n\nDE\nDF\n", ["ACDE", "AXDF"]),  # in blocks
        (" 2 4\nname one  ACDE\nnametwotwoA-DF\n", ["ACDE", "AXDF"]),  # names of ten characters
        ("seqAa AC-E\nseqAb ACDF\n", ["ACXE", "ACDF"]),  # SELEX
        ("#=RF xx\nHUMAN AC\nRAT   A-\n\nHUMAN EF\nRAT   GF\n", ["ACEF", "AXGF"]),  # its blocks
        (">a\nABXZ\n>b\nUOJ*\n>c\nACDE\n", ["AXXX", "XXXX", "ACDE"]),  # rare and ambiguous letters
    ],
)
def test_forms(write, content, expected):
    assert letters(read(write(content))) == expected
    content = content if isinstance(content, bytes) else content.encode()
    assert letters(read(write(gzip.compress(content), "own.gz"))) == expected


def test_counts_and_known_sites(write):
    own = read(write(">query\nACDE\n>b\nAkkX-E\n"))
    assert own.counts == {"sequences": 2, "insertions": 2, "gaps": 1, "unknown": 1}
    assert own.known.tolist() == [[True] * 4, [True, False, False, True]]
    assert own.sequences.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (">a\nACDE\n>b\nACD\n", "align the sequences"),
        (">a\nAC1E\n", "'1' is not an amino acid"),
        (b">a\nAC\xffE\n", "is not an amino acid"),
        (">a\nACDE\n>b\nACDF\n".encode("utf-16"), "bytes of zero; save it as UTF-8"),
        ("ACDEF GHIKL\nACDEF GHIKW\n", "neither one sequence nor a name"),  # in groups: the first is no name
        ("s ACDE\nt ACDF\nACDG\n", "neither one sequence nor a name"),
        ("#NEXUS\nbegin data;\ndimensions ntax=2 nchar=4;\nmatrix\na ACDE\nb ACDF\n;\nend;\n", "neither one sequence"),
        ("s ACDE\nt ACDF\n\ns ACDE\nu ACDF\n", "its blocks name different sequences"),
        ("# STOCKHOLM 1.0\na ACDE\n//\n# STOCKHOLM 1.0\na ACDE\n//\n", "more than one alignment"),
        (" 3 4\na ACDE\nb ACDF\n", "cannot be read as phylip"),
        ("", "must have 1 to"),
        (">a\n", "length 0"),
        ("\n\n", "no sequences"),
        (gzip.compress(b">a\nACDE")[:-9], "cannot be read"),
    ],
)
def test_unreadable_is_one_line(write, content, message):
    with pytest.raises(DataError, match=message) as raised:
        read(write(content))
    assert "own.fasta" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "nowhere.fasta")

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
        (">a\nABXZ\n>b\nUOJ*\n>c\nACDE\n", ["AXXX", "XXXX", "ACDE"]),  # rare and ambiguous letters
    ],
)
def test_forms(write, content, expected):
    assert letters(read(write(content))) == expected
    assert letters(read(write(gzip.compress(content.encode()), "own.gz"))) == expected


def test_counts_and_known_sites(write):
    own = read(write(">query\nACDE\n>b\nAkkX-E\n"))
    assert own.counts == {"sequences": 2, "insertions": 2, "gaps": 1, "unknown": 1}
    assert own.known.tolist() == [[True] * 4, [True, False, False, True]]
    assert own.sequences.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (">a\nACDE\n>b\nACD\n", "align the sequences"),
        (">a\nAC1E\n", "'1' is no amino acid"),
        (b">a\nAC\xffE\n", "is no amino acid"),
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

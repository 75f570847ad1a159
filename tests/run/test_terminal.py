"""Tables on terminals of any width: no number is cut, and every row can be told by its first cell."""

from __future__ import annotations

import io

import pytest
from rich import box
from rich.table import Table

from protmpi.terminal import Terminal

NUMBERS = [f"{10.0**power:.6e}" for power in range(6)]


def printed(width: int, *, no_wrap: bool = True) -> list[str]:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("temperature", *(f"quantity {number}" for number in range(6))):
        table.add_column(heading, no_wrap=no_wrap)
    for row in ("1e-4", "2e-4"):
        table.add_row(row, *NUMBERS)
    out = io.StringIO()
    Terminal(width, file=out).print("before", table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("no_wrap", [True, False])
@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_number_is_cut(width: int, no_wrap: bool) -> None:
    lines = printed(width, no_wrap=no_wrap)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for number in NUMBERS:
        assert text.count(number) == 2
    blocks = sum(line.startswith("1e-4") for line in lines)
    assert blocks == sum(line.startswith("temperature") for line in lines)
    assert (blocks > 1) == (width < 120 - 30 * (not no_wrap))


def test_a_table_that_fits_is_left_alone() -> None:
    assert len(printed(200)) == 5
    assert printed(200)[0] == "before"
    assert len([line for line in printed(60) if not line]) == len([line for line in printed(60) if "temp" in line]) - 1

"""A report as files: the page, with every figure and every number beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.report.contents import RunReport
from analysis.report.page import page
from analysis.show.csv import write_long_csv
from analysis.show.latex import write_latex
from analysis.show.part import Part
from analysis.show.style import write_figures
from analysis.subjects.together.part import together
from protmpi.errors import ProtmpiError


def write_report(reports: Sequence[RunReport], folder: Path) -> list[Path]:
    """Write index.html, and beside it figures (PNG, PDF), numbers (CSV) and tables (LaTeX); returns their paths.

    Files of one run are in `folder`; each of several runs has its own folder. Raises ProtmpiError if it cannot be made.
    """
    several = len(reports) > 1
    shared = together([(report.label, report.findings) for report in reports]) if several else None
    html = page(reports, shared)
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for report in reports:
            own = folder / report.label.replace(" ", "-") if several else folder
            own.mkdir(exist_ok=True)
            for part in report.parts:
                paths += _write_part(part, own)
        if shared:
            paths += _write_part(shared, folder)
        paths.append(folder / "index.html")
        paths[-1].write_text(html, encoding="utf-8")
    except OSError as error:
        raise ProtmpiError(f"{folder}: no report can be written here: {error.strerror}") from None
    return paths


def _write_part(part: Part, folder: Path) -> list[Path]:
    paths = []
    for name, write in part.files.items():
        paths.append(folder / name)
        write(paths[-1])
    for name, numbers in part.numbers.items():
        paths.append(folder / f"{name}.csv")
        write_long_csv(numbers, paths[-1])
    if part.tables:
        paths.append(folder / f"{part.name}.tex")
        write_latex(part.tables, paths[-1])
    return paths + write_figures({name: figure for name, (figure, _) in part.figures.items()}, folder)

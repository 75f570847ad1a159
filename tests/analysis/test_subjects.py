"""Subjects of the report: one that is new needs an entry in one table, and nothing else."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from made_up import part as made_up
from test_page import whole_store

import analysis
from analysis import open_run, thermodynamics
from analysis.reading.findings import Findings
from analysis.report import subjects
from analysis.report.contents import RunReport, report_of
from analysis.report.writing import write_report
from analysis.subjects.contacts.precision import Options
from analysis.subjects.thermodynamics.part import measured


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_store(tmp_path_factory.mktemp("made") / "a.zarr")


def only(monkeypatch: pytest.MonkeyPatch, store: Path, *chosen: subjects.Subject) -> RunReport:
    """A report on these subjects."""
    monkeypatch.setattr(subjects, "SUBJECTS", chosen)
    return report_of(open_run(store), "transformer-2-8")


def test_a_subject_from_elsewhere_is_in_the_report_by_its_entry_in_the_table(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_report([only(monkeypatch, store, *subjects.SUBJECTS[:3], made_up)], tmp_path / "report")
    assert {"highest.csv", "highest.png", "highest.pdf", "checks.csv"} <= {path.name for path in written}
    page = (tmp_path / "report" / "index.html").read_text()
    for text in ("#run1-highest", "The highest energy of all walkers.", "Made up.", "<dt>highest energy</dt>"):
        assert text in page


def test_without_its_entry_it_is_not(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken twin."""
    written = write_report([only(monkeypatch, store, *subjects.SUBJECTS[1:3])], tmp_path / "report")
    assert "highest.csv" not in {path.name for path in written}
    assert "Made up." not in (tmp_path / "report" / "index.html").read_text()


def test_a_subject_that_does_not_apply_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pooling = whole_store(tmp_path / "b.zarr", "pooling-8-40", blocks=0)
    assert only(monkeypatch, pooling, made_up).parts == []


def test_a_measure_is_taken_once_and_has_the_settings_of_its_class(store: Path) -> None:
    findings = Findings(open_run(store), Options(separation=3))
    assert findings.of(measured) is findings.of(measured)
    assert findings.option(Options).separation == 3
    assert Findings(findings.run).option(Options) == Options()


def test_what_the_package_exports_is_what_a_type_checker_sees() -> None:
    tree = ast.parse(inspect.getsource(analysis))
    seen = {node.module: tuple(alias.name for alias in node.names)
            for block in tree.body if isinstance(block, ast.If)
            for node in block.body if isinstance(node, ast.ImportFrom)}  # fmt: skip
    assert seen == {f"analysis.subjects.{place}": names for place, names in analysis.PLACES.items()}
    assert sorted(analysis.__all__) == sorted(["open_run", *(name for names in seen.values() for name in names)])
    assert all(callable(getattr(analysis, name)) for name in analysis.__all__)
    assert analysis.thermodynamics is thermodynamics
    with pytest.raises(AttributeError, match="no attribute 'entropy'"):
        analysis.entropy  # noqa: B018

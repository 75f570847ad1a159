"""Learning curves and the table of ES and OT, from weights files with known content."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from analysis import cli
from analysis.subjects.training.figures import training_figure
from analysis.subjects.training.measure import CURVES, read_training, read_trainings
from analysis.subjects.training.tables import references_json, references_remarks

EPOCHS = np.array([10, 20, 30])


def write_weights(path: Path, **changes: Any) -> Path:
    """Two references, one init; curves of run r are r + epoch / 100, |w|² of the weights 3, 12 (ES), 27, 48 (OT)."""
    ones = np.ones((2, 3), dtype=np.float32)
    content: dict[str, Any] = {
        "norm2": 7.0,
        "inits/ES": ones[:1],
        "references/ES": ones * [[1], [2]],
        "references/OT": ones * [[3], [4]],
        "references/ES_epoch": [15, 20],
        "references/OT_epoch": [30, 30],
    }
    for stage, runs in (("inits", 1), ("references", 2)):
        for run in range(runs):
            content[f"{stage}/curves/{run}/epoch"] = EPOCHS
            content |= {f"{stage}/curves/{run}/{name}": run + EPOCHS / 100 for name in CURVES}
    with h5py.File(path, "w") as file:
        file.attrs["model"] = json.dumps({"name": "transformer-1-26"})
        for name, values in (content | changes).items():
            if values is not None:
                file[name] = values
    return path


def test_losses_are_those_of_the_epoch_at_which_a_reference_was_stopped(tmp_path: Path) -> None:
    training = read_training(write_weights(tmp_path / "w.h5"))
    marks = training.marks()
    assert (training.label, training.parameters, training.norm2) == ("transformer-1-26", 3, 7.0)
    assert marks["val_energy"].sel(weights="ES").values == pytest.approx([0.15, 1.20])  # 15 lies between two points
    assert marks["val_energy"].sel(weights="OT").values == pytest.approx([0.30, 1.30])
    assert marks["norm2"].values.tolist() == [[3, 12], [27, 48]], "of the weights, not of the curve"
    assert marks["epoch"].sel(weights="ES").values.tolist() == [15, 20]


def test_references_that_never_reached_the_norm_are_named(tmp_path: Path) -> None:
    found = read_trainings([write_weights(tmp_path / name, norm2=q) for name, q in (("a.h5", 3.0), ("b.h5", 11.5))])
    assert [one.fell_short.tolist() for one in found] == [[False, False], [True, False]]
    _, line = references_remarks(found)
    assert line.startswith("transformer-1-26 (2): reference 1 never reached Q = 11.5 (|w|² = 3)")


def test_every_point_of_every_curve_is_written_down(tmp_path: Path) -> None:
    curves = read_training(write_weights(tmp_path / "w.h5")).curves()
    assert curves.sizes["point"] == 9
    assert curves["stage"].values.tolist() == ["init"] * 3 + ["reference"] * 6
    assert curves["run"].values.tolist() == [0] * 6 + [1] * 3
    assert curves["norm2"].values == pytest.approx([0.1, 0.2, 0.3] * 2 + [1.1, 1.2, 1.3])


def test_a_panel_has_every_run_and_every_mark(tmp_path: Path) -> None:
    figure = training_figure(read_training(write_weights(tmp_path / "w.h5")))
    losses, _, norms = figure.axes
    assert len(losses.lines) == 2 * (3 + 2)  # training, validation: three runs, ES and OT
    assert len(norms.lines) == 3 + 2 + 1  # and Q


def test_networks_of_one_name_are_numbered(tmp_path: Path) -> None:
    files = [write_weights(tmp_path / f"{name}.h5") for name in "ab"]
    labels = ["transformer-1-26 (1)", "transformer-1-26 (2)"]
    assert [one.label for one in read_trainings(files)] == labels
    assert list(references_json(read_trainings(files))) == labels


def test_the_program_prints_mean_and_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    weights, out = write_weights(tmp_path / "w.h5"), tmp_path / "figures"
    monkeypatch.setattr(sys, "argv", ["protmpi-analysis", "training", str(weights), "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if " OT " in line)
    assert "0.8 ± 0.7" in row  # of 0.3 and 1.3, the standard deviation being 1/sqrt(2)
    assert sorted(path.suffix for path in out.iterdir()) == [".csv", ".pdf", ".png"]


@pytest.mark.parametrize(
    "changes",
    [{"references/OT": None}, {"references/curves/1/norm2": [1.0]}, {"references/ES_epoch": [1]},
     {"references/ES": [1.0, 2.0]}],
)  # fmt: skip
def test_a_damaged_file_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, changes: dict[str, Any]
) -> None:
    path = write_weights(tmp_path / "w.h5", **changes)
    monkeypatch.setattr(sys, "argv", ["protmpi-analysis", "training", str(path), "--out", str(tmp_path / "figures")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "figures").exists()

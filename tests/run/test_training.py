"""Training: the schedule, the stopping rules, and a training in pieces that is the training in one."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc.stop import Stop
from hpc.world import OneRank
from protmpi import config as configuration
from protmpi import references, tasks, weights
from protmpi.cli import main
from protmpi.errors import DataError
from protmpi.sections import ModelConfig
from protmpi.training import Trainer, learning_rate


class StopAfter(Stop):
    """Gives an attempt up, and all after it, when it has been asked `questions` times whether to."""

    def __init__(self, questions: int) -> None:
        super().__init__(OneRank())
        self.left = questions

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.received = "SIGTERM"
        super().check()


def small(folder: Path, data: Path, **train: object) -> configuration.Config:
    sizes = {"inits": 2, "references": 2, "max_epochs": 9, "over_epochs": 12, "patience": 4, "eval_every": 2}
    return configuration.parse(
        {
            "data": {"file": str(data)},
            "model": {"kind": "transformer", "blocks": 1, "d": 6},
            "train": {"file": str(folder / "weights.h5"), "warmup": 20, **sizes, **train},
        },
        "test",
    )


def train(config: configuration.Config, questions: int) -> bool:
    task = tasks.build(config)
    stop = StopAfter(questions)
    return references.train(config, task, OneRank(), stop, "cpu", lambda line: None)


def test_stopped_training_goes_on_bit_for_bit(tmp_path: Path, small_data_file: Path) -> None:
    whole, pieces = (small(tmp_path / name, small_data_file, settle_epochs=4) for name in "ab")
    assert train(whole, 10_000)
    stopped = 0
    while not train(pieces, 8):
        stopped += 1
        assert stopped < 50
    assert stopped > 3
    task = tasks.build(whole)
    one, two = weights.load(whole.train.file, whole, task), weights.load(pieces.train.file, pieces, task)
    assert one.content_hash() == two.content_hash()
    assert not list((tmp_path / "b").glob("*.parts"))


def read_part(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


def test_a_missing_part_is_trained_again_and_the_others_are_kept(tmp_path: Path, small_data_file: Path) -> None:
    """An earlier code deleted the files that were left when one was missing."""
    config = small(tmp_path, small_data_file)
    assert not train(config, 30)
    parts = sorted((tmp_path / "weights.h5.parts").glob("*.h5"))
    assert len(parts) > 1
    before = read_part(parts[1])
    parts[0].unlink()
    assert not train(config, 1)
    after = read_part(parts[1])
    assert all(np.array_equal(after[name], values) for name, values in before.items())
    assert train(config, 10_000)


def test_references_are_stopped_at_the_norm_of_the_first_stage(tmp_path: Path, small_data_file: Path) -> None:
    config = small(tmp_path, small_data_file, max_epochs=40, over_epochs=60, patience=20)
    assert train(config, 10_000)
    task = tasks.build(config)
    found = weights.load(config.train.file, config, task)
    norm2 = (found.es.astype(np.float64) ** 2).sum(1)
    assert np.ptp(norm2) / norm2.mean() < 0.02
    assert (found.ot_epoch >= found.es_epoch).all()


@pytest.fixture
def short(tmp_path: Path, small_data_file: Path) -> configuration.Config:
    """The first stage is trained for up to 40 epochs, so that references cannot reach its norm in 3."""
    return small(tmp_path, small_data_file, max_epochs=40, patience=40, over_epochs=3)


def test_a_reference_that_never_reaches_the_norm_has_no_early_stopped_weights(short: configuration.Config) -> None:
    assert train(short, 10_000)
    task = tasks.build(short)
    found = weights.load_any(short.train.file, short, task)
    assert found.fell_short.tolist() == [True, True]
    assert np.array_equal(found.es, found.ot)
    norm2 = (found.es[0].astype(np.float64) ** 2).sum()
    with pytest.raises(DataError, match=rf"reference 1 never reached the norm Q = .* {norm2:.5g}; raise train.over_ep"):
        weights.load(short.train.file, short, task)


def test_which_reference_fell_short() -> None:
    es = np.array([[3.0, 0.0], [0.0, 2.0], [1.9975, 0.0]], dtype=np.float32)  # |w|² = 9, 4, 3.99
    epochs = np.array([1, 2, 3])
    assert weights.Weights(es, es, epochs, epochs, norm2=4.0).fell_short.tolist() == [False, False, True]
    assert not weights.Weights(es, es, epochs, epochs).fell_short.any()
    with pytest.raises(DataError, match=r"w\.h5: reference 3 never reached the norm Q = 4 "):
        weights.Weights(es, es, epochs, epochs, norm2=4.0).require_norm(Path("w.h5"))


def test_training_and_run_say_so_in_one_line(
    short: configuration.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text(configuration.to_toml(short.written(), "short"))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["protmpi", *arguments, str(tmp_path / "c.toml")])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    for _ in range(2):  # the second finds the training done
        status, out, err = call("train")
        assert (status, len(err.splitlines())) == (2, 1)
        assert "reference 1 never reached the norm" in err
        assert [line.split()[2] for line in out.splitlines() if line.strip().startswith("ES")] == ["never", "never"]
    before = short.train.file.read_bytes()
    store = ("--set", f'execution.store="{tmp_path}/s.zarr"', "--set")
    for start in ("ES", "OT"):
        status, _, err = call("run", *store, f"sampler.start={start}")
        assert (status, len(err.splitlines())) == (2, 1)
        assert "reference 1 never reached the norm" in err
    assert not (tmp_path / "s.zarr").exists()
    assert short.train.file.read_bytes() == before


def test_settled_weights_lie_lower_and_hardly_move_at_the_end(tmp_path: Path, small_data_file: Path) -> None:
    energy, last_epoch = {}, {}
    for settle in (0, 30):
        config = small(tmp_path, small_data_file, dropout=0.0, over_epochs=40, settle_epochs=settle)
        task = tasks.build(config)
        run = references.Reference(Trainer.start(task, config.train, config.model.width, (2, 0), "cpu"), 0.0)
        before = run.trainer.w
        while not run.done():
            before = run.trainer.w.clone()
            run.epoch()
        assert run.trainer.epoch == run.marks["OT.epoch"] == 40 + settle
        energy[settle] = float(task.evaluate(run.trainer.w, "train")[0][0])
        last_epoch[settle] = float((run.trainer.w - before).norm())
    assert energy[30] < energy[0]
    assert last_epoch[30] < 0.2 * last_epoch[0]


def test_learning_rate_rises_and_then_falls_as_the_inverse_square_root() -> None:
    d, warmup = 26, 100
    rates = [learning_rate(t, d, warmup) for t in range(1, 500)]
    assert int(np.argmax(rates)) + 1 == warmup
    assert rates[49] == pytest.approx(0.5 * rates[99])
    assert rates[399] == pytest.approx(0.5 * rates[99])
    assert rates[99] == pytest.approx((d * warmup) ** -0.5)


def test_weights_of_another_network_are_refused(tmp_path: Path, small_data_file: Path) -> None:
    config = small(tmp_path, small_data_file)
    train(config, 10_000)
    other = config.model_copy(update={"model": ModelConfig(kind="transformer", d=8)})
    with pytest.raises(DataError, match="another network: d 6 -> 8"):
        weights.load(config.train.file, other, tasks.build(other))

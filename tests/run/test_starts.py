"""Where walkers start: on one sphere where the norm is held, for others would have other laws; from another store."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import Command, digest

from protmpi import tasks
from protmpi.config import Config, load
from protmpi.errors import ConfigError, StoreError
from protmpi.plan import Plan
from protmpi.store.reader import Store
from protmpi.weights import Weights

CONFIG = """
[data]
task = "kspin"
classes = 3
spins = 8
train = 20
val = 5
test = 5
[model]
kind = "feedforward"
layers = [5]
[sampler]
start = ["random", "ES", "OT"]
temperatures = [1e-3, 2e-3]
walkers_per_temperature = 6
trajectory = 5
batch = 5
min_extractions = 5
max_extractions = 5
adapt_until = 20
[run]
steps = 100
record_every = 10
snapshot_every = 20
draws_per_chunk = 2
[execution]
device = "cpu"
"""


def config(tmp_path: Path, *changes: str) -> Config:
    path = tmp_path / "c.toml"
    path.write_text(CONFIG)
    return load(path, list(changes))


def planned(config: Config, weights: Weights | None = None) -> Plan:
    task = tasks.build(config)
    return Plan(config.resolved(task.train_size), task, weights, 1)


def norms2(plan: Plan) -> np.ndarray:
    """|w|² of the starts of all walkers."""
    starts = np.stack([plan.starts.of(walker).astype(np.float64) for walker in range(plan.walkers)])
    return np.sum(starts**2, axis=1)


def reference() -> Weights:
    es = np.linspace(-1.0, 2.0, 3 * 6 + 5 * 9, dtype=np.float32)[None]
    return Weights(
        np.concatenate([es, 1.2 * es]), np.concatenate([2.0 * es, 3.0 * es]), np.array([1, 2]), np.array([5, 6])
    )


ALONE = 'sampler.start="random"'
KINDS = ("auto", "constrained", "constrained-trajectories")


@pytest.mark.parametrize("kind", KINDS)
def test_all_starts_are_on_the_sphere_of_the_first_early_stopped_weights(tmp_path: Path, kind: str) -> None:
    plan = planned(config(tmp_path, f"sampler.kind={kind}"), reference())
    assert norms2(plan) == pytest.approx(np.sum(reference().es[0].astype(float) ** 2), rel=1e-6)
    assert np.array_equal(plan.starts.of(2), reference().es[0])
    spheres = next(c.values for c in plan.constants() if c.name == "sphere_norm2")
    assert spheres == pytest.approx(norms2(plan), rel=1e-12)


def test_scaling_turns_nothing(tmp_path: Path) -> None:
    plan = planned(config(tmp_path), reference())
    for walker, wanted in ((4, reference().ot[0]), (8, reference().es[1]), (10, reference().ot[1])):
        start = plan.starts.of(walker).astype(float)
        assert start @ wanted / np.linalg.norm(start) / np.linalg.norm(wanted) == pytest.approx(1.0, abs=1e-7)


def test_fresh_weights_alone_are_put_on_the_sphere_of_the_first_walker(tmp_path: Path) -> None:
    plan = planned(config(tmp_path, ALONE))
    assert norms2(plan) == pytest.approx(norms2(plan)[0], rel=1e-6)
    own = planned(config(tmp_path, ALONE, "sampler.norm2=own"))
    assert np.array_equal(plan.starts.of(0), own.starts.of(0))


def test_own_keeps_the_norm_of_each_and_a_number_sets_it(tmp_path: Path) -> None:
    own = norms2(planned(config(tmp_path, "sampler.norm2=own"), reference()))
    es, ot = (np.sum(w.astype(float) ** 2, axis=1) for w in (reference().es, reference().ot))
    assert own[[2, 8, 4, 10]] == pytest.approx([es[0], es[1], ot[0], ot[1]], rel=1e-6)
    assert len(np.unique(own[[0, 1, 6, 7]])) == 4
    assert norms2(planned(config(tmp_path, "sampler.norm2=7.5"), reference())) == pytest.approx(7.5, rel=1e-6)


def test_where_the_norm_is_free_starts_keep_theirs(tmp_path: Path) -> None:
    for kind in ("unconstrained", "trajectories"):
        found = norms2(planned(config(tmp_path, ALONE, f"sampler.kind={kind}")))
        assert np.ptp(found) > 0.01 * found[0], "else the tests above show nothing"


def test_only_fresh_weights_are_annealed(tmp_path: Path) -> None:
    given = config(tmp_path, "sampler.anneal=[4e-3,1.5e-3]", "sampler.anneal_steps=5", "run.steps=100")
    assert [given.annealing(walker) for walker in range(6)] == [[4e-3, 1.5e-3], [4e-3], [], [], [], []]
    assert given.annealing(6) == [4e-3, 1.5e-3]


@pytest.fixture(scope="module")
def earlier(protmpi: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three temperatures, two walkers at each, with draws after its last snapshot."""
    folder = tmp_path_factory.mktemp("earlier")
    path = folder / "c.toml"
    path.write_text(CONFIG)
    digest(protmpi, path, folder / "earlier.zarr", "--set", ALONE, "--set", "sampler.temperatures=[9e-4,1.9e-3,4e-3]",
           "--set", "sampler.walkers_per_temperature=2", "--set", "run.steps=110")  # fmt: skip
    return folder / "earlier.zarr"


def test_a_store_gives_its_last_snapshots_at_the_nearest_temperature(tmp_path: Path, earlier: Path) -> None:
    """Replicas 0 and 2 start from the store, each from another walker of it; replica 1 is fresh."""
    plan = planned(config(tmp_path, f'sampler.start=["{earlier}","random"]', "sampler.norm2=own"))
    snapshots = Store(earlier).read("parameters")
    assert snapshots.shape[1] == 5
    for walker, theirs in ((0, 0), (1, 1), (4, 3), (5, 4), (8, 0), (9, 1)):
        np.testing.assert_array_equal(plan.starts.of(walker), snapshots[theirs, -1])
    assert not any(np.array_equal(plan.starts.of(2), w) for w in snapshots[:, -1])
    shared = planned(config(tmp_path, f'sampler.start=["{earlier}","random"]'))
    assert norms2(shared) == pytest.approx(np.sum(snapshots[0, -1].astype(float) ** 2), rel=1e-6)


def test_walkers_that_swapped_are_found_by_where_they_were(protmpi: Command, tmp_path: Path, earlier: Path) -> None:
    path, store = tmp_path / "c.toml", tmp_path / "swaps.zarr"
    path.write_text(CONFIG)
    swaps = ["tempering.kind=exchange", "tempering.exchange_every=10", "tempering.burn_in=30", ALONE,
             "sampler.walkers_per_temperature=1"]  # fmt: skip
    digest(protmpi, path, store, *(part for change in swaps for part in ("--set", change)))
    there = Store(store).read("slot")[:, 9]  # the draw of the last snapshot
    snapshots = Store(store).read("parameters")[:, -1]
    plan = planned(config(tmp_path, f'sampler.start="{store}"', "sampler.norm2=own"))
    for slot in (0, 1):
        np.testing.assert_array_equal(plan.starts.of(slot), snapshots[there == slot][0])


def test_the_content_of_a_store_is_in_the_identity_and_its_path_is_not(
    protmpi: Command, tmp_path: Path, earlier: Path
) -> None:
    path, store, moved = tmp_path / "c.toml", tmp_path / "run.zarr", tmp_path / "moved.zarr"
    path.write_text(CONFIG)
    shutil.copytree(earlier, moved)
    few = ("--set", "sampler.walkers_per_temperature=1")
    first = digest(protmpi, path, store, *few, "--set", f'sampler.start="{earlier}"', "--set", "run.steps=60")
    assert protmpi("verify", store).returncode == 0
    again = digest(protmpi, path, store, *few, "--set", f'sampler.start="{moved}"')
    assert again != first
    assert protmpi("verify", store).returncode == 0
    longer = tmp_path / "earlier.toml"
    longer.write_text(CONFIG)
    digest(protmpi, longer, moved, "--set", ALONE, "--set", "sampler.temperatures=[9e-4,1.9e-3,4e-3]",
           "--set", "sampler.walkers_per_temperature=2", "--set", "run.steps=120")  # fmt: skip
    refused = protmpi("run", path, "--store", store, *few, "--set", f'sampler.start="{moved}"')
    assert refused.returncode == 2
    assert "holds another run: sampler.start 0" in refused.stderr


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        ("another network", ("model.layers=[6]",), "sampler.start: the store has another network"),
        ("no snapshot", (), "sampler.start: the store has no snapshot yet"),
        ("missing", (), "does not exist"),
        ("no store", (), "not a Zarr store"),
        ("no start", (), "is not a start; choose"),
    ],
)
def test_a_store_that_is_no_start_is_refused_in_one_line(
    protmpi: Command, tmp_path: Path, earlier: Path, case: str, changes: tuple[str, ...], message: str
) -> None:
    path, start = tmp_path / "c.toml", tmp_path / ("start.h5" if case == "no start" else "start.zarr")
    path.write_text(CONFIG)
    if case == "another network":
        shutil.copytree(earlier, start)
    elif case == "no snapshot":
        digest(protmpi, path, start, "--set", ALONE, "--set", "run.steps=30", "--set", "run.snapshot_every=50")
    elif case == "no store":
        start.mkdir()
    before = sorted(tmp_path.iterdir())
    options = [f'sampler.start="{start}"', *changes]
    done = protmpi("run", path, "--store", tmp_path / "run.zarr", *(p for c in options for p in ("--set", c)))
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert str(start) in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_lost_walkers_are_no_start(tmp_path: Path, earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Store.read_rows

    def spoiled(lost: set[int]) -> None:
        def read_rows(store: Store, name: str, walker: int, start: int, stop: int) -> np.ndarray:
            rows = kept(store, name, walker, start, stop)
            return np.full_like(rows, np.nan) if walker in lost else rows

        monkeypatch.setattr(Store, "read_rows", read_rows)

    given = config(tmp_path, f'sampler.start="{earlier}"', "sampler.norm2=own")
    snapshots = Store(earlier).read("parameters")[:, -1]
    spoiled({0})
    plan = planned(given)
    np.testing.assert_array_equal(plan.starts.of(0), snapshots[3])  # the other walker at this temperature
    spoiled(set(range(6)))
    with pytest.raises(StoreError, match="all walkers of the store are lost"):
        planned(given).starts.of(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ("run.record_every=12", "run.snapshot_every=24"),
            "run.record_every: 12 is not a multiple of sampler.trajectory = 5",
        ),
        (("run.steps=102",), "run.steps: 102 is not a multiple of sampler.trajectory = 5"),
        (
            ("sampler.anneal=[3e-3]", "sampler.anneal_steps=5", "sampler.kind=constrained"),
            "sampler.anneal: is not a key of ",
        ),
        (
            ("sampler.anneal=[3e-3]", "sampler.anneal_steps=5", "sampler.kind=unconstrained"),
            "sampler.anneal: is not a key",
        ),
        (("sampler.anneal=[3e-3,4e-3]", "sampler.anneal_steps=5"), "sampler.anneal: must decrease strictly"),
        (
            ("sampler.anneal=[4e-3,3e-3]", "sampler.anneal_steps=10"),
            "sampler.anneal: 2 temperatures x anneal_steps = 10",
        ),
        (
            ("sampler.anneal=[3e-3]", "sampler.anneal_steps=7"),
            "sampler.anneal_steps: 7 is not a multiple of trajectory = 5",
        ),
        (("sampler.norm2=0",), "sampler.norm2"),
        (("sampler.norm2=ours",), "sampler.norm2"),
        (("sampler.momentum_kept=0",), "sampler.momentum_kept"),
    ],
)
def test_what_does_not_fit_together_is_one_line(tmp_path: Path, changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(tmp_path, *changes)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_draws_of_mini_batches_need_not_follow_trajectories(tmp_path: Path) -> None:
    config(tmp_path, "run.record_every=12", "run.snapshot_every=24", "sampler.kind=constrained")


def test_auto_is_resolved_by_the_size_of_the_training_set(tmp_path: Path) -> None:
    given = config(tmp_path)
    assert [given.resolved(size).sampler.kind for size in (50_000, 50_001)] == [
        "constrained-trajectories",
        "constrained",
    ]
    assert config(tmp_path, "sampler.kind=trajectories").resolved(10**6).sampler.kind == "trajectories"
    annealed = config(tmp_path, "sampler.anneal=[3e-3]", "sampler.anneal_steps=5")
    assert annealed.resolved(50_000).sampler.anneal == [3e-3]
    with pytest.raises(
        ConfigError, match=r'sampler\.anneal: needs trajectories, and kind = "auto" has none for 50,001'
    ):
        annealed.resolved(50_001)

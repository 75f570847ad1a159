"""The task of masked residues with coordinates, from energies to a sampled store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command, digest
from folds import contacts, sequence, walk
from problems import CHAINS
from typer.testing import CliRunner

from hpc.stop import Stop
from hpc.world import OneRank
from protmpi import cli, references, tasks
from protmpi import config as configuration
from protmpi.data import chains
from protmpi.data.alphabet import AMINO_ACIDS
from protmpi.data.energy import draw_couplings
from protmpi.display import Display
from protmpi.errors import ConfigError, DataError, StoreError
from protmpi.models.layers import Dropout
from protmpi.run import run
from protmpi.store.reader import Store
from protmpi.tasks import structures
from protmpi.tasks.chain_set import Fits
from protmpi.tasks.structures import Structures

CONFIG = (
    CHAINS
    + """[train]
file = "{folder}/weights-{coordinates}.h5"
batch = 8
warmup = 50
inits = 1
references = 1
max_epochs = 4
over_epochs = 40
eval_every = 2
[sampler]
kind = "constrained"
temperatures = [1e-3, 3e-3]
batch = 4
min_extractions = 10
max_extractions = 10
adapt_until = 8
[run]
steps = 48
record_every = 4
snapshot_every = 12
[execution]
store = "{folder}/store.zarr"
"""
)


def made_up(count: int = 24, seed: int = 7) -> chains.ChainData:
    """Short folds whose residues depend on what is near, one site of every second chain missing."""
    random = np.random.default_rng(seed)
    couplings = draw_couplings("gaussian", random)
    traces = [walk(int(length), random) for length in random.integers(8, 15, count)]
    tokens = [sequence(contacts(x), couplings, 1.5, random) for x in traces]
    lengths = np.array([len(x) for x in traces], dtype=np.int32)
    x, missing = np.concatenate(traces).astype(np.float32), np.zeros(lengths.sum(), dtype=np.uint8)
    missing[(np.cumsum(lengths) - lengths)[::2]] = 1
    x[missing > 0] = 0.0
    split = np.repeat([0, 1, 2], [count // 2, count // 4, count - count // 2 - count // 4]).astype(np.uint8)
    names = tuple(f"f{n}_A" for n in range(count))
    return chains.ChainData(names, lengths, np.arange(count, dtype=np.int32), split, np.concatenate(tokens), x, missing)


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("structures")
    chains.save(folder / "chains.h5", made_up())
    for coordinates in ("true", "false"):
        (folder / f"{coordinates}.toml").write_text(CONFIG.format(folder=folder, coordinates=coordinates))
    return folder / "true.toml"


@pytest.fixture
def task(config_file: Path) -> Structures:
    built = tasks.build(configuration.load(config_file))
    assert isinstance(built, Structures)
    return built


def weights(task: Structures, walkers: int = 2) -> torch.Tensor:
    random = np.random.default_rng(1)
    return torch.tensor(np.stack([task.initial(random) for _ in range(walkers)]), dtype=torch.float32)


def by_hand(task: Structures, w: torch.Tensor, split: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(true residues, -log p, right) at the chosen sites, chain by chain, for one walker."""
    found, rows = task.sets[split], []
    ends = np.cumsum(found.lengths)
    for n in range(len(found)):
        sites = slice(ends[n] - found.lengths[n], ends[n])
        one = replace(
            found, names=found.names[n : n + 1], lengths=found.lengths[n : n + 1], tokens=found.tokens[sites],
            geometry=found.geometry[sites], chosen=found.chosen[sites], shown=found.shown[sites],
        )  # fmt: skip
        ((_, batch),) = one.batches(task.fits, task.device)
        chosen = np.nonzero(one.chosen)[0]
        logits = task.network.forward(w, batch.chains, torch.from_numpy(chosen))[0][0].double()
        truth = one.tokens[chosen].astype(int)
        logs = torch.log_softmax(logits, -1).numpy()
        rows.append((truth, -logs[np.arange(len(chosen)), truth], logs.argmax(1) == truth))
    return rows


@pytest.mark.parametrize("numbers", [1, 3_000, 10**9])
def test_energy_and_error_are_means_over_chains_of_means_over_sites(task: Structures, numbers: int) -> None:
    """However many chains go through the network together."""
    task.fits = Fits(numbers, 32, 2)
    w = weights(task)
    energy, error = task.evaluate(w, "val")
    for i in range(len(w)):
        rows = by_hand(task, w[i : i + 1], "val")
        assert energy[i] == pytest.approx(np.mean([e.mean() for _, e, _ in rows]), rel=1e-5)
        assert error[i] == pytest.approx(1 - np.mean([r.mean() for _, _, r in rows]), rel=1e-6)
        # broken twin: the mean over all sites is another number
        assert energy[i] != pytest.approx(np.mean(np.concatenate([e for _, e, _ in rows])), rel=1e-5)


def test_the_gradient_belongs_to_the_energy(task: Structures) -> None:
    w = weights(task)
    everything = np.tile(np.arange(task.train_size), (2, 1))
    energy, gradient = task.gradient(w, everything)
    assert energy.numpy() == pytest.approx(task.evaluate(w, "train")[0], rel=1e-6)
    direction = torch.randn(w.shape, generator=torch.Generator().manual_seed(3))
    step = 1e-3
    slope = (task.evaluate(w + step * direction, "train")[0] - task.evaluate(w - step * direction, "train")[0]) / (
        2 * step
    )
    assert (gradient * direction).sum(1).numpy() == pytest.approx(slope, rel=5e-3)


def test_a_chain_drawn_twice_counts_twice(task: Structures) -> None:
    w = weights(task, 1)
    one, two, both = (task.gradient(w, np.array([indices]))[1] for indices in ([0], [1], [0, 0, 1]))
    assert torch.allclose(both, (2 * one + two) / 3, atol=1e-6)


def test_only_training_draws_anew(task: Structures) -> None:
    w, indices = weights(task, 1), np.arange(6)[None]

    def energies(drop: Dropout | None) -> float:
        return float(task.gradient(w, indices, drop)[0][0])

    def training(seed: int) -> Dropout:
        return Dropout(0.0, torch.Generator().manual_seed(seed))

    assert energies(None) == energies(None)
    assert energies(training(1)) == energies(training(1))
    assert len({energies(None), energies(training(1)), energies(training(2))}) == 3
    fixed = Structures(made_up(), task.network, task.config.model_copy(update={"augment": False}), "cpu")
    assert float(fixed.gradient(w, indices, training(1))[0][0]) == energies(None)


def test_new_chains_are_turned_and_not_bent(task: Structures) -> None:
    found = task.sets["train"]
    anew = found.anew(0.15, np.random.default_rng(8))
    assert np.array_equal(anew.tokens, found.tokens)
    assert np.array_equal(anew.geometry[:, 3], found.geometry[:, 3])
    first = slice(0, found.lengths[0])
    before, after = (
        np.linalg.norm(x[first, None, :3] - x[first, :3], axis=-1) for x in (found.geometry, anew.geometry)
    )
    assert after == pytest.approx(before, abs=1e-4)
    assert not np.allclose(anew.geometry[first, :3], found.geometry[first, :3], atol=0.1)
    turns = [np.linalg.lstsq(found.geometry[s, :3], anew.geometry[s, :3], rcond=None)[0] for s in (
        first, slice(found.lengths[0], found.lengths[:2].sum()))]  # fmt: skip
    assert not np.allclose(*turns, atol=0.1)
    assert [np.linalg.det(turn) for turn in turns] == pytest.approx([1.0, 1.0], abs=1e-4)


def test_sums_by_residue(task: Structures) -> None:
    w = weights(task)
    energy, right, count = task.by_residue(w, "test")
    truth, logs, hits = (np.concatenate(part) for part in zip(*by_hand(task, w[1:], "test"), strict=True))
    for acid in range(len(AMINO_ACIDS)):
        assert count[acid] == (truth == acid).sum()
        assert energy[1, acid] == pytest.approx(logs[truth == acid].sum(), rel=1e-5)
        assert right[1, acid] == hits[truth == acid].sum()


def test_even_attention_has_an_even_profile(task: Structures) -> None:
    """Queries of zero attend alike to all sites, whatever the length of the chain."""
    w = weights(task)
    parts = task.layout.split(w)
    for block in range(2):
        parts[f"{block}.Wq"].zero_()
        parts[f"{block}.bq"].zero_()
    profile = task.attention_profile(w)
    known = {constant.name: constant.values for constant in task.constants()}
    distance, pairs = (known[name] for name in ("profile_distance", "profile_pairs"))
    assert profile.shape == (2, 2, 2, len(distance))
    assert profile[..., pairs > 0] == pytest.approx(1.0, abs=1e-5)
    assert np.isnan(profile[..., pairs == 0]).all()
    assert np.isfinite(profile).any()


def test_a_profile_is_told_by_distance() -> None:
    """Three sites 3, 4 and 5 Å apart, and one that is missing."""
    geometry = torch.tensor([[3.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    tokens = torch.zeros(1, 1, 4, dtype=torch.long)
    pairs, bins = structures._distance_bins(structures.Chains(tokens, geometry[None, None], tokens == 0))
    assert pairs.sum() == 6
    assert not pairs[3].any()
    found = {float(structures.DISTANCE[b]) for b in bins}
    assert found == {3.5, 4.5, 5.5}  # a bin holds its lower edge


def test_the_hash_knows_what_the_network_sees(config_file: Path) -> None:
    hashes = set()
    for change in ("data.coordinates=true", "data.coordinates=false", "data.seed=2", "data.mask_probability=0.2"):
        hashes.add(tasks.build(configuration.load(config_file, [change])).data_hash)
    assert len(hashes) == 4
    assert tasks.build(configuration.load(config_file, ["data.augment=false"])).data_hash in hashes


def test_a_store_from_before_the_key_is_relu_and_stays_so(config_file: Path, tmp_path: Path) -> None:
    """Runs that were made when there was only relu are verified and continued as such, never with gelu."""

    def advance(*overrides: str) -> bool:
        config = configuration.load(
            config_file, ["sampler.start=random", f"execution.store={tmp_path}/old.zarr", *overrides]
        )
        return run(config, OneRank(), Stop(OneRank()), Display(0, False))

    assert advance("model.activation=relu", "run.steps=24")
    file = tmp_path / "old.zarr" / "zarr.json"
    content = json.loads(file.read_text())
    assert "model.activation" not in content["attributes"]["identity"]
    del content["attributes"]["config"]["model"]["activation"]
    file.write_text(json.dumps(content))
    result = CliRunner().invoke(cli.app, ["verify", str(file.parent)])
    assert result.exit_code == 0, result.output
    with pytest.raises(StoreError, match=r"model\.activation None -> gelu"):
        advance()
    assert advance("model.activation=relu")


def test_other_networks_are_refused(config_file: Path) -> None:
    with pytest.raises(ConfigError, match='it takes "encoder"'):
        configuration.load(config_file, ["model.kind=transformer"])
    with pytest.raises(DataError, match="no such data file; write it with `protmpi data structures DIR`"):
        tasks.build(configuration.load(config_file, ["data.file=absent.h5"]))


def test_it_is_trained_and_sampled_as_every_task(config_file: Path, protmpi: Command) -> None:
    config = configuration.load(config_file)
    assert references.train(config, tasks.build(config), OneRank(), Stop(OneRank()), "cpu", lambda line: None)
    alone = config.execution.store
    assert run(config, OneRank(), Stop(OneRank()), Display(0, False))
    store = Store(alone)
    assert store.digest() == digest(protmpi, config_file, alone.with_name("two.zarr"), ranks=2)
    profile = store.read("attention_profile")
    assert profile.shape == (2, 4, 2, 2, len(structures.DISTANCE))
    assert np.isfinite(profile[..., store.read("profile_pairs") > 0]).all()
    assert store.read("residue_recovery").shape == (2, 4, 20)

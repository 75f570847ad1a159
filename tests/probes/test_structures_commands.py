"""`protmpi structures`: scores and heads of trained networks, from weights whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from folds import walk
from problems import CHAINS
from typer.testing import CliRunner

from hpc.stop import Stop
from hpc.world import OneRank
from protmpi import config as configuration
from protmpi import references, tasks
from protmpi.data import chains
from protmpi.data.alphabet import AMINO_ACIDS
from protmpi.errors import ProtmpiError
from protmpi.probes.commands import app
from protmpi.probes.embeddings import embed
from protmpi.probes.score import composition, score

CONFIG = (
    CHAINS
    + """mask_probability = 0.6
[train]
file = "{folder}/{coordinates}.h5"
inits = 1
references = 0
max_epochs = 1
eval_every = 1
"""
)


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two networks, with and without coordinates, trained for one epoch."""
    folder, random = tmp_path_factory.mktemp("probes"), np.random.default_rng(1)
    traces = [walk(int(length), random).astype(np.float32) for length in random.integers(20, 30, 40)]
    lengths = np.array([len(x) for x in traces], dtype=np.int32)
    tokens = random.integers(20, size=lengths.sum()).astype(np.uint8)
    split = np.repeat([0, 1, 2], [20, 5, 15]).astype(np.uint8)
    names = tuple(f"c{n}_A" for n in range(40))
    missing = np.zeros(len(tokens), dtype=np.uint8)
    chains.save(
        folder / "chains.h5",
        chains.ChainData(names, lengths, np.arange(40, dtype=np.int32), split, tokens, np.concatenate(traces), missing),
    )
    paths = []
    for coordinates in ("true", "false"):
        paths.append(folder / f"{coordinates}.toml")
        paths[-1].write_text(CONFIG.format(folder=folder, coordinates=coordinates))
        config = configuration.load(paths[-1])
        assert references.train(config, tasks.build(config), OneRank(), Stop(OneRank()), "cpu", lambda line: None)
    return paths


def call(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_who_knows_nothing_has_the_perplexity_of_the_alphabet(configs: list[Path]) -> None:
    """A head of zeros: 21 equal guesses, of which the first is A."""
    task = tasks.build(configuration.load(configs[0]))
    w = task.initial(np.random.default_rng(2))[None]
    for entry in task.layout.entries:
        if entry.name in ("Wo", "bo"):
            w[:, entry.slice] = 0.0
    found = score(task, w.astype(np.float32), "test")
    assert found.perplexity == pytest.approx(21.0, rel=1e-5)
    share = found.count[0] / found.count.sum()
    assert found.recovery[0] == pytest.approx([1.0, *[0.0] * 19, share])
    assert composition(task, "test") == pytest.approx(20.0, abs=1.5)


def test_who_knows_the_composition_has_its_perplexity(configs: list[Path]) -> None:
    task = tasks.build(configuration.load(configs[0]))
    w = task.initial(np.random.default_rng(2))[None]
    tokens = task.sets["train"].tokens
    share = (np.bincount(tokens, minlength=20) + 1.0) / (len(tokens) + 20.0)
    for entry in task.layout.entries:
        if entry.name == "Wo":
            w[:, entry.slice] = 0.0
        if entry.name == "bo":
            w[:, entry.slice] = [*np.log(share), -50.0]
    found = score(task, w.astype(np.float32), "val")
    assert found.perplexity[0, -1] == pytest.approx(composition(task, "val"), rel=1e-5)


def test_embeddings_are_those_of_whole_chains(configs: list[Path]) -> None:
    """Each once, unpadded, and of the sequence before anything was hidden."""
    task = tasks.build(configuration.load(configs[1]))
    w = task.initial(np.random.default_rng(3)).astype(np.float32)
    found = sorted(embed(task, w, "test"), key=lambda chain: task.sets["test"].names.index(chain.name))
    data = chains.load(configs[0].with_name("chains.h5"))
    assert [chain.name for chain in found] == list(data.names[25:])
    assert [chain.h.shape for chain in found] == [(n, 8) for n in data.lengths[25:]]
    # the network without coordinates gives equal chains equal embeddings, hidden sites or not
    task.sets["test"].chosen[:] = True
    again = {chain.name: chain.h for chain in embed(task, w, "test")}
    assert all(np.array_equal(chain.h, again[chain.name]) for chain in found)


def test_score_shows_networks_side_by_side(configs: list[Path]) -> None:
    text = call("score", *configs)
    assert "true, coordinates" in text
    assert "false, sequence" in text
    tree = json.loads(call("score", *configs, "--json"))
    assert tree["amino_acids"] == AMINO_ACIDS
    for path in configs:
        assert np.shape(tree["networks"][str(path)]["perplexity"]) == (1, 21)


def test_heads_are_trained_and_measured(configs: list[Path], tmp_path: Path) -> None:
    rows = json.loads(call("contacts", *configs, "--json"))
    assert set(rows) == {"true, coordinates", "false, sequence"}
    for row in rows.values():
        assert 0 <= row["at_length"][0] <= 1
        assert row["chains"] == 15
    assert "P@L/5" in call("contacts", configs[0])
    labels = tmp_path / "go.tsv"
    labels.write_text("chain\tterm\n" + "".join(f"c{n}_A\tGO:{n % 2}\n" for n in range(40)))
    rows = json.loads(call("functions", *configs, "--labels", labels, "--json"))
    assert all(row["terms"] == 2 and 0 <= row["f_max"] <= 1 for row in rows.values())
    assert "Fmax" in call("functions", configs[1], "--labels", labels)


def test_bad_input_is_one_line(configs: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "kspin.toml"
    other.write_text('[data]\ntask = "kspin"\n[model]\nkind = "feedforward"\n')
    for arguments, said in (
        (("score", other), 'must be "structures"'),
        (("score", *configs, "--split", "all"), "none of train, val, test"),
        (("score", tmp_path / "absent.toml"), "no such file"),
    ):
        with pytest.raises(ProtmpiError, match=said) as caught:
            call(*arguments)
        assert "\n" not in str(caught.value)

"""From a folder of PDB and mmCIF files to a data set of protein chains, split by clusters.

All protein chains of the first model of every file count, under the name FILE_CHAIN (`1nti_A`). Links that lead out of
the folder are refused. Chains that a network cannot take (too long, no known residue, no Cα) are omitted and counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protmpi import __version__
from protmpi.data import polymer, table
from protmpi.data.alphabet import MASK, encode
from protmpi.data.chains import FARTHEST, ChainData
from protmpi.data.masking import TEST, TRAIN, VAL
from protmpi.errors import DataError

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
MAX_FILES = 10_000_000
GZIPPED = re.compile(r"\.gz$", re.IGNORECASE)
NAME = re.compile(r"[\w.+:-]{1,64}", re.ASCII)
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}

Clusters = dict[str, tuple[str, int | None]]
"""Name of a chain -> its cluster and, if the user chose it, its split."""


@dataclass(frozen=True)
class Trace:
    """One chain: its Cα trace. tokens (L,) uint8, coordinates (L, 3) float32 in Å, missing (L,) bool."""

    name: str
    tokens: np.ndarray
    coordinates: np.ndarray
    missing: np.ndarray


def files(folder: Path) -> list[Path]:
    """Structure files in a folder and its subfolders, sorted, without hidden files.

    Raises DataError if a file lies outside the folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one with PDB or mmCIF files ({', '.join(SUFFIXES)}, also .gz)")
    # hidden files are not structures: macOS keeps metadata of x.pdb in ._x.pdb
    found = sorted(p for p in folder.rglob("*") if GZIPPED.sub("", p.name).lower().endswith(SUFFIXES)
                   and not any(part.startswith(".") for part in p.relative_to(folder).parts))  # fmt: skip
    if not 1 <= len(found) <= MAX_FILES:
        raise DataError(f"{folder}: {len(found)} PDB or mmCIF files; 1 to {MAX_FILES} are allowed")
    home = folder.resolve()
    for path in found:
        if not path.resolve().is_relative_to(home):
            raise DataError(f"{path}: leads out of {folder}; copy the file into it")
        if not path.is_file():
            raise DataError(f"{path}: no plain file")
    return found


def traces(path: Path) -> Iterator[Trace]:
    """The protein chains of a file. Raises DataError, one line, if it has none or cannot be read."""
    _, content = polymer.read(str(path))
    structure = polymer.parse(str(path), content)
    stem = GZIPPED.sub("", path.name).rsplit(".", 1)[0]
    for letter, residues in polymer.proteins(str(path), structure).items():
        name = f"{stem}_{letter}"
        if not NAME.fullmatch(name):
            raise DataError(f"{path}: chain {name!r}: names have up to 64 letters, digits and . _ + : -")
        yield _trace(name, polymer.read_chain(str(path), structure, residues), path)


def _trace(name: str, chain: polymer.Chain, path: Path) -> Trace:
    tokens = encode(chain.sequence)
    coordinates, missing = chain.trace()
    if not missing.all():
        coordinates[~missing] -= coordinates[~missing].mean(0)
    if not np.abs(coordinates).max(initial=0.0) <= FARTHEST:  # also true for NaN
        raise DataError(f"{path}: chain {name}: a coordinate is not finite, or more than {FARTHEST:g} Å off the others")
    return Trace(name, tokens, coordinates.astype(np.float32), missing)


def read_clusters(path: Path) -> Clusters:
    """Cluster and split of each chain from a table with the columns chain, cluster and split; one of the last two
    may be absent. Raises DataError: one line naming the file, the chain and what is wrong."""
    found: Clusters = {}
    split_of: dict[str, int | None] = {}
    for row in table.read(path, ("chain",), ("cluster", "split")):
        name, split = row["chain"], row.get("split")
        if len(row) == 1:
            raise DataError(f"{path}: must have a column 'cluster' or 'split' beside 'chain'")
        if split is not None and split not in SPLITS:
            raise DataError(f"{path}: chain {name}: split {split!r} is none of {', '.join(SPLITS)}")
        if name in found:
            raise DataError(f"{path}: chain {name} has two rows")
        code = SPLITS[split] if split else None
        cluster = row.get("cluster", name)
        if split_of.setdefault(cluster, code) != code:
            raise DataError(f"{path}: cluster {cluster} is in two splits, at chain {name}")
        found[name] = cluster, code
    return found


def collect(
    folder: Path, clusters: Path | None, max_length: int, shares: tuple[float, float], seed: int,
    progress: Callable[[list[Path]], Iterable[Path]] = iter,
) -> ChainData:  # fmt: skip
    """All chains of a folder. Chains of equal sequence form a cluster, unless a table gives the clusters.

    Clusters without a given split are dealt at random until validation and test set have the fractions `shares`.
    """
    known = read_clusters(clusters) if clusters else None
    kept: dict[str, Trace] = {}
    left_out = {"too long": 0, "nothing known": 0}
    for path in progress(files(folder)):
        for trace in traces(path):
            if trace.name in kept:
                raise DataError(f"{path}: chain {trace.name} is in another file already; keep one of them")
            length, blank = len(trace.tokens), trace.missing.all() or (trace.tokens == MASK).all()
            if length > max_length or length < 2 or blank:
                left_out["too long" if length > max_length else "nothing known"] += 1
                continue
            kept[trace.name] = trace
    if not kept:
        raise DataError(f"{folder}: no chain of 2 to {max_length} residues with a known amino acid and a Cα")
    labels, split = _split(list(kept.values()), known, clusters, shares, seed)
    joined = {name: np.concatenate([getattr(t, name) for t in kept.values()])
              for name in ("tokens", "coordinates", "missing")}  # fmt: skip
    return ChainData(
        tuple(kept),
        lengths=np.array([len(t.tokens) for t in kept.values()], dtype=np.int32),
        cluster=np.unique(labels, return_inverse=True)[1].astype(np.int32),
        split=split,
        **joined,
        attributes={"protmpi": __version__, "folder": folder.resolve().name, "left_out": left_out,
                    "max_length": max_length, "shares": shares, "seed": seed},
    )  # fmt: skip


def _split(
    chains: list[Trace], known: Clusters | None, source: Path | None, shares: tuple[float, float], seed: int
) -> tuple[list[str], np.ndarray]:
    """Cluster label and split (N,) uint8 of each chain."""
    if known is None:
        known = {chain.name: (chain.tokens.tobytes().hex(), None) for chain in chains}
    absent = [chain.name for chain in chains if chain.name not in known]
    if absent:
        raise DataError(f"{source}: no row for {len(absent)} of {len(chains)} chains, the first is {absent[0]}")
    labels = [known[chain.name][0] for chain in chains]
    chosen = [known[chain.name][1] for chain in chains]
    if all(code is not None for code in chosen):
        return labels, np.array(chosen, dtype=np.uint8)
    names, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(sizes[order]) - sizes[order]  # number of chains dealt before each cluster
    ends = np.cumsum(shares) * len(chains)
    of_cluster = np.empty(len(names), dtype=np.uint8)
    of_cluster[order] = np.select([before < ends[0], before < ends[1]], [VAL, TEST], TRAIN)
    return labels, of_cluster[index]

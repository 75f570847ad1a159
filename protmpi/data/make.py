"""From a configuration to a data set: structure, sequences, masks, split."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from protmpi import __version__
from protmpi.data import alignments, convergence, dataset, masking, structure, tempering
from protmpi.data.alphabet import encode
from protmpi.data.energy import FoldingEnergy, draw_couplings, energies
from protmpi.data.sections import FoldingConfig
from protmpi.errors import DataError

RUNS = 2
# a stream for each purpose, so that sequences do not depend on masks or split
COUPLINGS, SEQUENCES, MASKS, SPLIT, CHECKS = range(5)


def stream(seed: int, *purpose: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=purpose)


def native_structure(config: FoldingConfig) -> structure.Structure:
    """The structure, or the part of it, that the configuration names: `acbp`, a contact list (.json), a PDB/mmCIF file
    or a PDB id."""
    whole = _whole_structure(config)
    return whole.part(*config.residues) if config.residues else whole


def _whole_structure(config: FoldingConfig) -> structure.Structure:
    if config.structure != "acbp" and not config.structure.endswith(".json"):
        from protmpi.data.contacts import contact_map

        return contact_map(
            config.structure,
            cutoff=config.cutoff,
            min_separation=config.min_separation,
            chain=config.chain,
            model=config.model,
        )
    native = structure.shipped() if config.structure == "acbp" else structure.load(Path(config.structure))
    for key in ("cutoff", "min_separation", "model", "chain"):
        wanted, stored = getattr(config, key), native.provenance.get(key)
        if wanted is not None and wanted != stored:
            raise DataError(
                f"data.{key}: {wanted} does not fit the contact list {config.structure}, made with "
                f"{stored}; give the PDB or mmCIF file as data.structure"
            )
    return native


def parameters(
    config: FoldingConfig, native: structure.Structure | None, own: alignments.Alignment | None
) -> dict[str, Any]:
    """Parameters that determine the content of the data set. Equal parameters mean equal data."""
    names = ["train", "val", "mask_probability", "seed"]
    if own is None:
        names += ["sequences", "temperature", "moves", "couplings"]
    chosen = {name: getattr(config, name) for name in names}
    if native is not None:
        content = f"{native.sequence} {native.contacts}"
        chosen |= {"structure": config.structure, "contacts_sha256": hashlib.sha256(content.encode()).hexdigest()}
    if own is not None:
        chosen["sequences_sha256"] = own.sha256
    return chosen


def drawn(
    config: FoldingConfig, native: structure.Structure, report: Callable[[int, str, float], None]
) -> dataset.FoldingData:
    """Sequences drawn by simulated tempering in two independent runs. report(run, stage, fraction of it done)."""
    if config.moves == "swap" and "X" in native.sequence:
        raise DataError(
            f"data.structure: {config.structure}: residue {native.sequence.index('X') + 1} has no parent "
            'amino acid, so that the native composition is not known; choose data.moves = "mutate"'
        )
    couplings = draw_couplings(config.couplings, np.random.default_rng(stream(config.seed, COUPLINGS)))
    problem = FoldingEnergy(couplings, native.contact_map(), encode(native.sequence), config.moves)
    if not native.contacts or problem.entropy <= 0:
        reason = "all residues are alike" if native.contacts else "no contacts"
        raise DataError(f"data.structure: {config.structure}: {reason}, so there is nothing to draw")
    if config.sequences < 2 * RUNS:
        raise DataError(f"data.sequences: {config.sequences} is too few; at least {2 * RUNS} are needed to check them")
    share = config.sequences // RUNS
    with tempering.threads() as pool:
        runs = [
            tempering.run(
                problem,
                config.temperature,
                count,
                stream(config.seed, SEQUENCES, index),
                pool,
                functools.partial(report, index),
            )
            for index, count in enumerate([config.sequences - share, share])
        ]
        measured = convergence.measure(problem, runs, stream(config.seed, CHECKS), pool)
    sequences = np.concatenate([run.sequences for run in runs])
    return _assemble(
        config, sequences, native, None, energies(sequences, couplings, problem.contact_map), couplings, measured
    )


def given(config: FoldingConfig, own: alignments.Alignment, native: structure.Structure | None) -> dataset.FoldingData:
    """A user's own sequences, with or without their structure."""
    length = own.sequences.shape[1]
    if native is not None and native.length != length:
        raise DataError(
            f"data.structure: {config.structure} has {native.length} residues, the sequences have {length} "
            "sites; both must be the same"
        )
    return _assemble(config, own.sequences, native, own, None, None, {})


def _assemble(
    config: FoldingConfig,
    sequences: np.ndarray,
    native: structure.Structure | None,
    own: alignments.Alignment | None,
    energy: np.ndarray | None,
    couplings: np.ndarray | None,
    measured: dict[str, np.ndarray],
) -> dataset.FoldingData:
    split = masking.draw_split(
        len(sequences), config.train, config.val, np.random.default_rng(stream(config.seed, SPLIT))
    )
    known = own.known if own is not None else np.ones(sequences.shape, dtype=bool)
    masked = masking.draw_masks(known, config.mask_probability, np.random.default_rng(stream(config.seed, MASKS)))
    attributes = {
        "protmpi": __version__,
        "parameters": parameters(config, native, own),
        "structure": native.provenance if native is not None else {},
        "read": own.counts if own is not None else {},
    }
    return dataset.FoldingData(
        sequences,
        masked,
        split,
        energy,
        couplings,
        native.contact_map() if native is not None else None,
        native.sequence if native is not None else "",
        attributes,
        measured,
    )

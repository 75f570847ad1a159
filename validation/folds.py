"""Made-up structures whose sequences depend on what is close in space: a set with a known answer, for trials.

    python validation/folds.py DIR [--chains 600] [--length 40] [--temperature 1.5] [--seed 1]

writes one PDB file per chain. Each chain is a self-avoiding walk of Cα (3.8 Å apart, none closer than 4 Å) pulled
together into a globule. Its residues are drawn, given the walk, from exp(-E/T) with E = sum of J[s_i, s_j] over pairs
closer than 8 Å with |i-j| >= 3, and one symmetric 20 x 20 matrix J of N(0, 1) for all chains. So a residue is told by
its neighbours in space, which no network finds without coordinates.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gemmi
import numpy as np

from protmpi.data.alphabet import decode
from protmpi.data.energy import draw_couplings

STEP, NEAREST, CONTACT, SEPARATION = 3.8, 4.0, 8.0, 3
TRIALS = 30  # directions tried for the next residue
SWEEPS = 60  # over the sites of a sequence


def walk(length: int, random: np.random.Generator) -> np.ndarray:
    """A self-avoiding walk (L, 3) in Å, as dense as a protein: radius of gyration near 2.2 L^0.38 Å."""
    size = 2.2 * length**0.38
    while True:
        x = np.zeros((1, 3))
        while len(x) < length:
            directions = random.standard_normal((TRIALS, 3))
            tried = x[-1] + STEP * directions / np.linalg.norm(directions, axis=1, keepdims=True)
            apart = np.linalg.norm(tried[:, None] - x[:-1], axis=-1).min(1, initial=np.inf)
            tried = tried[apart > NEAREST]
            if not len(tried):
                break
            weight = np.exp(-3.0 * np.sum((tried - x.mean(0)) ** 2, axis=1) / size**2)
            x = np.concatenate([x, tried[random.choice(len(tried), p=weight / weight.sum())][None]])
        if len(x) == length:
            return x - x.mean(0)


def contacts(x: np.ndarray) -> np.ndarray:
    """Pairs (L, L) of bool that act on each other."""
    site = np.arange(len(x))
    close = np.linalg.norm(x[:, None] - x, axis=-1) < CONTACT
    return np.asarray(close & (np.abs(site[:, None] - site) >= SEPARATION))


def sequence(touching: np.ndarray, couplings: np.ndarray, temperature: float, random: np.random.Generator
             ) -> np.ndarray:  # fmt: skip
    """Tokens (L,) uint8 drawn from exp(-E/T) by a heat bath over the sites."""
    tokens = random.integers(20, size=len(touching)).astype(np.uint8)
    for _ in range(SWEEPS):
        for site in random.permutation(len(tokens)):
            field = couplings[tokens[touching[site]]].sum(0)
            weight = np.exp(-(field - field.min()) / temperature)
            tokens[site] = random.choice(20, p=weight / weight.sum())
    return tokens


def structure(name: str, x: np.ndarray, tokens: np.ndarray) -> gemmi.Structure:
    """A structure of one chain A of Cα."""
    chain = gemmi.Chain("A")
    codes = gemmi.expand_one_letter_sequence(decode(tokens), gemmi.ResidueKind.AA)
    for number, (code, place) in enumerate(zip(codes, x, strict=True), start=1):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = code, gemmi.SeqId(str(number))
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*place)
        residue.add_atom(atom)
        chain.add_residue(residue)
    made = gemmi.Structure()
    made.name = name
    made.add_model(gemmi.Model(1))
    made[0].add_chain(chain)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--chains", type=int, default=600)
    parser.add_argument("--length", type=int, default=40, help="of a chain, give or take a quarter")
    parser.add_argument("--temperature", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=1)
    c = parser.parse_args()
    random = np.random.default_rng(c.seed)
    couplings = draw_couplings("gaussian", random)
    c.folder.mkdir(parents=True, exist_ok=True)
    for number in range(c.chains):
        x = walk(int(random.integers(3 * c.length // 4, 5 * c.length // 4 + 1)), random)
        tokens = sequence(contacts(x), couplings, c.temperature, random)
        structure(f"m{number:05d}", x, tokens).write_pdb(str(c.folder / f"m{number:05d}.pdb"))
    print(f"{c.folder}: {c.chains} structures")


if __name__ == "__main__":
    main()

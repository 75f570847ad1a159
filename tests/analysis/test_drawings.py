"""What is drawn of a structure and of a network is what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.subjects.contacts.backbone import along_principal_axes, read_backbone
from analysis.subjects.network.figures import arrays_drawn, diagram_figure
from protmpi.config import load
from protmpi.errors import DataError
from protmpi.models import build

ROOT = Path(__file__).parents[2]
HELIX = np.array([[2.3 * np.cos(1.745 * i), 2.3 * np.sin(1.745 * i), 1.5 * i] for i in range(12)])  # right-handed, Å

CHAIN = ["ALA", "CYS", "ASP", "GLU", "PHE", "GLY", "HIS", "ILE", "LYS", "LEU", "MET", "ASN"]


def handedness(coordinates: np.ndarray) -> float:
    """Mean triple product of three bonds in a row: positive in a right-handed helix."""
    bonds = np.diff(coordinates, axis=0)
    return float(np.mean(np.einsum("ij,ij->i", bonds[:-2], np.cross(bonds[1:-1], bonds[2:]))))


def pdb(path: Path, missing: int | None = None) -> Path:
    lines = [
        f"ATOM  {i + 1:>5}  CA  {CHAIN[i]} A{i + 1:>4}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           C"
        for i, (x, y, z) in enumerate(HELIX)
        if i != missing
    ]
    path.write_text("\n".join(["SEQRES   1 A   12  " + " ".join(CHAIN), *lines, "TER", "END", ""]))
    return path


@pytest.mark.parametrize("turn", range(4))
def test_a_helix_stays_right_handed(turn: int) -> None:
    turned = HELIX @ np.linalg.qr(np.random.default_rng(turn).standard_normal((3, 3)))[0]
    mirrored = handedness(turned) < 0
    drawn = along_principal_axes(turned, np.ones(12, dtype=bool))
    assert (handedness(drawn) < 0) == mirrored
    spread = drawn.std(axis=0)
    assert spread[0] > spread[1] >= spread[2]
    distances = [np.linalg.norm(x[:, None] - x, axis=-1) for x in (HELIX, drawn)]
    np.testing.assert_allclose(*distances, atol=1e-9)


def test_a_residue_without_atoms_keeps_its_place(tmp_path: Path) -> None:
    found = read_backbone(pdb(tmp_path / "a.pdb", missing=5), None, 6.0, 2)
    assert np.flatnonzero(np.isnan(found.coordinates).any(axis=1)).tolist() == [5]
    assert found.structure.length == 12


def test_the_command_writes_figure_and_table(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["structure", str(pdb(tmp_path / "a.pdb")), "--cutoff", "6", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "ACDEFGHIKLMN" in done.output
    assert (tmp_path / "structure.pdf").stat().st_size > 1000


def test_a_chain_without_backbone_is_refused(tmp_path: Path) -> None:
    path = pdb(tmp_path / "a.pdb")
    path.write_text(path.read_text().replace(" CA ", " CB "))
    with pytest.raises(DataError, match="fewer than two Cα atoms"):
        read_backbone(path, None, 6.0, 2)


@pytest.mark.parametrize("name", ["transformer-1-26", "transformer-4-14", "pooling-64-320"])
def test_a_diagram_has_every_parameter(name: str) -> None:
    """All boxes together, blocks as often as there are, hold as many numbers as the network."""
    config = load(ROOT / "configs" / "demo.toml", [f"model.name={name}"])
    network = build(config.model, 86)
    layout = [{"name": entry.name, "shape": entry.shape} for entry in network.layout.entries]
    drawn = arrays_drawn(config.model.kind)
    sizes = {e["name"]: int(np.prod(e["shape"])) for e in layout}
    blocks = max(1, getattr(config.model, "blocks", 1) or 1)
    total = sum(sizes[name] * (blocks if name.startswith("0.") else 1) for name in drawn)
    assert total == sum(sizes.values())
    texts = [text.get_text() for axes in diagram_figure(config.model.model_dump(), layout).axes for text in axes.texts]
    shown = [words[-1].replace(",", "") for text in texts if len(words := text.split()) > 1]
    assert sum(int(word) for word in shown if word.isdigit()) == sum(sizes[name] for name in drawn)

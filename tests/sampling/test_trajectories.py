"""Full-batch trajectories sample the laws they claim at any step size, with unequal masses and asymmetric energies.

Walkers start in the exact law, drawn by quadrature where there is no formula, and must stay in it. Every check has
twins that are deliberately wrong and must fail it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from protmpi.data.sections import KSpinConfig
from protmpi.models.feedforward import Feedforward
from protmpi.sampling.kernels.energy import Regulariser, full_gradient
from protmpi.sampling.kernels.sphere import dot
from protmpi.sampling.kernels.trajectories import EnergyGradient, State, Trajectories
from protmpi.tasks.kspin import KSpin

WALKERS = 1_000
LIMIT = 4.0  # standard errors; a twin must be beyond twice as many
F64 = torch.float64
UNEQUAL = torch.tensor([1.0, 3.0, 8.0], dtype=F64)


class Untested(Trajectories):
    """Without the Metropolis test."""

    def acceptance(self, state: State) -> Tensor:
        return state.error.isfinite().double()


class CountsRefreshment(Trajectories):
    """Takes the heat of the refreshments for an error of the steps."""

    def refresh(self, state: State, kept: float) -> State:
        after = super().refresh(state, kept)
        return replace(after, error=after.error + self._hamiltonian(after) - self._hamiltonian(state))


class ForceAlone(Trajectories):
    """The Fixman potential as a force, but not in H."""

    def _with_forces(self, state: State) -> State:
        state = super()._with_forces(state)
        return replace(state, potential=state.energy)


class Twice(Trajectories):
    """The Fixman potential without its factor 1/2."""

    def _with_forces(self, state: State) -> State:
        return Trajectories._with_forces(replace(self, temperature=2.0 * self.temperature), state)


class NotTangent(Trajectories):
    """Fresh momenta that point out of the sphere: a drift may begin inwards, and its reverse go elsewhere."""

    def refresh(self, state: State, kept: float) -> State:
        fresh = ((1.0 - kept**2) * self.temperature * self.mass).sqrt() * self.normals(state.position)
        return replace(state, momentum=fresh + kept * state.momentum)


@dataclass
class Found:
    """Positions (trajectory, walker, P); acceptance, exp(-ΔH/T) and reversibility (trajectory, walker)."""

    position: np.ndarray
    acceptance: np.ndarray
    factor: np.ndarray
    reversible: np.ndarray


def run(
    energy_gradient: EnergyGradient, start: Tensor, mass: Tensor, h: float, trajectories: int, steps: int,
    norm2: float | None = 1.0, temperature: float = 1.0, kept: float = 1.0, fixman: bool = True,
    kind: type[Trajectories] = Trajectories,
) -> Found:  # fmt: skip
    """As a block follows its trajectories, without adaptation."""
    generator = torch.Generator().manual_seed(11)
    column = torch.ones(len(start), 1, dtype=start.dtype)
    kernel = kind(
        temperature * column, mass.expand_as(start).clone(), energy_gradient,
        lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype),
        None if norm2 is None else norm2 * column.double(), fixman,
    )  # fmt: skip
    state, kept_rows = kernel.init(start), []
    for _ in range(trajectories):
        before = after = kernel.start(state)
        for _ in range(steps):
            after = kernel.step(kernel.refresh(after, kept) if kept < 1.0 else after, h * column)
        probability = kernel.acceptance(after)
        uniform = torch.rand(column.shape, generator=generator, dtype=F64)
        state = after.where(uniform < probability, before)
        factor = torch.where(after.reversible, kernel.boltzmann_factor(after), 0.0)
        row = (state.position, probability, factor, after.reversible.double())
        kept_rows.append([part.squeeze(1).numpy().copy() for part in row])
    return Found(*(np.stack(column) for column in zip(*kept_rows, strict=True)))


def z_of(series: np.ndarray, expected: np.ndarray | float) -> float:
    """Largest |z| of means over (trajectory, walker, ...); walkers are independent, their trajectories are not."""
    each = series.mean(0)
    return float(np.abs((each.mean(0) - expected) / (each.std(0, ddof=1) / np.sqrt(len(each)))).max())


def tilted(w: Tensor) -> tuple[Tensor, Tensor]:
    """A quadratic form and a tilt, no two axes alike."""
    stiffness = torch.tensor([0.8, -0.5, 0.2], dtype=w.dtype)
    tilt = torch.tensor([0.9, -0.4, 0.6], dtype=w.dtype)
    return (0.5 * stiffness * w**2 + tilt * w).sum(1, keepdim=True).double(), stiffness * w + tilt


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) of the unit sphere and the area that each stands for."""
    z, height = np.polynomial.legendre.leggauss(200)
    angle = (np.arange(400) + 0.5) * np.pi / 200
    z, angle = (x.ravel() for x in np.meshgrid(z, angle, indexing="ij"))
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], 1), np.repeat(height, 400)


def moments(w: np.ndarray, temperature: float) -> np.ndarray:
    """w, w² and U/T at w (..., 3)."""
    energy = tilted(torch.from_numpy(w.reshape(-1, 3)))[0].numpy().reshape(*w.shape[:-1], 1)
    return np.concatenate([w, w**2, energy / temperature], -1)


def law(temperature: float) -> tuple[np.ndarray, Tensor]:
    """Exact moments on the sphere, and walkers drawn from the law."""
    points, area = grid()
    weight = area * np.exp(-moments(points, temperature)[:, 6])
    weight /= weight.sum()
    chosen = np.random.default_rng(3).choice(len(points), size=WALKERS, p=weight)
    return weight @ moments(points, temperature), torch.from_numpy(points[chosen])


HALF = 0.5
EXACT, START = law(HALF)


def on_the_sphere(kind: type[Trajectories], kept: float = 1.0) -> Found:
    """Steps so large that a third of the trajectories is rejected."""
    return run(tilted, START, UNEQUAL, 0.6, 100, 4, temperature=HALF, kept=kept, kind=kind)


@pytest.mark.parametrize("kept", [1.0, 0.9, 0.5])
def test_unequal_masses_and_steps_that_are_often_rejected_keep_the_law_on_the_sphere(kept: float) -> None:
    """The identity beside it: a trajectory and its reverse are an involution that keeps volume, on those that have a
    way back; so <exp(-ΔH/T)> over them is their share."""
    found = on_the_sphere(Trajectories, kept)
    assert z_of(moments(found.position, HALF), EXACT) < LIMIT
    assert 0.6 < found.acceptance.mean() < 0.75
    assert z_of(found.factor - found.reversible, 0.0) < 3


@pytest.mark.parametrize("kept", [1.0, 0.9])
@pytest.mark.parametrize("kind", [Untested, ForceAlone, Twice])
def test_what_is_wrong_in_the_metropolis_test_or_the_fixman_potential_fails(
    kind: type[Trajectories], kept: float
) -> None:
    assert z_of(moments(on_the_sphere(kind, kept).position, HALF), EXACT) > 2 * LIMIT


def test_the_heat_of_refreshments_is_no_error() -> None:
    """ΔH over the whole trajectory, refreshments included, is not what the test may see."""
    found = on_the_sphere(CountsRefreshment, 0.9)
    assert z_of(moments(found.position, HALF), EXACT) > 2 * LIMIT
    assert z_of(found.factor - found.reversible, 0.0) > LIMIT


def test_momenta_out_of_the_tangent_space_fail() -> None:
    assert z_of(moments(on_the_sphere(NotTangent).position, HALF), EXACT) > 2 * LIMIT


def flat(w: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros(len(w), 1, dtype=F64), torch.zeros_like(w)


@pytest.mark.parametrize(("fixman", "kind"), [(True, Trajectories), (False, Trajectories), (True, Twice)])
def test_unequal_masses_need_the_fixman_potential(fixman: bool, kind: type[Trajectories]) -> None:
    """Masses 1 : 10 : 100 and U = 0: mean squares 1/3 each; without it those of sqrt(w·w/M)."""
    start = torch.randn(WALKERS, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    start /= start.norm(dim=1, keepdim=True)
    mass = torch.tensor([1.0, 10.0, 100.0], dtype=F64)
    squares = run(flat, start, mass, 0.2, 60, 12, fixman=fixman, kind=kind).position ** 2
    if fixman and kind is Trajectories:
        assert z_of(squares, 1 / 3) < LIMIT
        return
    assert z_of(squares, 1 / 3) > 2 * LIMIT
    if kind is Trajectories:
        points, area = grid()
        weight = area * np.sqrt(points**2 @ (1 / mass.numpy()))
        assert z_of(squares[20:], weight @ points**2 / weight.sum()) < LIMIT  # the start was in another law


@pytest.mark.parametrize("dimension", [3, 20])
@pytest.mark.parametrize("kind", [Trajectories, Untested])
def test_a_linear_energy_gives_the_von_mises_fisher_mean(dimension: int, kind: type[Trajectories]) -> None:
    """<w·e> is the Bessel ratio I_{n/2}(k) / I_{n/2-1}(k), for e along no axis, at a third of rejections."""
    concentration = 3.0
    direction = torch.arange(1, dimension + 1, dtype=F64) * (-1.0) ** torch.arange(dimension)
    direction /= direction.norm()

    def energy_gradient(w: Tensor) -> tuple[Tensor, Tensor]:
        return -concentration * (w @ direction).unsqueeze(1), (-concentration * direction).expand_as(w)

    start = torch.randn(WALKERS, dimension, dtype=F64, generator=torch.Generator().manual_seed(2))
    start /= start.norm(dim=1, keepdim=True)
    mass = torch.linspace(1.0, 6.0, dimension, dtype=F64)
    h = {3: 0.38, 20: 0.25}[dimension]
    found = run(energy_gradient, start, mass, h, 100, 5, kind=kind)
    along = (found.position[30:] @ direction.numpy())[..., None]
    expected = special.ive(dimension / 2, concentration) / special.ive(dimension / 2 - 1, concentration)
    np.testing.assert_allclose((found.position**2).sum(2), 1.0, rtol=1e-12)
    if kind is Trajectories:
        assert z_of(along, expected) < LIMIT
        assert 0.6 < found.acceptance[30:].mean() < 0.75
    else:
        assert z_of(along, expected) > 2 * LIMIT


def on_the_circle(
    kind: type[Trajectories], mass: tuple[float, float] = (1.0, 7.0), h: float = 0.7
) -> tuple[float, float]:
    """A network of two weights that fits three numbers: largest |z| of moments by quadrature; share of rejections."""
    x, y = torch.tensor([-1.0, 0.4, 2.0], dtype=F64), torch.tensor([0.9, -0.3, 0.5], dtype=F64)

    def energy_gradient(w: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(2.0 * w[:, :1] * x)
        away = w[:, 1:] * hidden - y
        slopes = (away * w[:, 1:] * (1 - hidden**2) * 2.0 * x, away * hidden)
        return 0.5 * (away**2).sum(1, keepdim=True), torch.stack([slope.sum(1) for slope in slopes], 1)

    angle = (np.arange(4_000) + 0.5) * 2 * np.pi / 4_000
    points = np.stack([np.cos(angle), np.sin(angle)], 1)
    temperature = 0.3
    energy = energy_gradient(torch.from_numpy(points))[0].numpy()
    weight = np.exp(-energy[:, 0] / temperature)
    weight /= weight.sum()
    start = torch.from_numpy(points[np.random.default_rng(4).choice(len(points), size=WALKERS, p=weight)])
    found = run(energy_gradient, start, torch.tensor(mass, dtype=F64), h, 100, 4, temperature=temperature, kept=0.8,
                kind=kind)  # fmt: skip

    def observed(w: np.ndarray, energy: np.ndarray) -> np.ndarray:
        return np.concatenate([w, w[..., :1] ** 2, w[..., :1] * w[..., 1:], energy], -1)

    energies = energy_gradient(torch.from_numpy(found.position.reshape(-1, 2)))[0].numpy().reshape(100, WALKERS, 1)
    return z_of(observed(found.position, energies), weight @ observed(points, energy)), 1 - found.acceptance.mean()


def test_two_weights_on_a_circle_have_the_law_of_quadrature() -> None:
    z, rejected = on_the_circle(Trajectories)
    assert z < LIMIT
    assert 0.15 < rejected < 0.5


@pytest.mark.parametrize("kind", [Untested, CountsRefreshment, ForceAlone, Twice])
def test_two_weights_under_a_wrong_kernel_do_not(kind: type[Trajectories]) -> None:
    assert on_the_circle(kind)[0] > 2 * LIMIT


def returned(kind: type[Trajectories], h: float) -> tuple[np.ndarray, np.ndarray]:
    """Which drifts of size h end on the sphere, and how far from where it began the reverse of such a drift ends."""
    stream = torch.Generator().manual_seed(5)
    w = torch.randn(20_000, 3, dtype=F64, generator=stream)
    w /= w.norm(dim=1, keepdim=True)
    column = torch.ones(len(w), 1, dtype=F64)
    mass = torch.exp(3.0 * torch.randn(w.shape, dtype=F64, generator=stream))
    kernel = kind(column, mass, flat, lambda like: torch.randn(like.shape, dtype=F64, generator=stream), column, False)
    before = kernel.start(kernel.init(w))
    there = kernel._drift(before, h * column)
    back = kernel._drift(replace(there, momentum=-there.momentum), h * column)
    arrived = there.position.isfinite().all(1)
    assert kind is NotTangent or (there.reversible.squeeze(1) == arrived).all()
    away = (back.position - w).norm(dim=1).nan_to_num(nan=1.0)
    return arrived.numpy(), away[arrived].numpy()


def test_a_drift_that_ends_on_the_sphere_has_a_way_back_however_long_it_is() -> None:
    """Masses differ by factors of thousands. That is why no trajectory is asked whether its projections can be undone:
    those along the tangent always can, others often cannot."""
    for h in (0.01, 0.1, 1.0, 10.0):
        arrived, away = returned(Trajectories, h)
        assert arrived.mean() > 0.003
        assert away.max() < 1e-6
    assert arrived.mean() < 0.5
    assert (returned(NotTangent, 0.1)[1] > 1e-3).mean() > 0.01


@pytest.mark.parametrize("sums", [torch.float64, torch.float32])
def test_small_temperatures_need_energies_in_double_precision(sums: torch.dtype) -> None:
    """U = 1000 + T u(w) at T = 2e-5: numbers of single precision near 1000 are 3 T apart."""
    temperature = 2e-5

    def energy_gradient(w: Tensor) -> tuple[Tensor, Tensor]:
        u, gradient = tilted(w)
        return (1_000.0 + temperature / HALF * u).to(sums).double(), temperature / HALF * gradient

    found = run(energy_gradient, START, temperature / HALF * UNEQUAL, 0.6, 100, 4, temperature=temperature)
    z = z_of(moments(found.position, HALF), EXACT)
    assert z < LIMIT if sums is torch.float64 else z > 2 * LIMIT


def mean_energy(h: float, kind: type[Trajectories] = Trajectories) -> tuple[np.ndarray, float]:
    """<U> (walker,) of a real network of 43 parameters, in single precision, and the mean acceptance."""
    task = KSpin(KSpinConfig(task="kspin", spins=6, classes=3, train=40, val=5, test=5), Feedforward(6, [4], 3))
    stream = np.random.default_rng(2)
    start = torch.from_numpy(np.stack([task.initial(stream) for _ in range(60)])).float()
    start *= (12.0 / dot(start, start)).sqrt().float()
    none, mass = Regulariser(0.0, 0.0, start), torch.linspace(1.0, 5.0, task.layout.size)
    found = run(lambda w: full_gradient(task, none, w), start, mass, h, 120, 5, 12.0, 0.03, 0.9, kind=kind)
    energies = [task.evaluate(torch.from_numpy(w), "train")[0] for w in found.position[40::2]]
    return np.mean(energies, axis=0), float(found.acceptance.mean())


def test_the_mean_energy_of_a_network_does_not_depend_on_the_step() -> None:
    def z(one: np.ndarray, other: np.ndarray) -> float:
        error = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / len(one))
        return float(abs(one.mean() - other.mean()) / error)

    (whole, accepted), (half, more), (untested, _) = mean_energy(2.6), mean_energy(1.3), mean_energy(2.6, Untested)
    assert accepted < 0.4 < 0.7 < more
    assert z(whole, half) < 3
    assert z(untested, half) > 2 * LIMIT


@pytest.mark.parametrize("kind", [Trajectories, Untested])
def test_harmonic_variances_without_the_sphere(kind: type[Trajectories]) -> None:
    """Unequal frequencies, a centre, steps of which a fifth is refused."""
    curvature, centre = torch.tensor([1.0, 12.0], dtype=F64), torch.tensor([0.3, -2.0], dtype=F64)

    def energy_gradient(w: Tensor) -> tuple[Tensor, Tensor]:
        away = w - centre
        return 0.5 * (curvature * away**2).sum(1, keepdim=True), curvature * away

    start = torch.zeros(WALKERS, 2, dtype=F64)
    mass = torch.tensor([1.0, 3.0], dtype=F64)
    found = run(energy_gradient, start, mass, 0.75, 80, 5, norm2=None, kept=0.8, kind=kind)
    standard = (found.position[30:] - centre.numpy()) * curvature.sqrt().numpy()
    z = max(z_of(standard, 0.0), z_of(standard**2, 1.0))
    assert z < LIMIT if kind is Trajectories else z > 2 * LIMIT

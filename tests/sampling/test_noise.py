"""Variance of the mini-batch gradient, masses and white noise: docs/method/noise.md, docs/method/pseudo-langevin.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from protmpi.models.layout import Layout
from protmpi.sampling.burn_in.masses import fresh_masses, layer_means, new_masses, settled_masses
from protmpi.sampling.kernels import pseudo_langevin
from protmpi.sampling.kernels.noise import (
    Thermostat,
    collective_excess,
    estimate_variance,
    masses,
    noise_samples,
    noise_share,
    white_noise,
)
from protmpi.sampling.kernels.sphere import multiplier, project_momentum
from protmpi.sampling.sections import SamplerConfig
from protmpi.sampling.walkers.schedule import Schedule

LAYOUT = Layout([("a", (3,)), ("b", (2, 2))])
RHO = torch.full((2, 1), 0.01, dtype=torch.float64)


def thermostat(scheme: str, walkers: int = 2) -> Thermostat:
    return Thermostat(torch.linspace(1e-4, 3e-4, walkers, dtype=torch.float64).unsqueeze(1), 0.1, 1.0, scheme)


def positive(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.1


def variance_of_momentum(scheme: str, rho: float, correction: bool = True) -> Tensor:
    """Stationary Var(Pi)/(M T) that the amplitudes of a scheme give, from the linear recursion of the half kicks."""
    t = thermostat(scheme)
    s2 = positive(2, 7)
    mass = masses(s2, rho, t)
    first, second = white_noise(s2, mass, t if correction else thermostat("double"))
    v, c1 = s2 / 4.0, t.c1
    mini_batch = (1 + c1**2) ** 2 * v if scheme == "single" else (1 + c1**2) * v
    per_step = mini_batch + c1**2 * second**2 + first**2
    if scheme == "double":  # after the first kick: one mini-batch of this step, one of the step before, kept by c1
        per_step = v + c1**2 * (c1**2 * v) + c1**2 * second**2 + first**2
    return per_step / ((1 - c1**4) * mass * t.temperature)


@pytest.mark.parametrize("scheme", ["double", "single"])
@pytest.mark.parametrize("rho", [1e-8, 0.05, 0.3])
def test_white_noise_and_mini_batch_together_keep_the_momenta_at_temperature(scheme: str, rho: float) -> None:
    torch.testing.assert_close(variance_of_momentum(scheme, rho), torch.ones(2, 7, dtype=torch.float64))


def test_the_single_scheme_needs_its_correction() -> None:
    assert (variance_of_momentum("single", 0.3, correction=False) > 1.05).all()


def test_rho_is_the_share_that_masses_were_made_for() -> None:
    t, s2 = thermostat("double"), positive(2, 7)
    torch.testing.assert_close(noise_share(s2, masses(s2, 0.02, t), t), torch.full((2, 7), 0.02, dtype=torch.float64))


def test_white_noise_follows_a_new_variance() -> None:
    """An earlier code kept k when s² changed."""
    t, s2 = thermostat("double"), positive(2, 7)
    mass = masses(s2, 0.1, t)
    before, _ = white_noise(s2, mass, t)
    after, _ = white_noise(2 * s2, mass, t)
    torch.testing.assert_close(after**2, before**2 - s2 / 4.0)


class Samples:
    """Gradients with given mean and standard deviation, one stream per walker."""

    def __init__(self, mean: float, deviation: Tensor, dtype: torch.dtype) -> None:
        self.mean, self.deviation, self.dtype = mean, deviation, dtype
        self.streams = [torch.Generator().manual_seed(100 + row) for row in range(len(deviation))]
        self.drawn = [0] * len(deviation)

    def __call__(self, rows: Sequence[int]) -> Tensor:
        for row in rows:
            self.drawn[row] += 1
        noise = [torch.randn(self.deviation.shape[1], generator=self.streams[row], dtype=torch.float64) for row in rows]
        return (self.mean + torch.stack(noise) * self.deviation[list(rows)]).to(self.dtype)


def test_variance_does_not_cancel_in_float32() -> None:
    """Mean 1000 standard deviations from zero: E[g²] - E[g]² in float32 has no digit left."""
    deviation = torch.full((1, 50), 1e-3, dtype=torch.float64)
    sample = Samples(1.0, deviation, torch.float32)
    found = estimate_variance(sample, torch.zeros(1, 50), 400, 400, 0.1, 1e-12)
    assert abs(float(found.mean()) / 1e-6 - 1.0) < 0.05
    gradients = torch.cat([Samples(1.0, deviation, torch.float32)([0]) for _ in range(2)] * 200)
    naive = (gradients**2).mean(0) - gradients.mean(0) ** 2
    assert abs(float(naive.mean()) / 1e-6 - 1.0) > 0.05


def test_each_walker_stops_extracting_on_its_own() -> None:
    """A walker draws as many mini-batches as it needs, whoever else is in its block."""
    deviation = positive(3, 40)
    together = Samples(0.0, deviation, torch.float64)
    found = estimate_variance(together, torch.zeros(3, 40, dtype=torch.float64), 50, 2_000, 0.05, 1e-12)
    assert len(set(together.drawn)) > 1
    assert max(together.drawn) < 2_000
    alone = Samples(0.0, deviation, torch.float64)
    row = alone.streams[1]

    def one(rows: Sequence[int]) -> Tensor:
        noise = torch.randn(40, generator=row, dtype=torch.float64)
        return (noise * deviation[1]).unsqueeze(0)

    by_itself = estimate_variance(one, torch.zeros(1, 40, dtype=torch.float64), 50, 2_000, 0.05, 1e-12)
    torch.testing.assert_close(by_itself[0], found[1], rtol=0, atol=0)


def correlated(share: float) -> Callable[[Sequence[int]], Tensor]:
    """Gradients of 40 parameters whose noise has the correlation `share` between any two of them."""
    stream = torch.Generator().manual_seed(9)

    def sample(rows: Sequence[int]) -> Tensor:
        own = torch.randn(len(rows), 40, generator=stream, dtype=torch.float64)
        common = torch.randn(len(rows), 1, generator=stream, dtype=torch.float64)
        return 3.0 + torch.linspace(0.1, 5.0, 40) * ((1 - share) ** 0.5 * own + share**0.5 * common)

    return sample


@pytest.mark.parametrize("scheme", ["double", "single"])
@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_heat_of_correlated_noise_is_the_closed_form(scheme: str, share: float, spread: float) -> None:
    """r c² ((sum rho_i)² - sum rho_i²)/sum rho_i for equal correlations c and any shares rho_i of the noise.

    `spread`: shares over two decades, as masses of another time give them. The excess for their mean is then wrong.
    """
    t = thermostat(scheme, walkers=3)
    variance = (torch.linspace(0.1, 5.0, 40, dtype=torch.float64) ** 2).expand(3, -1)
    shares = 1e-3 * torch.logspace(0.0, spread, 40, dtype=torch.float64)
    mass, sample = masses(variance, shares, t), correlated(share)
    found = torch.stack([collective_excess(noise_samples(sample, range(3)), variance, mass, t) for _ in range(100)])

    def expected(rho: Tensor) -> float:
        repeated = 1.0 if scheme == "double" else 2.0 * (1.0 - t.m1**2)
        return float(repeated * share**2 * (rho.sum() ** 2 - rho.square().sum()) / rho.sum())

    assert ((found.mean(0) - expected(shares)).abs() < 4 * found.std(0) / 10).all()
    assert (found.std(0) / 10 < 0.1 * shares.sum()).all()  # sharp enough to tell
    if spread and share:
        uniform = torch.full_like(shares, float(shares.median()))
        assert ((found.mean(0) - expected(uniform)).abs() > 5 * found.std(0) / 10).all()


def normal_momenta(rho: float, share: float, scheme: str, white_alone: bool = False) -> Tensor:
    """p/sqrt(M T) (2000, 40) in the stationary state of `correlated` noise; the common direction is (1 … 1)."""
    t = Thermostat(torch.ones(1, 1, dtype=torch.float64), 0.3, 1.0, scheme, white_alone)
    mass = torch.full((2_000, 40), 1e4, dtype=torch.float64)
    variance = noise_share(torch.ones_like(mass), mass, t)
    variance = rho / variance  # s² for which the mini-batch supplies the share rho
    stream, sample = torch.Generator().manual_seed(4), correlated(share)
    deviation = torch.linspace(0.1, 5.0, 40, dtype=torch.float64)

    def gradient(w: Tensor) -> Tensor:
        return (sample(range(len(w))) - 3.0) / deviation * variance.sqrt()

    kernel = pseudo_langevin.build(
        t, gradient, lambda like: torch.randn(like.shape, generator=stream, dtype=like.dtype)
    )
    state = kernel.init(torch.zeros_like(mass), mass, variance)
    for _ in range(60):
        state = kernel.step(state)
    return state.momentum / mass.sqrt()


def collective_heat(rho: float, share: float, scheme: str) -> tuple[float, float, float]:
    """Kinetic temperatures: over all parameters, along the common direction, and its standard error."""
    q = normal_momenta(rho, share, scheme)
    along = q.sum(1) ** 2 / 40
    return float((q**2).mean()), float(along.mean()), float(along.std() / 2_000**0.5)


@pytest.mark.parametrize("scheme", ["double", "single"])
def test_correlated_noise_heats_its_own_direction_and_no_trace_shows_it(scheme: str) -> None:
    """Along the common direction the eigenvalue of R is 1 + c (P - 1) = 20.5: the excess is 19.5 rho (r)."""
    trace, along, error = collective_heat(0.02, 0.5, scheme)
    expected = 1 + 19.5 * 0.02 * (1.0 if scheme == "double" else 2 * (1 - 0.3**2))
    assert abs(trace - 1.0) < 0.02
    assert abs(along - expected) < 4 * error
    _, independent, error = collective_heat(0.02, 0.0, scheme)
    assert abs(independent - 1.0) < 4 * error


@pytest.mark.parametrize("scheme", ["double", "single"])
def test_white_noise_alone_keeps_directions_without_noise_at_temperature(scheme: str) -> None:
    """All noise is along (1 … 1). White noise that makes room for it leaves the other directions cold by rho (r)."""
    repeated = 1.0 if scheme == "double" else 2 * (1 - 0.3**2)

    def across(white_alone: bool) -> tuple[float, float]:
        q = normal_momenta(0.1, 1.0, scheme, white_alone)
        cold = (q**2).sum(1) - q.sum(1) ** 2 / 40
        return float(cold.mean()) / 39, float(cold.std()) / 39 / 2_000**0.5

    (alone, error), (completed, _) = across(True), across(False)
    assert abs(alone - 1.0) < 4 * error
    assert abs(completed - (1 - 0.1 * repeated)) < 4 * error
    assert completed < 1 - 10 * error
    along = normal_momenta(0.1, 1.0, scheme, white_alone=True).sum(1) ** 2 / 40
    assert abs(float(along.mean()) - (1 + 40 * 0.1 * repeated)) < 4 * float(along.std()) / 2_000**0.5


def test_variance_is_floored() -> None:
    found = estimate_variance(lambda rows: torch.zeros(1, 4), torch.zeros(1, 4), 10, 20, 0.1, 1e-8)
    torch.testing.assert_close(found, torch.full((1, 4), 1e-8))


def test_masses_grow_only_where_rho_passes_its_maximum() -> None:
    t = thermostat("double")
    config = SamplerConfig(rho=0.01, rho_max=0.1, mass_floor=0.0)
    s2 = positive(2, 7)
    mass = masses(s2, 0.01, t)
    jumped = s2.clone()
    jumped[0, 3] *= 50.0
    fresh = fresh_masses(jumped, RHO, t, config, LAYOUT)
    grown, redrawn = new_masses(mass, fresh, jumped, t, config.rho_max, [False, False])
    expected = torch.zeros(2, 7, dtype=torch.bool)
    expected[0, 3] = True
    assert torch.equal(redrawn, expected)
    torch.testing.assert_close(grown[~expected], mass[~expected])
    torch.testing.assert_close(noise_share(jumped, grown, t)[0, 3], torch.tensor(0.1, dtype=torch.float64))


def test_a_reset_gives_every_parameter_its_rho_again() -> None:
    t, config, s2 = thermostat("double"), SamplerConfig(rho=0.01, rho_max=0.1, mass_floor=0.0), positive(2, 7)
    fresh = fresh_masses(3 * s2, RHO, t, config, LAYOUT)
    new, redrawn = new_masses(masses(s2, 0.05, t), fresh, 3 * s2, t, config.rho_max, [True, False])
    torch.testing.assert_close(noise_share(3 * s2, new, t)[0], torch.full((7,), 0.01, dtype=torch.float64))
    assert redrawn[0].all()


def test_settled_masses_only_grow() -> None:
    """Over estimates of s² that go up and down by factors of a hundred, no share ever passes rho."""
    t, config = thermostat("double"), SamplerConfig(rho=0.01, mass_floor=0.0)
    mass = masses(0.01 * positive(2, 7), 0.01, t)
    estimates = [positive(2, 7, seed=seed) * 10.0 ** (seed % 3 - 1) for seed in range(6)]
    for s2 in estimates:
        grown, redrawn = settled_masses(mass, fresh_masses(s2, RHO, t, config, LAYOUT))
        assert torch.equal(redrawn, grown > mass)
        assert (grown >= mass).all()
        mass = grown
    for s2 in estimates:
        assert (noise_share(s2, mass, t) <= 0.01 * (1 + 1e-12)).all()
    assert torch.stack([noise_share(s2, mass, t) for s2 in estimates]).amax(0).min() > 0.005


def test_interval_grows_with_the_streak_and_falls_back() -> None:
    config = SamplerConfig(min_adj_step=100, max_adj_step=250)
    schedule = Schedule.start(1, config)
    due = []
    for agreed in (True, True, True, False):
        schedule.advance(0, agreed, int(schedule.due[0]), config)
        due.append(int(schedule.due[0]))
    assert np.diff([100, *due]).tolist() == [200, 250, 250, 100]


def test_layer_means_are_constant_on_each_array() -> None:
    s2 = positive(2, 7)
    means = layer_means(s2, LAYOUT)
    torch.testing.assert_close(means[:, :3], s2[:, :3].mean(1, keepdim=True).expand(-1, 3))
    torch.testing.assert_close(means[:, 3:], s2[:, 3:].mean(1, keepdim=True).expand(-1, 4))


def test_projection_removes_the_normal_momentum() -> None:
    """An earlier code had the wrong sign (w·p/M doubled instead of vanishing)."""
    w, mass, p = positive(2, 7), positive(2, 7, seed=2), positive(2, 7, seed=3) - 0.6
    before = (w * p / mass).sum(1)
    after = (w * project_momentum(p, w, w / mass) / mass).sum(1)
    assert before.abs().min() > 1e-2
    assert after.abs().max() < 1e-12
    twice = p + w * ((w / mass) * p).sum(1, keepdim=True) / ((w / mass) * w).sum(1, keepdim=True)
    torch.testing.assert_close((w * twice / mass).sum(1), 2 * before)


def test_projection_layer_by_layer_is_another_one() -> None:
    """An earlier code projected each layer with the total norm; the multiplier is one for all parameters."""
    w, mass, p = positive(2, 7), positive(2, 7, seed=2), positive(2, 7, seed=3) - 0.6
    a = w / mass
    whole = project_momentum(p, w, a)
    layers = torch.cat([
        p[:, e.slice] - w[:, e.slice] * (a * p)[:, e.slice].sum(1, keepdim=True) / (a * w).sum(1, keepdim=True)
        for e in LAYOUT.entries
    ], dim=1)  # fmt: skip
    assert (a * whole).sum(1).abs().max() < 1e-12 < (a * layers).sum(1).abs().min()


def test_noise_of_a_batch_that_serves_twice() -> None:
    """2 c1² with c1² = 1 - m1² = 0.64: neither 2 c1 = 1.6 nor 2 nor 1."""
    temperature = torch.ones(1, 1, dtype=torch.float64)
    assert Thermostat(temperature, 0.6, 1.0, "single").repeated == pytest.approx(1.28)
    assert Thermostat(temperature, 0.6, 1.0, "double").repeated == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_multiplier_is_the_small_root_without_cancellation(dtype: torch.dtype) -> None:
    """Steps of relative size 1e-5: the textbook root (-S1 + sqrt(S1² - S3 (S2 - Q)))/S3 has few digits left."""
    w, mass = positive(2, 7).to(dtype), positive(2, 7, seed=2).to(dtype)
    norm2 = (w.double() ** 2).sum(1, keepdim=True)
    moved = w * (1 + 1e-5)
    mu = multiplier(moved, w / mass, norm2).to(dtype)
    back = (moved + mu * w / mass).double()
    assert ((back**2).sum(1, keepdim=True) / norm2 - 1).abs().max() < (1e-7 if dtype == torch.float32 else 1e-14)


def test_multiplier_is_the_small_root_where_the_step_points_away() -> None:
    """S1 = w~·a is negative where a step crosses the sphere. The root of small magnitude then has the other sign."""
    direction = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    moved = torch.tensor([[-1.2, 0.5], [1.2, 0.5]], dtype=torch.float64)
    mu = multiplier(moved, direction, torch.full((2, 1), 1.25, dtype=torch.float64))
    torch.testing.assert_close(mu.flatten(), torch.tensor([0.2, -0.2], dtype=torch.float64))  # the other roots: ±2.2


def test_out_of_reach_is_nan_and_only_there() -> None:
    """An earlier code ended the run by an assertion."""
    w = positive(2, 7)
    norm2 = (w**2).sum(1, keepdim=True)
    unconstrained = w.clone()
    unconstrained[0] = torch.tensor([100.0, -100.0, 0, 0, 0, 0, 0])
    mu = multiplier(unconstrained, w, norm2)
    assert torch.isnan(mu[0])
    assert torch.isfinite(mu[1])

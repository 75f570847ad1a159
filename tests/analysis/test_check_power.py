"""False alarms of healthy pages and misses of wrong ones, against what the pages themselves claim."""

from __future__ import annotations

import numpy as np
from synthetic import ar1

from analysis.statistics.significance import ALARM, Mean
from analysis.subjects.checks.check import Check, Question, judged

PAGES, NUMBERS, DRAWS, PHI = 500, 24, 400, 0.5


def pages(shift: float) -> list[list[Check]]:
    """Pages of `NUMBERS` means of two correlated chains each, which should be 1. One of them is off by `shift`."""
    rng = np.random.default_rng(81)
    chains = 1.0 + 0.05 * ar1(PHI, (PAGES, NUMBERS, 2, DRAWS), rng)
    chains[:, 7] += shift
    return [judged([asked(number, row) for number, row in enumerate(page)]) for page in chains]


def asked(number: int, chains: np.ndarray, matters: float = 0.03) -> Question:
    mean = Mean.of(chains)
    check = Check("number", float(number), "", mean.value, 1.0, mean.sem, mean.z(1.0))
    return Question(check, mean.resolution, matters, 1.0, "mend it")


def test_a_healthy_page_rarely_fails() -> None:
    alarms = [any(check.verdict == "fail" for check in page) for page in pages(0.0)]
    assert np.mean(alarms) < ALARM + 3.0 * (ALARM / PAGES) ** 0.5
    alone = [check.z for page in pages(0.0) for check in page]
    assert np.mean(np.abs(alone) > 1.96) > 0.02, "one number at a time would raise an alarm on most pages"


def test_a_page_finds_what_it_claims_to_see() -> None:
    """A deviation of what a check says it sees is found in half of the pages, of 1.5 times that in nearly all."""
    claimed = float(np.mean([page[7].sees for page in pages(0.0)]))
    found = {size: np.mean([page[7].verdict == "fail" for page in pages(size * claimed)]) for size in (0.3, 1.0, 1.5)}
    assert found[0.3] < 0.1
    assert 0.35 < found[1.0] < 0.7
    assert found[1.5] > 0.9
    others = [check.verdict for page in pages(claimed) for check in page if check.temperature != 7.0]
    assert others.count("fail") < 2 * ALARM * PAGES


def test_a_check_that_cannot_see_what_matters_is_weak() -> None:
    rng = np.random.default_rng(82)
    chains = 1.0 + 0.05 * ar1(PHI, (2, 2, DRAWS), rng)
    fine, coarse = judged([asked(0, chains[0], matters=0.03), asked(1, chains[1], matters=0.003)])
    assert (fine.verdict, coarse.verdict) == ("pass", "weak")
    assert 0.003 < coarse.sees < 0.03


def test_a_deviation_that_does_no_harm_does_not_fail() -> None:
    chains = 1.02 + 0.01 * ar1(PHI, (2, DRAWS), np.random.default_rng(83))
    (bad,) = judged([asked(0, chains)])
    (harmless,) = judged([asked(0, chains)._replace(harmful=False)])
    assert (bad.verdict, harmless.verdict) == ("fail", "pass")
    assert bad.advice == "mend it"

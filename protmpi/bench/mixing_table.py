"""`protmpi bench mixing`: its numbers as a table on the terminal and in Markdown.

A cost from fewer than 20 effective samples is a bound: the total cost over 20, or over the number of walkers if that is
larger. Walkers that started apart are at least that many samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from analysis.show.cells import empty_table, exponent_form, exponent_plus_minus, number_or_dash, plus_minus
from protmpi.bench.correlation import FEW_SAMPLES

HEADS = ("sampler", "acceptance", "tau of U, passes", "per sample of U", "s", "per sample of the error", "s",
         "per e-fold of w", "s", "<U>", "agrees")  # fmt: skip
AGREES = 3.0  # standard errors
UNTUNED = 0.25  # farther from the target acceptance, the time step is off
LEGEND = (
    "per ...: sequence-gradients, training samples whose gradient was taken, for an effective sample of U, for one of "
    "the validation error, and for the overlap w·w' to fall to 1/e; s: seconds of this machine for it; a pass: all "
    f"training samples once. >: a bound, from fewer than {FEW_SAMPLES} effective samples or less than a tenth of an "
    "e-fold; <U> then has no error. ~: extrapolated from less than an e-fold. Agrees: <U> with that of the sampler "
    f"with most effective samples, within {AGREES:g} standard errors."
)  # fmt: skip


def title(result: dict[str, Any]) -> str:
    """Two sentences on the run, the machine and the time."""
    start = {"ES": "early-stopped weights", "random": "fresh weights"}.get(result["start"], "the ends of a store")
    where = result["device_name"] if result["device"] == "cuda" else result["processor"]
    return (
        f"{result['network']}, {result['train_size']:,} training samples, {where}, {result['threads']} thread, torch "
        f"{result['torch']}. {result['walkers']} walkers: {result['burn_in']:,} passes of burn-in from {start}, then "
        f"of each sampler at least {result['tuning']:,} to tune itself and about {result['passes']:,} measured."
    )


def cells(row: dict[str, Any], verdict: str) -> list[str]:
    """The line of a row, in the order of HEADS."""
    acceptance = number_or_dash(row["acceptance"], ".2f") if row["acceptance"] is not None else "-"
    if "energy" not in row:
        return [row["sampler"], acceptance, *["-"] * (len(HEADS) - 3), verdict]
    seconds = row["seconds_per_sample"]
    passes = row["samples_per_draw"] / row["train_size"]
    u, error, efold = row["energy"], row["error"], row["efold"]
    tau = plus_minus(u["time"] * passes, u["time_error"] * passes) if u["known"] else _bound(_least(u) * passes)
    mark = {"measured": "", "extrapolated": "~", "bound": "> "}[efold["kind"]]
    costs = [text for series in (u, error) for text in _costs(series, row["samples_per_draw"], seconds)]
    fall = [mark + _short(efold["samples"]), mark + _plain(efold["samples"] * seconds)]
    energy = plus_minus(u["mean"], u["sem"]) if u["known"] else f"{u['mean']:.4g}"
    return [row["sampler"], acceptance, tau, *costs, *fall, energy, verdict]


def _least(series: dict[str, Any]) -> float:
    """A lower bound of the autocorrelation time, in draws."""
    return float(series["draws"]) / max(FEW_SAMPLES, series["effective"])


def _costs(series: dict[str, Any], each: float, seconds: float) -> list[str]:
    """Sequence-gradients and seconds of an effective sample. `each` is the number of sequence-gradients of a draw."""
    if not series["known"]:
        return [_bound(_least(series) * each), f"> {_plain(_least(series) * each * seconds)}"]
    cost, error = series["time"] * each, series["time_error"] * each
    return [exponent_plus_minus(cost, error), plus_minus(cost * seconds, error * seconds)]


def _bound(x: float) -> str:
    return f"> {_short(x)}"


def _short(x: float) -> str:
    """Two digits, as a power of ten if the number is large."""
    return exponent_form(float(f"{x:.2g}")) if x >= 1e4 else _plain(x)


def _plain(x: float) -> str:
    return f"{float(f'{x:.2g}'):,.0f}" if x >= 10 else f"{x:.2g}"


def verdicts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Whether <U> of each row of one temperature agrees with <U> of the row with most effective samples."""
    known = [row for row in rows if "energy" in row and row["energy"]["known"]]
    best = max(known, key=lambda row: row["energy"]["effective"], default=None)
    return [_verdict(row, best) for row in rows]


def _verdict(row: dict[str, Any], best: dict[str, Any] | None) -> str:
    accepted = math.nan if row["acceptance"] is None else row["acceptance"]
    untuned = abs(accepted - row["wanted"]) > UNTUNED
    flaws = [f"{row['lost']} lost" if row["lost"] else "", "time step off" if untuned else ""]
    if "energy" not in row or not row["energy"]["known"]:
        return ", ".join(filter(None, ["too short", *flaws]))
    assert best is not None
    u, other = row["energy"], best["energy"]
    z = 0.0 if row is best else (u["mean"] - other["mean"]) / math.hypot(u["sem"], other["sem"])
    said = "is compared with" if row is best else f"yes, z = {z:+.1f}" if abs(z) < AGREES else f"NO, z = {z:+.1f}"
    drifts = "drifts" if abs(row["drift"] or 0.0) > AGREES else ""
    return ", ".join(filter(None, [said, drifts, *flaws]))


def by_temperature(result: dict[str, Any]) -> list[tuple[float, list[list[str]]]]:
    """Temperature and lines of cells, one temperature after the other."""
    found = []
    for temperature in dict.fromkeys(row["temperature"] for row in result["rows"]):
        rows = [{**row, "train_size": result["train_size"]} for row in result["rows"]
                if row["temperature"] == temperature]  # fmt: skip
        found.append((temperature, [cells(*both) for both in zip(rows, verdicts(rows), strict=True)]))
    return found


def show(result: dict[str, Any]) -> None:
    """The tables on the terminal."""
    from protmpi.terminal import terminal

    console = terminal(180)
    console.print(title(result), soft_wrap=True)
    for temperature, lines in by_temperature(result):
        table = empty_table()
        table.add_column(f"T = {exponent_form(temperature)}", no_wrap=True)
        for head in HEADS[1:]:
            table.add_column(head, justify="right")
        for line in lines:
            table.add_row(*line)
        console.print(table)
    console.print(LEGEND)


def markdown(result: dict[str, Any]) -> str:
    """The same as one table with a column for the temperature."""
    heads = ("T", *HEADS)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for temperature, rows in by_temperature(result):
        lines += [f"| {' | '.join([exponent_form(temperature), *row])} |" for row in rows]
    return "\n".join([title(result), "", *lines])

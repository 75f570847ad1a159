"""What a report holds: for each run its tables, figures and numbers, subject by subject; then several runs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import check_tables, tables
from analysis.contacts import Options
from analysis.run import different_spheres
from analysis.thermodynamics import shown_slot
from protmpi.errors import ProtmpiError, StoreError

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure
    from rich.table import Table

    from analysis.check import Check
    from analysis.run import Run


@dataclass
class Subject:
    """One part of a report. `name` begins the names of its files."""

    name: str
    title: str
    figures: dict[str, tuple[Figure, str]] = field(default_factory=dict)
    """Name -> figure and caption."""
    tables: list[tuple[str, Table]] = field(default_factory=list)
    """Caption and table."""
    remarks: list[str] = field(default_factory=list)
    numbers: dict[str, xarray.Dataset] = field(default_factory=dict)
    """Name -> everything that is drawn."""


@dataclass
class RunReport:
    """All subjects of one run."""

    run: Run
    label: str
    data: xarray.Dataset
    """Its thermodynamics."""
    checks: Sequence[Check]
    subjects: list[Subject]
    attention: xarray.Dataset | None


def report_of(run: Run, label: str, options: Options) -> RunReport:
    """Everything that a store allows: energies and checks always, weights and attention where it has snapshots."""
    from analysis.checks import checks

    data = run.thermodynamics()
    found = checks(run, data)
    subjects = [*_network(run), _thermodynamics(run, data), _self_checks(found)]
    attention = None
    if "parameters" in run.store.variables and run.store.snapshots:
        subjects += _weights(run, data)
    if "attention" in run.store.variables and run.store.snapshots:
        attention = run.attention(options)
        subjects.append(_attention(attention, data))
    if "pair_attention" in run.store.variables and run.store.snapshots:
        subjects.append(_distance(run))
    if "attention_profile" in run.store.variables and run.store.snapshots:
        subjects += _structures(run, data)
    return RunReport(run, label, data, found, subjects, attention)


def labels_of(runs: Sequence[Run]) -> list[str]:
    """A name for each run that no other has: its network, else its network and its store."""
    names = [str(run.store.config.get("model", {}).get("name", "run")) for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({run.store.path.stem})"
        for name, run in zip(names, runs, strict=True)
    ]


def _network(run: Run) -> Iterator[Subject]:
    from analysis.figures.diagram import arrays_drawn, diagram_figure

    model, layout = run.store.config.get("model", {}), run.store.attributes.get("parameter_layout", [])
    drawn = arrays_drawn(model.get("kind", ""))
    if drawn and drawn <= {entry["name"] for entry in layout}:
        caption = (
            "Arrays and numbers of parameters under each box; beside the arrows, how many values a site has; +: added."
        )
        yield Subject("network", "Network", {"network": (diagram_figure(model, layout), caption)})


def _thermodynamics(run: Run, data: xarray.Dataset) -> Subject:
    from analysis.figures.thermodynamics import energy_traces_figure, thermodynamics_figure

    return Subject(
        "thermodynamics",
        "Thermodynamics",
        {
            "thermodynamics": (
                thermodynamics_figure(run, data),
                "(a) mean loss, (b) heat capacity from fluctuations and from the slope of the mean loss, dashed, where "
                "both have the same maximum: T* with its error, (c) errors, (d) thermostat; at the side the "
                "early-stopped (ES) and over-trained (OT) weights, bars: their spread.",
            ),
            "energy_traces": (
                energy_traces_figure(run, data),
                "Loss of every walker; pale: burn-in and the draws after it that are not counted.",
            ),
        },
        [("Observables against temperature.", table) for table in tables.temperature_tables(data)],
        tables.remarks(run, data),
    )


def _self_checks(found: Sequence[Check]) -> Subject:
    return Subject("checks", "Self-checks", tables=[("Numbers whose right value is known.",
                   check_tables.checks_table(found))], remarks=check_tables.checks_remarks(found))  # fmt: skip


def _weights(run: Run, data: xarray.Dataset) -> Iterator[Subject]:
    from analysis.figures import weights
    from analysis.weight_tables import gains_remarks, gains_table, overlaps_table

    slot = shown_slot(data)
    at = tables.shown_temperature(data, slot)
    overlaps = run.overlaps()
    yield Subject(
        "overlaps",
        "Overlaps of sampled weights",
        {
            "overlaps": (
                weights.overlaps_figure(overlaps, slot),
                f"Overlap q = w·w'/(|w||w'|) between snapshots: (a-c) distributions at {at}, (d) mean against T, "
                "(e) decay in time.",
            ),
            "overlaps_layers": (weights.layers_figure(overlaps, slot), f"Distributions of q, array by array, at {at}."),
        },
        [("Mean overlap of all parameters.", overlaps_table(overlaps))],
        numbers={
            "overlaps": overlaps[["q", "q_std"]],
            "overlap_histograms": _some(overlaps, "pairs", slot),
            "overlap_decay": overlaps[["decay"]],
        },
    )
    try:
        gains = run.gains()
    except StoreError:  # a network without layer norms
        return
    yield Subject(
        "gains",
        "Embedding dimension",
        {
            "gains": (
                weights.gains_figure(gains, slot),
                f"Gains of the layer norms of the last block, sampled at {at}, and of the reference weights; last "
                "panel: elements outside of a peak at zero.",
            )
        },
        [("Elements of each layer norm that remain.", gains_table(gains))],
        gains_remarks(gains),
        {
            "gains": gains[["remaining", "bimodality", "threshold"]],
            "gains_reference": gains[["reference_remaining", "reference_bimodality"]],
            "gain_histograms": gains[["histogram"]],
            "gain_histograms_reference": gains[["reference_histogram"]],
        },
    )


def _some(data: xarray.Dataset, name: str, slot: int) -> xarray.Dataset:
    """Histograms at one temperature, bins without any pair left out."""
    found = data[[name]].isel(temperature=[slot])
    return found.isel(q_bin=found[name].values.any(axis=(0, 1, 2)))


def _attention(data: xarray.Dataset, thermodynamics: xarray.Dataset) -> Subject:
    from analysis.figures import contacts
    from analysis.weight_tables import contacts_remarks, contacts_table

    slot = shown_slot(thermodynamics)
    subject = Subject("attention", "Attention and contacts")
    at = tables.shown_temperature(thermodynamics, slot)
    caption = (
        f"Mean attention between sites at {at}, symmetrised (below the diagonal), and native contacts (above); last "
        "row, where the best block differs: the map of each walker's best block, named in the title walker by walker."
    )
    subject.figures["attention"] = contacts.maps_figure(data, slot), caption
    subject.numbers["attention"] = data[["map"]].isel(temperature=[slot])
    subject.numbers["self_averaging"] = data[["self_averaging", "between"]]
    if "contact_map" not in data:
        subject.remarks.append("The store knows no contact map: no precision.")
        return subject
    caption = (
        "(a) P@L and (b) tolerant P'@L of the attention maps, (c) classes of separation (short 6-11, medium 12-23, "
        "long from 24 sites), (d) how alike maps of single snapshots are. Dotted: random scores. Best: each walker, "
        "and each set of reference weights, has its own best block."
    )
    subject.figures["contacts"] = contacts.contacts_figure(data), caption
    subject.tables.append(("Contact precision.", contacts_table(data)))
    subject.remarks += contacts_remarks(data)
    subject.numbers["best_block"] = data[["best_block"]]
    subject.numbers["precision"] = data[["precision", "precision_of_mean", "chance"]]
    subject.numbers["tolerant_precision"] = data[["tolerant_precision", "tolerant_chance"]]
    subject.numbers["range_precision"] = data[["range_precision", "range_chance"]]
    for name in ("best_block", "precision", "tolerant_precision", "range_precision"):
        if f"reference_{name}" in data:
            subject.numbers[f"{name}_reference"] = data[[f"reference_{name}"]]
    return subject


def _distance(run: Run) -> Subject:
    from analysis.figures.distance import distance_figure
    from analysis.weight_tables import distance_remarks, distance_table

    data = run.distance()
    return Subject(
        "distance",
        "Attention and distance",
        {
            "distance": (
                distance_figure(data),
                "(a) mean attention against distance, dashed: the attention to learn; of the Gaussian a exp(-(r/s)²) "
                "fitted to single snapshots (b) the width s, (c) the amplitude a, (d) what it leaves over; at the side "
                "the reference weights.",
            )
        },
        [("The Gaussian that attention follows.", distance_table(data))],
        distance_remarks(data),
        {
            "distance": data[["amplitude", "width", "residual"]],
            "distance_curves": data[["curve"]],
            **({"distance_reference": data[["reference_amplitude", "reference_width", "reference_residual"]]}
               if "weights" in data.coords else {}),
        },
    )  # fmt: skip


def _structures(run: Run, thermodynamics: xarray.Dataset) -> Iterator[Subject]:
    from analysis import structure_tables as texts
    from analysis.figures.structures import profiles_figure, residues_figure
    from analysis.structures import profiles, residues

    slot = shown_slot(thermodynamics)
    found = residues(run)
    at = tables.shown_temperature(thermodynamics, slot)
    caption = f"Masked test residues: all of them against T, and by the true amino acid at {at}; ES, OT: weights."
    yield Subject(
        "residues",
        "Perplexity and recovery",
        {"residues": (residues_figure(found, slot), caption)},
        [("By the true amino acid.", texts.residues_table(found, slot))],
        texts.residues_remarks(found),
        {"residues": found[["perplexity", "recovery"]]},
    )
    found = profiles(run)
    caption = (
        "Attention against Cα distance, mean over heads, at every temperature, and width and amplitude of the Gaussian "
        "a exp(-(r/s)²) fitted to single snapshots against T. Dotted: even attention."
    )
    yield Subject(
        "profiles",
        "Attention and distance",
        {"profiles": (profiles_figure(found), caption)},
        [("The Gaussian of each block.", texts.profiles_table(found))],
        texts.profiles_remarks(),
        {"profiles": found[["amplitude", "width"]], "profile_curves": found[["profile"]]},
    )


def together(reports: Sequence[RunReport]) -> Subject:
    """Several networks in one figure each for thermodynamics and contacts."""
    from analysis.figures import networks

    found = [
        networks.Network(
            r.label, r.run, r.data, r.attention if r.attention is not None and "precision" in r.attention else None
        )
        for r in reports
    ]
    without = [r.label for r in reports if r.data["no_t_star"].item()]
    scale = f"against T, for there is no T* of {', '.join(without)}" if without else "against T/T*"
    subject = Subject("networks", "Networks together", remarks=different_spheres([(r.label, r.run) for r in reports]))
    subject.remarks += [f"{r.label}: {tables.t_star_remark(r.data)}" for r in reports]
    subject.figures["networks"] = (
        networks.thermodynamics_figure(found),
        f"(a) mean loss, (b) specific heat from d⟨U⟩/dT, (c) validation and (d) test error {scale}; at the side ES "
        "and OT.",
    )
    if any(n.attention is not None for n in found):
        subject.figures["networks_contacts"] = (
            networks.contacts_figure(found),
            f"Contact precision of the best block of each walker {scale}. Dotted: random scores.",
        )
    subject.tables.append(("T* of each network.", tables.peaks_table([(r.label, r.data) for r in reports])))
    return subject


def write_report(reports: Sequence[RunReport], folder: Path) -> list[Path]:
    """Write index.html, and beside it every figure (PNG, PDF) and every number (CSV); returns their paths.

    Files of one run lie in `folder`, those of several in a folder each. Raises ProtmpiError when it cannot be made.
    """
    from analysis.page import page

    several = len(reports) > 1
    shared = together(reports) if several else None
    html = page(reports, shared)
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for report in reports:
            own = folder / report.label.replace(" ", "-") if several else folder
            own.mkdir(exist_ok=True)
            paths += _write_run(report, own)
        if shared:
            paths += _write_figures(shared, folder)
        paths.append(folder / "index.html")
        paths[-1].write_text(html, encoding="utf-8")
    except OSError as error:
        raise ProtmpiError(f"{folder}: no report can be written here: {error.strerror}") from None
    return paths


def _write_run(report: RunReport, folder: Path) -> list[Path]:
    paths = [folder / "thermodynamics.csv", folder / "checks.csv"]
    tables.write_csv(report.data, paths[0])
    check_tables.write_checks_csv(report.checks, paths[1])
    for subject in report.subjects:
        for name, numbers in subject.numbers.items():
            paths.append(folder / f"{name}.csv")
            tables.write_long_csv(numbers, paths[-1])
        paths += _write_figures(subject, folder)
    return paths


def _write_figures(subject: Subject, folder: Path) -> list[Path]:
    from analysis.figures.style import write_figures

    return write_figures({name: figure for name, (figure, _) in subject.figures.items()}, folder)

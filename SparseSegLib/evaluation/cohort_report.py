"""A cohort's scores for people and for programs: the table of PROMISE12, all rows as CSV, a box plot."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from SparseSegLib.evaluation.cohort import MEASURES, CaseScores, LabelSummary, Spread, cell_text, plain_name
from SparseSegLib.evaluation.units import LENGTHS, number_text, suitable_unit
from SparseSegLib.extras import require_packages
from SparseSegLib.files import atomic_path

PROMISE12 = (
    ("dice", "Dice", ".3f"),
    ("hausdorff95", "HD95", ".2f"),
    ("average_surface_distance", "ABD", ".2f"),
    ("relative_volume_difference", "RVD %", ".1f"),
)
"""The four measures of the PROMISE12 challenge: Dice, 95th percentile of the Hausdorff distance, average distance of
the boundaries, relative difference of the volumes (Litjens et al. 2014)."""

DISTANCES = ("hausdorff95", "average_surface_distance")


def promise12_table(summary: Sequence[LabelSummary]) -> str:
    """Mean ± standard deviation of the four measures, a line per label, as Markdown; and the range of the Dice.

    A mean over fewer cases than the Dice, as of distances where nothing was found, is given with their number: (n=…).
    """
    unit, factor = _length_unit(summary)
    head = ["label", "cases", *(_titled(key, title, unit) for key, title, _ in PROMISE12), "Dice median", "lowest"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for row in summary:
        dice = row.measures["dice"]
        cells = [row.name, str(dice.count)]
        for key, _, form in PROMISE12:
            cells.append(_mean(row.measures[key], form, dice.count, factor if key in DISTANCES else 1.0))
        lines.append("| " + " | ".join([*cells, number_text(dice.median, ".3f"), number_text(dice.low, ".3f")]) + " |")
    return "\n".join(lines)


def worst_cases(summary: Sequence[LabelSummary]) -> str:
    """A line per label: the cases with the lowest Dice."""
    return "\n".join(
        f"lowest Dice of {row.name}: " + ", ".join(f"{name} {dice:.3f}" for dice, name in row.worst) for row in summary
    )


def summary_as_dict(summary: Sequence[LabelSummary]) -> list[dict[str, Any]]:
    """Plain values for JSON; what is not a number becomes None."""
    return [
        {
            "label": row.label,
            "name": row.name,
            "measures": {key: {k: _plain(v) for k, v in asdict(one).items()} for key, one in row.measures.items()},
            "worst": [{"case": name, "dice": dice} for dice, name in row.worst],
        }
        for row in summary
    ]


def write_scores(cases: Sequence[CaseScores], path: Path) -> None:
    """Write a CSV file with a row per case and label; distances in mm, volumes in ml, what is no number is empty."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "label", "name", *MEASURES])
        for case in cases:
            for row in case.labels:
                values = (_plain(getattr(row, key)) for key in MEASURES)
                cells = ("" if value is None else value for value in values)
                writer.writerow([cell_text(case.name), row.label, cell_text(row.name), *cells])


def draw_box_plot(cases: Sequence[CaseScores], summary: Sequence[LabelSummary], path: Path) -> None:
    """Draw a box per label for each of the four measures, every case a dot; DependencyError without matplotlib."""
    require_packages("plot", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    unit, factor = _length_unit(summary)
    figure = Figure(figsize=((1.2 + 0.7 * len(summary)) * len(PROMISE12), 4), layout="constrained")
    FigureCanvasAgg(figure)
    places = range(len(summary))
    for axes, (key, title, _) in zip(figure.subplots(1, len(PROMISE12)), PROMISE12, strict=True):
        for place, row in zip(places, summary, strict=True):
            same = [one for case in cases for one in case.labels if plain_name(one.name) == plain_name(row.name)]
            scale = factor if key in DISTANCES else 1.0
            values = [scale * value for one in same if math.isfinite(value := getattr(one, key))]
            if values:
                axes.boxplot(values, positions=[place], widths=0.5, showfliers=False, manage_ticks=False)
                axes.plot([place] * len(values), values, "o", markersize=3, alpha=0.35, color="#1f77b4")
        axes.set_xticks(list(places), [row.name for row in summary], rotation=30, ha="right")
        axes.set_title(_titled(key, title, unit), fontsize=10)
        axes.grid(axis="y", alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _length_unit(summary: Sequence[LabelSummary]) -> tuple[str, float]:
    """The unit of all distances of a cohort, and how many of it a millimeter has."""
    return suitable_unit((row.measures[key].high for row in summary for key in DISTANCES), LENGTHS)


def _titled(key: str, title: str, unit: str) -> str:
    return f"{title} {unit}" if key in DISTANCES else title


def _mean(spread: Spread, form: str, cases: int, factor: float) -> str:
    deviation = "" if math.isnan(spread.deviation) else f" ± {number_text(factor * spread.deviation, form)}"
    fewer = "" if spread.count == cases else f" (n={spread.count})"
    return number_text(factor * spread.mean, form) + deviation + fewer


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""By how much SparseSeg is ahead of the best of its peers, in IoU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean, stdev

from Benchmarks.peers import PEERS
from Benchmarks.shared.rows import Row

OWN = "SparseSeg"
FEW_SLICES = 5  # (2,2,1) has so many; below that a volume counts for the mean only

Place = tuple[str, str]
"""A volume and an annotation of it."""


@dataclass(frozen=True)
class Margin:
    """A difference of mean IoUs, over seeds.

    Attributes
    ----------
    value : mean over the seeds
    spread : standard deviation over the seeds; None for a single seed
    """

    value: float
    spread: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Margin:
        """From one value per seed."""
        values = list(values)
        return cls(mean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{self.value:+.3f}" + ("" if self.spread is None else f" ± {self.spread:.3f}")


@dataclass(frozen=True)
class Comparison:
    """SparseSeg with a budget of seconds, against the best peer on each volume and annotation.

    Attributes
    ----------
    seconds : SparseSeg's budget, and that of the networks
    places : the margin on each volume and annotation
    mean : over all of them; its spread is that of the mean over places, from seed to seed
    seeds : how many seeds were run at the places: fewest and most
    """

    seconds: float
    places: dict[Place, Margin]
    mean: Margin
    seeds: tuple[int, int]

    def worst(self, *, few_slices: bool = True) -> tuple[Place, Margin] | None:
        """Where it is furthest behind; without ``few_slices`` only at (2,2,1) and more annotated slices."""
        found = [place for place in self.places if few_slices or count_slices(place[1]) >= FEW_SLICES]
        if not found:
            return None
        place = min(found, key=lambda place: self.places[place].value)
        return place, self.places[place]


def compare(rows: list[Row], seconds: float, *, programs: bool) -> Comparison | None:
    """Compare at one budget with the classical methods, or with the other programs of ``PEERS`` too.

    A network counts with the same budget, and every method with its mean over its seeds. Only places where SparseSeg
    and such a method (with ``programs``: at least one program) were measured count; None if there is none.
    """
    own: dict[Place, dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row["method"] == OWN and row["budget_seconds"] == seconds:
            own[_place(row)][row["seed"]] = row["iou"]
    best = best_peers(rows, seconds, programs=programs)
    margins = {
        place: {seed: value - best[place] for seed, value in found.items()}
        for place, found in own.items()
        if place in best
    }
    if not margins:
        return None
    common = set.intersection(*(set(found) for found in margins.values()))
    by_seed = [mean(found[seed] for found in margins.values()) for seed in sorted(common)]
    places = {place: Margin.of(found.values()) for place, found in margins.items()}
    overall = mean(margin.value for margin in places.values())
    counts = [len(found) for found in margins.values()]
    spread = stdev(by_seed) if len(by_seed) > 1 else None
    return Comparison(seconds, places, Margin(overall, spread), (min(counts), max(counts)))


def best_peers(rows: list[Row], seconds: float, *, programs: bool) -> dict[Place, float]:
    """The best method's IoU (mean over its seeds) at each place; see :func:`compare`."""
    found: dict[Place, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        counts = programs if row["method"] in PEERS else not row["budget_seconds"]
        if counts and row["budget_seconds"] in (0, seconds):
            found[_place(row)][row["method"]].append(row["iou"])
    return {
        place: max(mean(values) for values in methods.values())
        for place, methods in found.items()
        if not programs or set(methods) & set(PEERS)
    }


def count_slices(budget: str) -> float:
    """How many slices an annotation has; every so many are always enough."""
    return float("inf") if budget.startswith("every") else sum(map(int, budget.split(",")))


def _place(row: Row) -> Place:
    return row["volume"], row["budget"]

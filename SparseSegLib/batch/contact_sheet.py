"""Contact sheets: a row of slices per case, to look through many results quickly."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from SparseSegLib.batch.manifest import Entry
from SparseSegLib.batch.thumbnails import picture_path
from SparseSegLib.extras import require_packages
from SparseSegLib.files import atomic_path
from SparseSegLib.text import plain_text
from SparseSegLib.units import volume_text

ROWS = 16  # a page
PAGE = re.compile(r"contact-sheet(-\d{3,})?\.png")
INK = "#e8e6e3"
PAPER = "#14161a"
TROUBLE = "#ff8a7a"


def write_contact_sheets(entries: Sequence[Entry], folder: Path) -> list[Path]:
    """Write ``contact-sheet.png``, or ``contact-sheet-001.png`` and so on for more cases than a page holds.

    One page at a time is in memory. A case that failed has a row with its error. Pages of an earlier run go.

    Raises DependencyError if matplotlib is not installed.
    """
    require_packages("plot", "matplotlib")
    for old in [path for path in folder.iterdir() if PAGE.fullmatch(path.name)]:
        old.unlink()
    written = []
    for path, page in _pages(entries, folder):
        _draw(page, folder, path)
        written.append(path)
    return written


def _pages(entries: Sequence[Entry], folder: Path) -> Iterator[tuple[Path, Sequence[Entry]]]:
    if 0 < len(entries) <= ROWS:
        yield folder / "contact-sheet.png", entries
        return
    for number, start in enumerate(range(0, len(entries), ROWS), start=1):
        yield folder / f"contact-sheet-{number:03}.png", entries[start : start + ROWS]


def _draw(entries: Sequence[Entry], folder: Path, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    figure = Figure(figsize=(11, 1.5 * len(entries)), facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, entry in zip(figure.subplots(len(entries), 1, squeeze=False)[:, 0], entries, strict=True):
        axes.set_axis_off()
        color = TROUBLE if "error" in entry else INK
        axes.set_title(plain_text(_caption(entry)), color=color, fontsize=8, loc="left", pad=3, parse_math=False)
        picture = picture_path(folder, entry["name"])
        if "error" not in entry and picture.is_file():
            axes.imshow(imread(picture), interpolation="lanczos")
            axes.set_anchor("W")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, facecolor=PAPER)
    figure.clear()
    del axes, figure
    gc.collect()  # its parts are reference cycles: pages would pile up until Python cleans up by itself


def _caption(entry: Entry) -> str:
    if "error" in entry:
        return f"{entry['name']}: {entry['error']}"
    return f"{entry['name']}   " + ", ".join(f"{name} {volume_text(ml)}" for name, ml in entry["volume_ml"].items())

"""Progress of long computations as a bar: of a notebook there, of a terminal elsewhere."""

from __future__ import annotations

from typing import Any

from SparseSegLib.control import Control, NullEvents
from SparseSegLib.extras import require_packages


class ProgressBar(NullEvents):
    """Shows the events of a computation as a bar of tqdm.

    Parameters
    ----------
    bar : the bar, of a total of 1
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def progress(
        self, step: int, fraction: float, loss: float | None, seconds_left: float | None, **figures: float
    ) -> None:
        """Move the bar to the fraction; it ends with the work."""
        self._bar.n = min(1.0, max(0.0, fraction))
        self._bar.set_postfix({} if loss is None else {"loss": f"{loss:.3f}"})
        if fraction >= 1:
            self._bar.close()

    def message(self, text: str) -> None:
        """Write it above the bar."""
        self._bar.write(text)


def progress_bar(**options: Any) -> Control:
    """Return a control that shows the progress of one computation as a bar.

    ``options`` are those of :class:`tqdm.tqdm`, such as ``file`` or ``desc``. Raises DependencyError if tqdm is not
    installed.

    Example
    -------
    >>> result = densify(image, labels, control=progress_bar())
    """
    require_packages("notebook", "tqdm")
    from tqdm.auto import tqdm

    form = "{l_bar}{bar}| {elapsed}{postfix}"
    return Control(events=ProgressBar(tqdm(**{"total": 1.0, "bar_format": form, **options})))

"""What shows a session: the panel, or the effect of the Segment Editor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from SparseSegModule.densifyWork import DenseResult


class Face:
    """Is told what has changed in a session; each method may be overridden."""

    def onChosen(self) -> None:
        """The user's choices have changed, and with them anything may have."""

    def onAnnotated(self) -> None:
        """The annotated slices have changed."""

    def onNamed(self) -> None:
        """Segments may have other names."""

    def onState(self) -> None:
        """What can be done has changed: it learns or not, there is a prediction, a result, a next slice or not."""

    def onProgress(self, event: dict[str, Any] | None) -> None:
        """What is said of the learning has changed; ``event`` is the worker's, if it comes from there."""

    def onBegun(self) -> None:
        """A round has begun."""

    def onResult(self, result: DenseResult) -> None:
        """A round has ended with a result."""

    def onClosed(self) -> None:
        """The session has ended: the module is loaded again, or Slicer quits."""

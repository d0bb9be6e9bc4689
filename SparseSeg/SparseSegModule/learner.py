"""The worker of one drawing: prepared ahead, kept from round to round, and started again if it dies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import Canceled
from SparseSegModule.annotation import Drawing
from SparseSegModule.densifier import roundSettings
from SparseSegModule.jobHandle import JobHandle, Listener
from SparseSegModule.segments import classSegmentIds
from SparseSegModule.volumes import ImageState

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

STAY_SECONDS = 1800.0
"""A worker that nothing is asked of for so long ends."""


@dataclass(frozen=True)
class Learning:
    """What is learned, and how; a worker stays as long as what is learned stays the same.

    Attributes
    ----------
    images : the volume, and further channels
    segmentationNode : what is drawn on it
    budgetSeconds, settings : of ``densifier.roundSettings``; a round that begins takes them over
    output : which nodes the result becomes
    """

    images: tuple[vtkMRMLScalarVolumeNode, ...]
    segmentationNode: vtkMRMLSegmentationNode
    budgetSeconds: float | None = field(compare=False)
    settings: dict[str, Any] = field(compare=False)
    output: str = field(compare=False)
    segmentIds: list[str] = field(init=False)
    states: list[ImageState] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segmentIds", classSegmentIds(self.segmentationNode))
        object.__setattr__(self, "states", [ImageState.of(node, self.images[0]) for node in self.images])


class Learner(Listener):
    """Keeps a worker for the drawing that is chosen.

    Parameters
    ----------
    logic : SparseSegLogic
    listener : receives the events of every worker

    Attributes
    ----------
    handle : JobHandle or None
    """

    def __init__(self, logic: Any, listener: Listener) -> None:
        self.handle: JobHandle | None = None
        self._logic = logic
        self._listener = listener
        self._learning: Learning | None = None
        self._again: Callable[[], None] | None = None  # starts the round once more, if the worker dies in it

    @property
    def learns(self) -> bool:
        """Whether a round is under way."""
        return self.handle is not None and self.handle.learning

    @property
    def isForNothing(self) -> bool:
        """Whether what the worker is for has left the scene."""
        known = self._learning
        nodes = (*known.images, known.segmentationNode) if known is not None else ()
        return self.handle is not None and any(node.GetScene() is None for node in nodes)

    def prepare(self, learning: Learning, options: dict[str, Any]) -> None:
        """Start a worker that reads and prepares, unless there is one already; ``options`` as for :meth:`learn`."""
        if self.handle is None:
            self._start(learning, prepare=True, **options)

    def learn(self, learning: Learning, drawing: Drawing, look: Sequence[Plane], options: dict[str, Any]) -> bool:
        """Begin a round, or have the one that runs learn from this drawing, too.

        Parameters
        ----------
        learning : what is learned; another worker is started where the one that runs is for something else
        drawing : what is drawn
        look : slices on display, to be predicted first
        options : further arguments of ``SparseSegLogic.densify`` where a worker is started

        Returns
        -------
        False if the worker cannot take it yet: try again.
        """

        def start() -> None:
            self._start(learning, **options, drawing=drawing)
            self.look(look)

        if self.handle is not None and learning == self._learning:
            self._again = start
            work = self.handle.work
            self.look(look)
            if not self.handle.learning:
                work.change(roundSettings(learning.budgetSeconds, **learning.settings), learning.output)
            return self.handle.updateAnnotation(lambda folder: work.writeUpdate(folder, drawing), work.settings)
        self.abandon()
        start()
        self._again = start
        return True

    def look(self, planes: Sequence[Plane]) -> None:
        """Say which slices are on display now: the next preview begins with them."""
        if self.handle is not None:
            self.handle.look(planes)

    def abandon(self) -> None:
        """End the worker at once, without events."""
        if self.handle is not None:
            self.handle.abandon()
            self.handle = None
        self._again = None

    def _start(self, learning: Learning, **options: Any) -> None:
        first, *channels = learning.images
        self._learning = learning
        self.handle = self._logic.densify(
            first,
            learning.segmentationNode,
            learning.budgetSeconds,
            channels=channels,
            **learning.settings,
            output=learning.output,
            **options,
            stay=STAY_SECONDS,
            listener=self,
            wait=False,
        )

    def onProgress(self, event: dict[str, Any]) -> None:
        self._listener.onProgress(event)

    def onMessage(self, text: str) -> None:
        self._listener.onMessage(text)

    def onRound(self, handle: JobHandle) -> None:
        self._again = None
        self._listener.onRound(handle)

    def onEnded(self, handle: JobHandle) -> None:
        again, self._again = self._again, None
        self.handle = None
        if handle.error is not None and handle.died and again is not None:
            self._listener.onMessage(_("The worker ended unexpectedly, and was started again."))
            again()
            return
        quiet = handle.error is None or isinstance(handle.error, Canceled)
        if handle.waited and not quiet:  # it died while nothing was asked of it: the next round starts another one
            self._listener.onMessage(_("The worker ended while it waited; the next round starts another one."))
            return
        self._listener.onEnded(handle)

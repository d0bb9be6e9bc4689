"""The learning of the drawing that is chosen, round by round, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import Canceled, SparseSegError
from SparseSegLib.image import Geometry
from SparseSegLib.protocol import MOST_PLANES
from SparseSegLib.units import volume_text
from SparseSegModule.densifier import regionSetting
from SparseSegModule.densifyWork import DenseResult
from SparseSegModule.jobHandle import JobHandle, Listener
from SparseSegModule.learner import Learner, Learning
from SparseSegModule.parameterNode import chosenChannels
from SparseSegModule.translation import errorText
from SparseSegModule.views import shownPlane, sliceNodes

if TYPE_CHECKING:
    from SparseSegModule.session import Session

UPDATE_MILLISECONDS = 150


class Rounds(Listener):
    """Begins rounds, has them learn from what is drawn meanwhile, and shows what they bring.

    Attributes
    ----------
    learner : Learner
    text : what is said of the learning now
    percent : how much of the round is done
    details : of the last step
    """

    def __init__(self, session: Session) -> None:
        self.learner = Learner(session.logic, self)
        self.text = self.details = ""
        self.percent = 0
        self._session = session
        self._message = ""
        self._sent = -1  # the annotation's revision that the worker has
        self._looked: list[Plane] = []  # the slices on display that it knows of
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(UPDATE_MILLISECONDS)
        self._timer.connect("timeout()", self._onTimer)

    @property
    def learns(self) -> bool:
        """Whether a round is under way."""
        return self.learner.learns

    @property
    def handle(self) -> JobHandle | None:
        """The worker's handle while it learns, or None."""
        return self.learner.handle if self.learns else None

    def refresh(self) -> None:
        """Follow the parameter node: nothing is learned from nodes that are gone, and a loaded scene has its result."""
        if self.learner.isForNothing:
            self.learner.abandon()
        if self._session.parameterNode is None:
            self.say("")
        loop = self._session.loop
        if loop is None or self.learns:
            return
        result = self._session.view.adopt(loop.volumeNode, loop.segmentationNode)
        if result is not None:
            self._session.suggest(result.nextSlice)
            self.say(summary(result))

    def stop(self) -> None:
        """End the worker at once."""
        self._timer.stop()
        self.learner.abandon()

    def begin(self) -> None:
        """Begin a round, or have the one that runs learn from what is drawn now; SparseSegError if that cannot be."""
        session, loop = self._session, self._session.loop
        drawing = loop.drawing()
        running = self.handle
        self._looked = self._shown()
        if not self.learner.learn(self._learning(inRegion=True), drawing, self._looked, self._options()):
            self._timer.start()  # the worker is not ready yet
            return
        self._sent = loop.revision
        if self.handle is not running:  # a new round, or another worker for other segments
            session.view.begin(loop.volumeNode, loop.segmentationNode)
            for face in list(session.faces):
                face.onBegun()
            self.say(_("Starting..."))
        session.tellState()

    def finish(self) -> None:
        """Stop and keep the result so far."""
        if self.handle is not None:
            self.handle.stop()
            self.say(_("Finishing with what there is..."))

    def cancel(self) -> None:
        """End the learning; nothing of this round stays."""
        if self.handle is not None:
            self.handle.cancel()
            self.say(_("Canceling..."))

    def say(self, text: str) -> None:
        """Say something of the learning or its result."""
        self.text = text
        self._session.tellProgress()

    def annotationChanged(self) -> None:
        """Learn from what was drawn where that is wanted; have a worker ready with the first stroke."""
        loop, live = self._session.loop, self._session.parameterNode.live
        if loop.revision != self._sent and (self.learns or live):
            self._timer.start()
        elif loop.table.planes and not self._session.installation.missing.anything:
            self.learner.prepare(self._learning(), self._options())

    def _onTimer(self) -> None:
        if self._session.loop is None or self._session.installation.missing.anything:
            return
        try:
            self.begin()
        except SparseSegError as error:  # so far nothing can be learned from what is drawn
            self.onMessage(errorText(error))

    def _shown(self) -> list[Plane]:
        """The slices of the volume on display."""
        volumeNode = self._session.loop.volumeNode
        shown = [plane for view in sliceNodes() if (plane := shownPlane(view, volumeNode)) is not None]
        return shown[:MOST_PLANES]

    def _options(self) -> dict[str, Any]:
        """How a worker's previews and results are shown."""
        loop, view = self._session.loop, self._session.view
        return {"show": self._onPreview, "last": view.lastOn(loop.volumeNode, loop.segmentationNode)}

    def _learning(self, *, inRegion: bool = False) -> Learning:
        """What is learned, and how, as it is chosen; GeometryError for a region that cannot be found."""
        node = self._session.parameterNode
        images = (node.inputVolume, *chosenChannels(node))
        settings = {name: getattr(node, name) for name in ("preset", "margin", "seed", "device", "start")}
        settings["shown"] = self._session.view.annotationOn(node.inputVolume, node.segmentation)
        if inRegion and node.region is not None:
            settings["region"] = regionSetting(node.region, node.inputVolume)
        return Learning(images, node.segmentation, node.budgetSeconds or None, settings, node.output)

    def _onPreview(self, labels: np.ndarray, geometry: Geometry) -> None:
        self._session.view.showPreview(labels, geometry)

    def onProgress(self, event: dict[str, Any]) -> None:
        """Show how far the training is; say what is on display now, as far as it is another slice than before."""
        self.percent = round(100 * event["fraction"])
        loss = "" if event.get("loss") is None else round(event["loss"], 3)
        self.details = _("step {step}, loss {loss}").format(step=event["step"], loss=loss)
        parts = []
        if event.get("seconds_left") is not None:
            parts.append(_("{seconds} s left").format(seconds=round(event["seconds_left"])))
        if event.get("result_seconds") is not None:
            parts.append(_("{seconds} s of it for the result").format(seconds=round(event["result_seconds"])))
        if event.get("estimated_iou") is not None:
            parts.append(_("IoU about {iou} on held-out slices").format(iou=round(event["estimated_iou"], 2)))
        self.text = ", ".join(parts) + (f"\n{self._message}" if self._message else "")
        self._session.tellProgress(event)
        if self._session.loop is not None and (shown := self._shown()) != self._looked:
            self._looked = shown
            self.learner.look(shown)

    def onMessage(self, text: str) -> None:
        """Show a message of the worker."""
        self._message = text
        self.say(text)
        self._session.tellState()  # what cannot be learned from begins no round

    def onRound(self, handle: JobHandle) -> None:
        """Show the result of a round."""
        session, result = self._session, handle.result
        self._message = ""
        session.view.end(result)
        if result.segmentationNode is not None:
            session.parameterNode.shown = result.segmentationNode
        for face in list(session.faces):
            face.onResult(result)
        self.say(summary(result))
        session.suggest(result.nextSlice)

    def onEnded(self, handle: JobHandle) -> None:
        """The worker has ended, and not because all was done."""
        self._message = ""
        if handle.error is not None:
            self._session.view.removePreview()
            self.refresh()  # another frame may be shown by now, with a result of its own
            canceled = isinstance(handle.error, Canceled)
            self.say(_("Canceled.") if canceled else errorText(handle.error))
            if not canceled:
                slicer.util.errorDisplay(errorText(handle.error))
        self._session.tellState()


def summary(result: DenseResult) -> str:
    """A result in words: how long it took, how good it is, how large the structures are."""
    parts = [_("Done in {seconds} s.").format(seconds=round(result.seconds))]
    if result.estimatedIoU is not None:
        iou = result.estimatedIoU
        text = _("IoU about {iou} (Dice {dice}) on slices it had not seen.")
        parts.append(text.format(iou=round(iou, 2), dice=round(2 * iou / (1 + iou), 2)))
    sizes = [f"{name} {volume_text(milliliters)}" for name, milliliters in result.milliliters.items()]
    parts.append(", ".join(sizes))
    if result.reachesEdge:
        parts.append(_("It reaches the edge of the region that was worked on, and may go on beyond it."))
    if result.weights is None:
        parts.append(_("What was learned is too large to be saved with the scene."))
    return " ".join(parts)

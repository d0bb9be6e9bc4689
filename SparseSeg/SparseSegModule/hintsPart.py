"""Panel: three hints for the first use, one at a time, until there was a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from SparseSegModule.face import Face
from SparseSegModule.sampleData import SARCOMA, registerSampleData

if TYPE_CHECKING:
    from SparseSegModule.densifyWork import DenseResult

SEEN_SETTING = "SparseSeg/HintsSeen"


class HintsPart(Face):
    """Says what to do next, and loads the sample volume."""

    def __init__(self, panel) -> None:
        self.panel = panel
        self._seen = slicer.util.settingsValue(SEEN_SETTING, False, converter=slicer.util.toBool)
        panel.ui.sampleButton.connect("clicked()", self._onSample)
        panel.session.faces.append(self)

    def refresh(self) -> None:
        """Show the hint for what is to be done next; none once there was a result."""
        ui = self.panel.ui
        if self.panel.session.view.result is not None and not self._seen:
            self._seen = True
            slicer.app.userSettings().setValue(SEEN_SETTING, True)
        ui.hintFrame.visible = not self._seen
        ui.sampleButton.visible = self.panel.session.loop is None
        ui.hintLabel.text = self._hint()

    def onAnnotated(self) -> None:
        """The first slice is drawn."""
        self.refresh()

    def onResult(self, result: DenseResult) -> None:
        """There is a result."""
        self.refresh()

    def cleanup(self) -> None:
        """Nothing to let go of."""

    def _hint(self) -> str:
        if self.panel.session.loop is None:
            return _("<b>1</b>  Choose a volume, or load a sample.")
        if not self.panel.session.planes().planes:
            return _(
                "<b>2</b>  Outline the structure on one slice, with any tool; then on two or three more, of other"
                " orientations, too."
            )
        return _(
            "<b>3</b>  Press <b>Densify</b>. Where the result is wrong, correct it on any slice: the first stroke takes"
            " the whole slice over."
        )

    def _onSample(self) -> None:
        import SampleData

        with slicer.util.tryWithErrorDisplay(_("The sample could not be loaded."), waitCursor=True):
            registerSampleData()
            self.panel.parameterNode.inputVolume = SampleData.downloadSample(SARCOMA)

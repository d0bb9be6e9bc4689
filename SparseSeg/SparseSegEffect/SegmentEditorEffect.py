"""The effect SparseSeg: the loop of the module among the tools of a Segment Editor."""

from __future__ import annotations

import sys
from pathlib import Path

import qt
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

ICON = Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "SparseSeg.png"


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """What Slicer calls; all that is shown and done is in its face."""

    def __init__(self, scriptedEffect):
        scriptedEffect.name = "SparseSeg"  # not translated: modules find effects by their names
        scriptedEffect.title = _("SparseSeg")
        scriptedEffect.perSegment = False
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self._face = None

    def clone(self):
        """The effect in another Segment Editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        clonedEffect = effects.qSlicerSegmentEditorScriptedEffect(None)
        clonedEffect.setPythonSource(__file__.replace("\\", "/"))
        return clonedEffect

    def icon(self):
        """The module's."""
        return qt.QIcon(str(ICON))

    def helpText(self):
        """What the Segment Editor shows."""
        return "<html>" + _(
            "Segment a structure from a few slices: a network learns in the background, on this very image.<br>"
            "<b>Draw</b> with any tool on two to four slices, of different orientations, and press <b>Densify</b>."
            " Where the result is wrong, correct it on any slice with <b>Paint</b>, <b>Erase</b> or another tool: the"
            " first stroke takes the prediction over. <b>Confirm</b> the slice, and go on with the <b>Next slice</b>,"
            " until <b>Apply</b> takes the result over into the segmentation.<br>"
            "Locked segments stay as they are, and the masking below is kept."
        )

    def activate(self):
        """The user chose the effect: work on what is edited."""
        self._currentFace().choose()

    def deactivate(self):
        """Another tool is taken up: what is drawn with it is followed all the same."""
        if self._face is not None:
            self._face.leave()

    def sourceVolumeNodeChanged(self):
        """Another source volume was chosen."""
        if self.scriptedEffect.active():
            self._currentFace().choose()

    def cleanup(self):
        """The Segment Editor goes."""
        if self._face is not None:
            self._face.close()
            self._face = None

    def _currentFace(self):
        """The face of the module's session; another one after the module was loaded again."""
        session = sys.modules["SparseSeg"].SparseSegLogic.instance().session
        if self._face is None or self._face.session is not session:
            from SparseSegModule.effectFace import EffectFace

            self.cleanup()
            self._face = EffectFace(self.scriptedEffect, session)
        return self._face

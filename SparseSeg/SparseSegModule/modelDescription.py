"""The dialog for a model's name and for what its card says."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from SparseSegLib.models import ModelCard
from SparseSegLib.models.card import MODALITIES

WIDE, SENTENCES = 440, 64  # pixels of the dialog, and of a text's height


class DescriptionDialog(qt.QDialog):
    """Shows the texts of a card that a person writes, to be changed.

    Parameters
    ----------
    card : ModelCard
    """

    def __init__(self, card: ModelCard) -> None:
        qt.QDialog.__init__(self, slicer.util.mainWindow())
        self.setWindowTitle(_("Name and description"))
        self.resize(WIDE, 0)
        self._card = card
        form = qt.QFormLayout(self)
        self.nameEdit = qt.QLineEdit()
        self.summaryEdit, self.useEdit, self.dataEdit = edits = [qt.QPlainTextEdit() for _text in range(3)]
        for edit in edits:
            edit.setMaximumHeight(SENTENCES)
            edit.setTabChangesFocus(True)
        self.licenseEdit = qt.QLineEdit()
        self.modalitySelector = qt.QComboBox()
        self.modalitySelector.addItems([_("any"), *MODALITIES])
        self.modalitySelector.toolTip = _("What DICOM scans must be; others are refused before the work.")
        for label, widget in (
            (_("Name:"), self.nameEdit),
            (_("What it does:"), self.summaryEdit),
            (_("Meant for:"), self.useEdit),
            (_("Trained on:"), self.dataEdit),
            (_("License:"), self.licenseEdit),
            (_("Scans:"), self.modalitySelector),
        ):
            form.addRow(label, widget)
        self.nameEdit.text, self.licenseEdit.text = card.name, card.license
        for edit, text in zip(edits, (card.summary, card.intended_use, card.data), strict=True):
            edit.setPlainText(text)
        self.modalitySelector.setCurrentIndex(["", *MODALITIES].index(card.modality))
        buttons = qt.QDialogButtonBox()
        buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", self.accept)
        buttons.connect("rejected()", self.reject)
        form.addRow(buttons)

    def changed(self) -> dict[str, str]:
        """The texts that are others than the card's, by the names of its fields."""
        texts = {
            "name": self.nameEdit.text.strip(),
            "summary": self.summaryEdit.plainText.strip(),
            "intended_use": self.useEdit.plainText.strip(),
            "data": self.dataEdit.plainText.strip(),
            "license": self.licenseEdit.text.strip(),
            "modality": ["", *MODALITIES][self.modalitySelector.currentIndex],
        }
        return {field: text for field, text in texts.items() if text != getattr(self._card, field)}

"""The dialog that lists the patients of the DICOM database, to check those to run a model on."""

from __future__ import annotations

from collections.abc import Sequence

import qt
import slicer
from slicer.i18n import tr as _

from SparseSegModule.dicomPatients import Patient, Series

COLUMNS = 3


class PatientChooser(qt.QDialog):
    """A tree of patients, studies and series with check boxes.

    Series of another modality than the model's are left out.

    Parameters
    ----------
    patients : see ``dicomPatients.patients``
    modality : what the series must be; "" for anything
    """

    def __init__(self, patients: Sequence[Patient], modality: str) -> None:
        qt.QDialog.__init__(self, slicer.util.mainWindow())
        self.setWindowTitle(_("Patients of the DICOM database"))
        self.resize(560, 480)
        self._modality = modality
        self._rows: list[tuple[object, Series]] = []
        self._patientRows: list[tuple[object, Patient]] = []
        layout = qt.QVBoxLayout(self)
        self.searchEdit = qt.QLineEdit()
        self.searchEdit.placeholderText = _("Search for a name or an ID")
        self.searchEdit.connect("textChanged(QString)", self._onSearch)
        layout.addWidget(self.searchEdit)
        self.tree = qt.QTreeWidget()
        self.tree.setColumnCount(COLUMNS)
        self.tree.setHeaderLabels([_("Patient, study, series"), _("Modality"), _("Images")])
        layout.addWidget(self.tree)
        for patient in patients:
            self._addPatient(patient)
        self.tree.expandAll()
        if modality:
            text = _("The model is for {modality} scans: others are left out.").format(modality=modality)
            layout.addWidget(qt.QLabel(text))
        self.tree.header().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        self.tree.header().setStretchLastSection(False)
        self.tree.connect("itemChanged(QTreeWidgetItem*,int)", self._onChanged)
        self.buttons = qt.QDialogButtonBox()
        self.buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        self.buttons.connect("accepted()", self.accept)
        self.buttons.connect("rejected()", self.reject)
        layout.addWidget(self.buttons)
        self._onChanged()

    def chosen(self) -> list[Series]:
        """The series that are checked, as listed."""
        return [series for item, series in self._rows if item.checkState(0) == qt.Qt.Checked]

    def _addPatient(self, patient: Patient) -> None:
        title = patient.name if patient.identifier in ("", patient.name) else f"{patient.name} ({patient.identifier})"
        studies = [(study, [one for one in study.series if self._suits(one)]) for study in patient.studies]
        if not any(series for _study, series in studies):
            return
        top = self._addRow(self.tree, [title])
        self._patientRows.append((top, patient))
        for study, series in studies:
            if series:
                row = self._addRow(top, [" ".join(f"{study.date} {study.description}".split()) or _("study")])
                for one in series:
                    texts = [one.description or one.name, one.modality, one.count]
                    self._rows.append((self._addRow(row, texts, leaf=True), one))

    def _suits(self, series: Series) -> bool:
        return not self._modality or series.modality == self._modality

    def _addRow(self, parent, texts: list[str], *, leaf: bool = False):
        item = qt.QTreeWidgetItem(parent)
        for column, text in enumerate(texts):
            item.setText(column, text)
        flags = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable
        item.setFlags(flags if leaf else flags | qt.Qt.ItemIsAutoTristate)
        item.setCheckState(0, qt.Qt.Unchecked)
        return item

    def _onSearch(self, text: str) -> None:
        wanted = text.casefold()
        for item, patient in self._patientRows:
            item.setHidden(wanted not in f"{patient.name} {patient.identifier}".casefold())

    def _onChanged(self, _item: object = None, _column: int = 0) -> None:
        self.buttons.button(qt.QDialogButtonBox.Ok).enabled = bool(self.chosen())

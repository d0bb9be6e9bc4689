"""Slicer's DICOM database as a stand-in: what ctkDICOMDatabase returns of files that were indexed where they lie."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydicom


class DICOMDatabase:
    """Patients, studies, series and files, by the UIDs and under the names of fields that the real one has.

    What is not known is an empty text or list, as there; nothing raises an error.
    """

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self.isOpen = True
        self._patients: dict[str, dict[str, str]] = {}
        self._studies: dict[str, dict[str, str]] = {}
        self._series: dict[str, dict[str, str]] = {}
        self._images: dict[str, dict[str, str]] = {}
        for folder in folders:
            for file in sorted(folder.rglob("*.dcm")):
                self.insert(str(file))

    def insert(self, filePath: str) -> None:
        """Index a file."""
        found = pydicom.dcmread(filePath, stop_before_pixels=True)
        patient = {"PatientsName": str(found.get("PatientName", "")), "PatientID": found.get("PatientID", "")}
        uid = next((uid for uid, known in self._patients.items() if known == patient), str(len(self._patients) + 1))
        self._patients[uid] = patient
        study, series = str(found.StudyInstanceUID), str(found.SeriesInstanceUID)
        self._studies[study] = {
            "PatientsUID": uid,
            "StudyDate": found.get("StudyDate", ""),
            "StudyDescription": found.get("StudyDescription", ""),
        }
        self._series[series] = {
            "StudyInstanceUID": study,
            "Modality": found.get("Modality", ""),
            "SeriesNumber": _text(found, "SeriesNumber"),
            "SeriesDescription": found.get("SeriesDescription", ""),
        }
        self._images[str(found.SOPInstanceUID)] = {"SeriesInstanceUID": series, "Filename": filePath}

    def updateDisplayedFields(self) -> None:
        """Count, as Slicer does when its DICOM browser is shown."""
        for uid, fields in self._series.items():
            fields["DisplayedCount"] = str(len(self.filesForSeries(uid)))

    def patients(self) -> list[str]:
        """Numbers, as texts: they are no DICOM UIDs."""
        return list(self._patients)

    def studiesForPatient(self, patientUID: str) -> list[str]:
        """Study instance UIDs."""
        return [uid for uid, fields in self._studies.items() if fields["PatientsUID"] == patientUID]

    def seriesForStudy(self, studyUID: str) -> list[str]:
        """Series instance UIDs."""
        return [uid for uid, fields in self._series.items() if fields["StudyInstanceUID"] == studyUID]

    def instancesForSeries(self, seriesUID: str, hits: int = -1) -> list[str]:
        """SOP instance UIDs."""
        found = [uid for uid, fields in self._images.items() if fields["SeriesInstanceUID"] == seriesUID]
        return found[:hits] if hits > 0 else found

    def filesForSeries(self, seriesUID: str, hits: int = -1) -> list[str]:
        """Paths; whether the files are still there is not looked at."""
        return [self._images[uid]["Filename"] for uid in self.instancesForSeries(seriesUID, hits)]

    def fileForInstance(self, sopInstanceUID: str) -> str:
        """The path of an image."""
        return self._images.get(sopInstanceUID, {}).get("Filename", "")

    def nameForPatient(self, patientUID: str) -> str:
        """As DICOM has it: "Doe^Jane"."""
        return self.fieldForPatient("PatientsName", patientUID)

    def descriptionForStudy(self, studyUID: str) -> str:
        """The study's description."""
        return self.fieldForStudy("StudyDescription", studyUID)

    def descriptionForSeries(self, seriesUID: str) -> str:
        """The series' description."""
        return self.fieldForSeries("SeriesDescription", seriesUID)

    def fieldForPatient(self, field: str, patientUID: str) -> str:
        """A column of the table of patients."""
        return self._patients.get(patientUID, {}).get(field, "")

    def fieldForStudy(self, field: str, studyInstanceUID: str) -> str:
        """A column of the table of studies; dates are as in the files, YYYYMMDD."""
        return self._studies.get(studyInstanceUID, {}).get(field, "")

    def fieldForSeries(self, field: str, seriesInstanceUID: str) -> str:
        """A column of the table of series."""
        return self._series.get(seriesInstanceUID, {}).get(field, "")


def _text(dataset: Any, name: str) -> str:
    value = dataset.get(name)
    return "" if value is None else str(value)

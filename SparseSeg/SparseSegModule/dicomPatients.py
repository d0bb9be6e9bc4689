"""The patients of Slicer's DICOM database, with their studies and series, and where the files of a series are."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from SparseSegLib.errors import FileError
from SparseSegModule.dicomScan import gather

NO_IMAGES = {"AU", "DOC", "ECG", "FID", "HD", "KO", "PLAN", "PR", "REG", "RTDOSE", "RTPLAN", "RTRECORD", "RTSTRUCT"}
NO_IMAGES |= {"RWV", "SEG", "SR"}
"""Modalities of series that are no scans."""


@dataclass(frozen=True)
class Series:
    """A series of images.

    Attributes
    ----------
    uid : the series instance UID
    name : what a result of it is called: patient, date of the study, number and description of the series
    description : what the scanner's operator called it
    modality : "CT", "MR" and so on
    count : of its images, as the database shows it; "" where it has not counted yet
    """

    uid: str
    name: str
    description: str
    modality: str
    count: str


@dataclass(frozen=True)
class Study:
    """A study: ``date`` is YYYY-MM-DD, or ""."""

    description: str
    date: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Patient:
    """A patient, by name and ID."""

    name: str
    identifier: str
    studies: tuple[Study, ...]

    @property
    def series(self) -> tuple[Series, ...]:
        """The series of all studies."""
        return tuple(series for study in self.studies for series in study.series)


def hasDatabase() -> bool:
    """Whether Slicer's DICOM database is open."""
    database = getattr(slicer, "dicomDatabase", None)
    return database is not None and bool(database.isOpen)


def patients() -> list[Patient]:
    """The patients of Slicer's DICOM database who have images, by name; none where it is not open."""
    if not hasDatabase():
        return []
    database = slicer.dicomDatabase
    found = [_patient(database, uid) for uid in database.patients()]
    return sorted((one for one in found if one.series), key=lambda one: (one.name.casefold(), one.identifier))


def sourceOf(series: Series) -> list[Path]:
    """The files of a series; FileError where the database has none."""
    files = [Path(name) for name in slicer.dicomDatabase.filesForSeries(series.uid)]
    if not files:
        raise FileError(f"Slicer's DICOM database has no files of {series.name}.", "Import the study again.")
    return files


def folderOf(files: list[Path], spare: Path) -> Path:
    """A folder that has these files: their own or, where they lie apart, ``spare``, into which they are copied."""
    folders = {file.parent for file in files}
    if len(folders) == 1:
        return folders.pop()
    try:
        return gather(files, spare)
    except (OSError, shutil.Error) as error:
        raise FileError(f"The files of a series cannot be read: {error}.", "Import the study again.") from error


def _patient(database: Any, uid: str) -> Patient:
    identifier = database.fieldForPatient("PatientID", uid)
    name = _shown(database.nameForPatient(uid)) or identifier
    studies = [_study(database, study, name) for study in database.studiesForPatient(uid)]
    studies = sorted((study for study in studies if study.series), key=lambda study: study.date)
    return Patient(name, identifier, tuple(studies))


def _study(database: Any, uid: str, patient: str) -> Study:
    date = _date(database.fieldForStudy("StudyDate", uid))
    series = [_series(database, one, f"{patient} {date}") for one in database.seriesForStudy(uid)]
    images = [one for one in series if one.modality not in NO_IMAGES]
    return Study(database.descriptionForStudy(uid), date, tuple(sorted(images, key=lambda one: one.name)))


def _series(database: Any, uid: str, study: str) -> Series:
    description = database.descriptionForSeries(uid)
    number = database.fieldForSeries("SeriesNumber", uid)
    name = " ".join(f"{study} {number} {description}".split())
    modality, count = (database.fieldForSeries(field, uid) for field in ("Modality", "DisplayedCount"))
    return Series(uid, name, description, modality, count)


def _date(text: str) -> str:
    """A date of the database, which may be YYYYMMDD."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _shown(name: str) -> str:
    """A person's name as people write it: "Doe^Jane" is "Doe Jane"."""
    return " ".join(name.replace("^", " ").split())

"""Running a model on files, those of a folder or of the DICOM database: nothing is loaded into the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.jobs import write_job
from SparseSegLib.models import ModelCard, ModelLibrary
from SparseSegModule.dicomPatients import Series, folderOf, sourceOf
from SparseSegModule.jobHandle import JobHandle, Listener
from SparseSegModule.jobs import Jobs
from SparseSegModule.modelWork import errorOf
from SparseSegModule.translation import translated


@dataclass(frozen=True)
class FileResult:
    """A model's result for one case.

    Attributes
    ----------
    name : of the case
    file : the segmentation, or None if there is an error
    volumesMl : milliliters of each structure
    error, warnings : as of a ``ModelResult``
    """

    name: str
    file: Path | None
    volumesMl: dict[str, float]
    error: str = ""
    warnings: str = ""


@dataclass(frozen=True)
class FolderResult:
    """What a model has made of many files.

    Attributes
    ----------
    folder : where everything is
    results : one for each case
    report : the table, or None if it could not be written
    contactSheets : pages with a row of slices for each case
    """

    folder: Path
    results: list[FileResult]
    report: Path | None
    contactSheets: list[Path]


@dataclass(frozen=True)
class FileCase:
    """An image file or a DICOM folder; or, with a series, its files wherever they are."""

    files: list[Path]
    series: Series | None = None

    def entry(self, spare: Path) -> dict[str, Any]:
        """The case as the worker takes it; ``spare`` is a folder for files of a series that lie apart."""
        if self.series is None:
            return {"volumes": [str(path) for path in self.files]}
        folder = folderOf(self.files, spare)
        return {"volumes": [str(folder)], "series": [self.series.uid], "name": self.series.name}


class FilesWork:
    """Files and a model in, segmentations, a table and contact sheets in a folder out."""

    def __init__(self, cases: list[FileCase], results: Path, settings: dict[str, Any]) -> None:
        self._cases = cases
        self._results = results
        self._settings = {**settings, "output": str(results), "keep": True, "report": True}

    def write(self, folder: Path) -> None:
        """Write ``job.json``."""
        entries = [case.entry(folder / f"case-{number}") for number, case in enumerate(self._cases)]
        write_job(folder, "segment", {"cases": entries}, self._settings)

    def checkInputs(self) -> None:
        """They are the user's."""

    def inputsRead(self) -> None:
        """They are the user's."""

    def read(self, folder: Path, ending: dict[str, Any]) -> FolderResult:
        """What was written, and why some was not."""
        figures = ending["figures"]
        report = figures["report"]
        return FolderResult(
            self._results,
            [self._result(entry) for entry in figures["cases"]],
            self._results / report if report else None,
            [self._results / name for name in figures["contact_sheets"]],
        )

    def _result(self, entry: dict[str, Any]) -> FileResult:
        if "file" not in entry:
            return FileResult(entry["name"], None, {}, errorOf(entry))
        warnings = translated(entry.get("doubts", ""))
        return FileResult(entry["name"], self._results / entry["file"], entry["volume_ml"], warnings=warnings)

    def deliver(self, results: FolderResult, ending: dict[str, Any]) -> FolderResult:
        """Nothing is loaded into the scene."""
        return results

    def readPreview(self, path: Path) -> None:
        """Nothing is shown on the way."""

    def show(self, preview: Any) -> None:
        """Nothing is shown on the way."""

    def keep(self, folder: Path) -> None:
        """The results lie where they belong."""


def startFolder(jobs: Jobs, modelName: str, folder: str | Path, results: str | Path, **options: Any) -> JobHandle:
    """Start segmenting the images, or DICOM folders, in a folder; see ``SparseSegLogic.applyModelToFolder``."""
    from SparseSegLib.batch.finding import cases_of

    if not Path(folder).is_dir():
        raise FileError(f"There is no folder {folder}.", "Check the path.")
    cases = [FileCase([Path(path) for path in case["volumes"]]) for case in cases_of(str(folder))]
    return _start(jobs, modelName, cases, results, **options)


def startSeries(jobs: Jobs, modelName: str, series: Sequence[Series], results: str | Path, **options: Any) -> JobHandle:
    """Start segmenting series of the DICOM database; see ``SparseSegLogic.applyModelToSeries``."""
    if not series:
        raise UsageError("There is no series to segment.", "Choose at least one.")
    return _start(jobs, modelName, [FileCase(sourceOf(one), one) for one in series], results, **options)


def _start(
    jobs: Jobs,
    modelName: str,
    cases: list[FileCase],
    results: str | Path,
    *,
    device: str = "auto",
    flips: bool = False,
    force: bool = False,
    listener: Listener | None = None,
) -> JobHandle:
    entry = ModelLibrary().find(modelName)
    _checkChannels(entry.card)
    settings = {"model": str(entry.path.absolute()), "device": device, "flips": flips, "force": force}
    return jobs.start(FilesWork(cases, Path(results).absolute(), settings), listener)


def _checkChannels(card: ModelCard) -> None:
    count = len(card.preprocessing.channels)
    if count > 1:
        raise UsageError(
            f"The model {card.name} needs {count} channels, and a file has one.",
            "Load the volumes and choose one for each channel.",
        )

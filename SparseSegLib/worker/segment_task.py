"""Segment volumes with a model as a job, case by case, so that a bad one does not stop the others."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from SparseSegLib.batch import BatchCase, Manifest, named_cases, write_report
from SparseSegLib.batch.case import RESULT
from SparseSegLib.batch.cluster import connect
from SparseSegLib.batch.contact_sheet import write_contact_sheets
from SparseSegLib.batch.manifest import FILE as MANIFEST
from SparseSegLib.batch.manifest import Entry, is_of
from SparseSegLib.batch.pipeline import Outcome, segment_here
from SparseSegLib.batch.remote import WorkPlan, segment_on
from SparseSegLib.batch.report import FILE as REPORT
from SparseSegLib.batch.thumbnails import FOLDER as PICTURES
from SparseSegLib.control import Control
from SparseSegLib.errors import Canceled, FileError, JobError, UsageError
from SparseSegLib.files import remove_leftovers
from SparseSegLib.io import check_writable
from SparseSegLib.models import ModelLibrary, load_card
from SparseSegLib.models.card import card_hash
from SparseSegLib.reading import VolumeReader
from SparseSegLib.worker.densify_task import leave_one_core_free
from SparseSegLib.worker.explain import explain
from SparseSegLib.worker.job_settings import is_path, switch
from SparseSegLib.worker.lock import folder_lock

MOST_TRIES = 2
"""So many runs may die of a case before it is left out."""

RESULTS_LOCK = ".sparseseg.lock"
SWITCHES = ("keep", "report", "flips", "force")
STOPPED = {"code": "canceled", "error": "Stopped before this case.", "hint": "Run the job again to go on."}


def segment_task(folder: Path, job: dict[str, Any], control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    """Segment each case with one model.

    Inputs: ``cases``, each with ``volumes`` (paths, the channels) and, optionally, ``name`` and ``series`` (UIDs of the
    DICOM series to read, one for each volume). Settings: ``model`` (a name of the library, or the path of a bundle),
    ``device``, ``flips`` (bool), ``force`` (bool, to segment what the model is not for); ``output``, a folder for the
    results instead of the job's own; ``keep`` (bool), to refuse the work where it would replace results of something
    else; ``report`` (bool), for a table and contact sheets; ``cluster``, where to compute. The results are
    ``NAME.seg.nrrd``, or have the ``ending`` of another format; cases that an earlier run finished are passed over.
    Where the model's card names the modality that scans must be, DICOM folders of other ones, and scans that are not
    whole, are refused before anything is computed of them.
    """
    chosen = dict(job["settings"])
    keep, report, flips, force = (switch(chosen.pop(name, False), name) for name in SWITCHES)
    texts = {"model": "", "output": ".", "ending": RESULT, "cluster": "", "device": "auto"}
    model, output, ending, cluster, device = (chosen.pop(name, usual) for name, usual in texts.items())
    if not is_path(model) or not is_path(output) or not all(isinstance(one, str) for one in (ending, cluster, device)):
        raise JobError("The job's model, output, ending, cluster and device must be texts.", "Start a new job.")
    check_writable(f"result{ending}")
    listed = job["inputs"].get("cases")
    if chosen or not isinstance(listed, list) or not listed:
        raise JobError(f"The job asks for something that segment does not know: {', '.join(chosen) or 'no cases'}.")
    cases = named_cases(listed, folder, ending)
    bundle = folder / model if (folder / model).exists() else ModelLibrary().find(model).path
    results = (folder / output).absolute()
    _make(results)
    plan = WorkPlan(bundle.absolute(), results, device, flips, force, pictures=report)
    started = time.time()
    with folder_lock(results, RESULTS_LOCK):
        run = _Run(plan, cases, control, keep=keep)
        try:
            entries = run.go(cluster)
        finally:
            for place in (results, results / PICTURES):
                remove_leftovers(place, started)
        figures = {"cases": entries, **(_report(entries, results, control) if report else {})}
    files = {entry["name"]: str(Path(output) / entry["file"]) for entry in entries if "file" in entry}
    control.events.progress(len(cases), 1.0, None, 0.0)
    return files, figures


class _Run:
    """Segments what is not done yet, and keeps the entries of all cases."""

    def __init__(self, plan: WorkPlan, cases: Sequence[BatchCase], control: Control, *, keep: bool) -> None:
        self.plan = plan
        self.keep = keep
        self.cases = cases
        self.control = control
        self._tried: set[BatchCase] = set()
        card = load_card(plan.bundle)
        self.scans = card.scans
        self.manifest = Manifest(plan.folder, [card_hash(card), plan.flips, plan.force])
        found = {case: self.manifest.find(case) for case in cases}
        self.entries = {case: entry for case, entry in found.items() if entry is not None and is_of(entry, case)}
        if keep:
            self._refuse_to_replace()

    def _refuse_to_replace(self) -> None:
        """Raise UsageError if a result of another model, or of somebody, is there, or a table of another program."""
        paths = [self.plan.folder / case.file for case in self.cases if not self.manifest.begun(case)]
        if self.plan.pictures and not (self.plan.folder / MANIFEST).exists():
            paths.append(self.plan.folder / REPORT)
        for path in paths:
            if path.exists():
                raise UsageError(f"{path} is there already.", "Choose another folder, or add --overwrite.")

    def go(self, cluster: str) -> list[Entry]:
        """Segment on a cluster, or here; the entry of each case, in order. Raises Canceled."""
        missing = [case for case in self.cases if case not in self.entries]
        if self.entries and missing:
            self.control.events.message(f"{len(self.entries)} of {len(self.cases)} cases are done already.")
        self.manifest.begin(missing)
        try:
            for case, outcome in self._outcomes(missing, cluster):
                self._note(case, outcome)
        finally:
            for case in self._tried:
                self.manifest.survived(case)
        return [self.entries.get(case, {"name": case.name, **STOPPED}) for case in self.cases]

    def _note(self, case: BatchCase, outcome: Entry | Exception) -> None:
        if isinstance(outcome, Exception):
            self.entries[case] = entry = _failure(case, outcome)
            self.control.events.message(f"{case.name} is left out: {entry['error']} {entry['hint']}".strip())
        else:
            self.entries[case] = outcome
            self.manifest.add(case, outcome)
            self._tried.discard(case)

    def _try(self, case: BatchCase) -> None:
        self._tried.add(case)
        self.manifest.trying(case)

    def _outcomes(self, missing: Sequence[BatchCase], cluster: str) -> Iterator[Outcome]:
        token, events = self.control.token, self.control.events
        token.check()
        if not missing:
            return
        sound = []
        with closing(VolumeReader()) as reader:
            for case in missing:
                token.check()
                try:
                    self._check(case, reader)
                    sound.append(case)
                except Canceled:
                    raise
                except Exception as error:
                    yield case, error
        if not sound:
            return
        before = len(self.cases) - len(sound)

        def progress(computed: float) -> None:
            events.progress(len(self.entries), (before + computed) / len(self.cases), None, None)

        if cluster:
            with connect(cluster) as there:
                yield from segment_on(there, self.plan, sound, token, progress)
            return
        leave_one_core_free()
        with closing(self.plan.begin(events)) as work:
            yield from segment_here(work, sound, token, progress, self._try)

    def _check(self, case: BatchCase, reader: VolumeReader) -> None:
        """Raise what is wrong with a case before anything is computed of it."""
        if self.keep and self.manifest.tries(case) >= MOST_TRIES:
            raise _DeadlyCaseError(
                f"{MOST_TRIES} runs ended while they segmented it.",
                "It may need more memory than there is; to try it again, add --overwrite.",
            )
        if self.scans:
            reader.check_scans(case.volumes, case.series, self.scans)


class _DeadlyCaseError(JobError):
    """A case that ended the process more than once."""


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"The folder {folder} cannot be made: {error.strerror}.", "Choose another one.") from error


def _failure(case: BatchCase, error: Exception) -> Entry:
    with suppress(OSError):  # the log's disk may be full
        traceback.print_exception(error, file=sys.stderr)
    message, hint, code, _ = explain(error)
    return {"name": case.name, "error": message, "hint": hint, "code": code}


def _report(entries: list[Entry], output: Path, control: Control) -> dict[str, Any]:
    """Write the table and the contact sheets; their names. Errors are only reported: the results are there."""
    names: dict[str, Any] = {"report": "", "contact_sheets": []}
    try:
        write_report(entries, output / REPORT)
        names["report"] = REPORT
    except Exception as error:
        control.events.message(f"No table is written. {_in_words(error)}")
    try:
        names["contact_sheets"] = [path.name for path in write_contact_sheets(entries, output)]
    except Exception as error:
        control.events.message(f"No contact sheet is drawn. {_in_words(error)}")
    return names


def _in_words(error: Exception) -> str:
    message, hint, _, _ = explain(error)
    return f"{message} {hint}".strip()

"""Segment volumes with a model as a job: each case for itself, so that a bad one does not stop the others."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from SparseSegLib.batch import BatchCase, Manifest, named_cases, write_report
from SparseSegLib.batch.cluster import connect
from SparseSegLib.batch.contact_sheet import write_contact_sheets
from SparseSegLib.batch.manifest import Entry
from SparseSegLib.batch.pipeline import Outcome, segment_here
from SparseSegLib.batch.remote import WorkPlan, segment_on
from SparseSegLib.batch.report import FILE as REPORT
from SparseSegLib.control import Control
from SparseSegLib.errors import DependencyError, FileError, JobError, SparseSegError, UsageError
from SparseSegLib.io.dicom import find_series
from SparseSegLib.io.dicom_checks import check_series
from SparseSegLib.models import ModelLibrary, load_card
from SparseSegLib.models.card import card_hash
from SparseSegLib.worker.densify_task import leave_one_core_free
from SparseSegLib.worker.explain import explain

STOPPED = {"code": "canceled", "error": "Stopped before this case.", "hint": "Run the job again to go on."}


def segment_task(folder: Path, job: dict[str, Any], control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    """Segment each case with one model.

    Inputs: ``cases``, each with ``volumes`` (paths, the channels) and, optionally, ``name`` and ``series`` (UIDs of the
    DICOM series to read, one for each volume). Settings: ``model`` (a name of the library, or the path of a bundle),
    ``device``, ``flips`` (bool), ``force`` (bool, to segment what the model is not for); ``output``, a folder for the
    results instead of the job's own; ``keep`` (bool), to refuse the work where it would replace results of something
    else; ``report`` (bool), for a table and contact sheets; ``cluster``, where to compute. The results are
    ``NAME.seg.nrrd``; cases that an earlier run finished are passed over. Where the model's card says of which modality
    scans must be, DICOM folders of other ones, and scans that are not whole, are refused before anything is computed of
    them.
    """
    chosen = dict(job["settings"])
    try:
        model, keep, report = str(chosen.pop("model")), bool(chosen.pop("keep", False)), chosen.pop("report", False)
        output, cluster = Path(str(chosen.pop("output", "."))), str(chosen.pop("cluster", ""))
        device = str(chosen.pop("device", "auto"))
        flips, force = bool(chosen.pop("flips", False)), bool(chosen.pop("force", False))
        cases = named_cases(job["inputs"]["cases"], folder)
    except (TypeError, KeyError) as error:
        raise JobError(f"The job lacks something that segment needs: {error}.") from error
    if chosen or not cases:
        raise JobError(f"The job asks for something that segment does not know: {', '.join(chosen) or 'no cases'}.")
    bundle = folder / model if (folder / model).exists() else ModelLibrary().find(model).path
    results = (folder / output).absolute()
    _make(results)
    plan = WorkPlan(bundle.absolute(), results, device, flips, force, pictures=bool(report))
    run = _Run(plan, cases, control)
    if keep:
        run.refuse_to_replace()
    entries = run.go(cluster)
    files = {entry["name"]: str(output / entry["file"]) for entry in entries if "file" in entry}
    figures: dict[str, Any] = {"cases": entries}
    if report:
        figures |= _report(entries, results, control)
    control.events.progress(len(cases), 1.0, None, 0.0)
    return files, figures


class _Run:
    """Segments what is not done yet, and remembers what is."""

    def __init__(self, plan: WorkPlan, cases: Sequence[BatchCase], control: Control) -> None:
        self.plan = plan
        self.cases = cases
        self.control = control
        card = load_card(plan.bundle)
        self.scans = card.scans
        self.manifest = Manifest(plan.folder, [card_hash(card), plan.flips, plan.force])
        self.entries = {case: entry for case in cases if (entry := self.manifest.find(case)) is not None}

    def refuse_to_replace(self) -> None:
        """Raise UsageError if a result is there that another model, or somebody, made."""
        for case in self.cases:
            path = self.plan.folder / case.file
            if not self.manifest.begun(case) and path.exists():
                raise UsageError(f"{path} is there already.", "Choose another folder, or add --overwrite.")

    def go(self, cluster: str) -> list[Entry]:
        """Segment on a cluster, or here; what to say of each case, in order. Raises Canceled."""
        missing = [case for case in self.cases if case not in self.entries]
        if self.entries and missing:
            self.control.events.message(f"{len(self.entries)} of {len(self.cases)} cases are done already.")
        self.manifest.begin(missing)
        for case, outcome in self._outcomes(missing, cluster):
            if isinstance(outcome, Exception):
                self.entries[case] = entry = _failure(case, outcome)
                self.control.events.message(f"{case.name} is left out: {entry['error']} {entry['hint']}".strip())
            else:
                self.entries[case] = outcome
                self.manifest.add(case, outcome)
        return [self.entries.get(case, {"name": case.name, **STOPPED}) for case in self.cases]

    def _outcomes(self, missing: Sequence[BatchCase], cluster: str) -> Iterator[Outcome]:
        token, events = self.control.token, self.control.events
        token.check()
        if not missing:
            return
        sound = []
        for case in missing:
            token.check()
            try:
                _check_scans(case, self.scans)
                sound.append(case)
            except SparseSegError as error:
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
        yield from segment_here(self.plan.begin(events), sound, token, progress)


def _check_scans(case: BatchCase, modality: str) -> None:
    """Raise what is wrong with the DICOM folders of a case, by their headers alone; "" stands for any modality."""
    if modality:
        for path, uid in zip_longest(case.volumes, case.series, fillvalue=""):
            if Path(path).is_dir() and find_series(path):
                check_series(path, modality, series_uid=str(uid))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"The folder {folder} cannot be made: {error.strerror}.", "Choose another one.") from error


def _failure(case: BatchCase, error: Exception) -> Entry:
    traceback.print_exception(error, file=sys.stderr)
    message, hint, code, _ = explain(error)
    return {"name": case.name, "error": message, "hint": hint, "code": code}


def _report(entries: list[Entry], output: Path, control: Control) -> dict[str, Any]:
    """Write the table and the contact sheets; their names."""
    write_report(entries, output / REPORT)
    names: dict[str, Any] = {"report": REPORT, "contact_sheets": []}
    try:
        names["contact_sheets"] = [path.name for path in write_contact_sheets(entries, output)]
    except DependencyError as error:
        control.events.message(f"No contact sheet is drawn. {error}")
    return names

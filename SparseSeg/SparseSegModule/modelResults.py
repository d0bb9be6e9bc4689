"""What a model has found, in words; and a folder's table and contact sheets, opened in the programs for such files."""

from __future__ import annotations

from collections.abc import Sequence

import qt
from slicer.i18n import tr as _

from SparseSegLib.units import volume_text
from SparseSegModule.modelFiles import FileResult, FolderResult
from SparseSegModule.modelWork import ModelResult

MOST_LINES = 12  # about single volumes


def inWords(results: Sequence[ModelResult | FileResult]) -> list[str]:
    """How many there are, and a line on each of the first: the structures' milliliters and warnings, or the error."""
    good = [result for result in results if not result.error]
    lines = [_("{good} of {all} segmented.").format(good=len(good), all=len(results))]
    texts = [text for result in results if (text := _line(result))]
    lines += texts[:MOST_LINES]
    if len(texts) > MOST_LINES:
        lines.append(_("and {count} more").format(count=len(texts) - MOST_LINES))
    return lines


def whereResultsAre(result: FolderResult) -> str:
    """The folder, and what of it could not be written."""
    text = _("The results are in {folder}.").format(folder=result.folder)
    if result.report is None:
        text += " " + _("The table could not be written.")
    if not result.contactSheets:
        text += " " + _("Contact sheets were not drawn: they need the Python package matplotlib.")
    return text


def openResults(result: FolderResult) -> None:
    """Open the table and the first contact sheet."""
    for path in (result.report, *result.contactSheets[:1]):
        if path is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))


def _line(result: ModelResult | FileResult) -> str:
    parts = [f"{name} {volume_text(milliliters)}" for name, milliliters in (result.volumesMl or {}).items()]
    parts += [text for text in (result.warnings, result.error) if text]
    return f"{result.name}: {', '.join(parts)}" if parts else ""

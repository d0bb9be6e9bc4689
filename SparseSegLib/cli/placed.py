"""The results of densify, brought to where they are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SparseSegLib.cli.console import Console
from SparseSegLib.cli.outputs import note_outputs
from SparseSegLib.cli.work_folder import WorkFolder
from SparseSegLib.files.replacing import copy_whole
from SparseSegLib.image import place_text


class Placed:
    """Copies the results of a job, each whole or not at all, and prints their figures.

    Parameters
    ----------
    work : the job's folder
    wanted : where to copy the results, by their kind: ``dense`` and perhaps ``uncertainty``
    console : Console
    """

    def __init__(self, work: WorkFolder, wanted: Mapping[str, Path], console: Console) -> None:
        self.work = work
        self.wanted = wanted
        self.console = console

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the results of a ``result`` or ``round`` event; raises as ``copy_whole`` does."""
        self.work.keep = True
        for name, target in self.wanted.items():
            copy_whole(self.work.path / event["files"][name], target)
        note_outputs(self.work.path, self.wanted.values())
        self.work.keep = False
        figures = {**event["figures"], "output": str(self.wanted["dense"])}
        words = _in_words(figures)
        if "round" in event:
            figures = {"round": event["round"], **figures}
            words = [f"round {event['round']}: " + ", ".join(words)]
        self.console.result(figures, "\n".join(words))


def _in_words(figures: Mapping[str, Any]) -> list[str]:
    lines = [f"{figures['output']}: {figures['steps']} steps in {figures['seconds']:.0f} s"]
    if figures["estimated_iou"] is not None:
        lines.append(f"IoU about {figures['estimated_iou']:.2f} on annotated slices that training had not seen")
    if figures["reached_edges"]:
        edges = "; ".join(place_text(place) for place in figures["reached_edges"])
        lines.append(f"the result reaches the edge of the region that was worked on, and may go on beyond it: {edges}")
    if figures["next_slice"]:
        lines.append(f"next slice worth annotating: {place_text(figures['next_slice'])}")
    return lines

"""Densify: from a volume and a few annotated slices to a dense segmentation, within a budget."""

from __future__ import annotations

from pathlib import Path

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.control import Control
from SparseSegLib.densify.densifier import Densifier
from SparseSegLib.densify.result import DensifyResult
from SparseSegLib.densify.settings import DensifySettings
from SparseSegLib.image import Volume


def densify(
    volume: Volume,
    labels: SparseLabels,
    settings: DensifySettings | None = None,
    control: Control | None = None,
    checkpoint: Path | None = None,
) -> DensifyResult:
    """Train on the annotated slices of one volume and segment all of it.

    Parameters
    ----------
    volume : Volume
        ``(C, Z, Y, X)``, any gray values.
    labels : SparseLabels
        On the same grid.
    settings : DensifySettings
    control : Control
        Receives progress and previews, and may stop, cancel or bring more annotation.
    checkpoint : path, optional
        Where to save every few seconds. If the file exists, the training goes on from it: to the same result where
        annotation and settings are the same, else with its weights as a start.

    Raises
    ------
    VolumeError, AnnotationError, GeometryError
        For input that cannot be worked on; nothing has been changed then.
    UsageError
        If there is no such network, or none for volumes.
    Canceled
        When the token says so; the checkpoint stays.
    ResourceError
        When memory does not suffice on any device.
    """
    return Densifier(volume, settings, control, checkpoint).learn(labels)

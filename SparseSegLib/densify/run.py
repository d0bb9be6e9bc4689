"""Densify: from a volume and a few annotated slices to a dense segmentation, within a budget."""

from __future__ import annotations

from pathlib import Path

from SparseSegLib.annotation import SparseLabels, as_sparse_labels
from SparseSegLib.control import Control
from SparseSegLib.densify.densifier import Densifier
from SparseSegLib.densify.result import DensifyResult
from SparseSegLib.densify.settings import DensifySettings
from SparseSegLib.image.given import Image, as_volume


def densify(
    volume: Image,
    labels: SparseLabels | Image,
    settings: DensifySettings | None = None,
    control: Control | None = None,
    checkpoint: Path | None = None,
) -> DensifyResult:
    """Train on the annotated slices of one volume and segment all of it.

    Parameters
    ----------
    volume : Volume, SimpleITK image, nibabel image or array, or a list of these
        ``(C, Z, Y, X)``, any gray values; other images as in :func:`SparseSegLib.image.given.as_volume`.
    labels : SparseLabels, or as the volume
        On the same grid; other labels as in :func:`SparseSegLib.annotation.as_sparse_labels`.
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
    control = control or Control()
    drawn = as_sparse_labels(labels, volume)
    result = Densifier(as_volume(volume), settings, control, checkpoint).learn(drawn)
    control.events.progress(result.steps, 1.0, None, 0.0)
    return result

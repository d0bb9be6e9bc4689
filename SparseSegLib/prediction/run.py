"""Segment: a volume and a model in, labels out."""

from __future__ import annotations

from typing import Any

import numpy as np

from SparseSegLib.annotation import decoded
from SparseSegLib.control import Control
from SparseSegLib.devices import choose_device
from SparseSegLib.files import PathLike
from SparseSegLib.image.given import Image, as_given, as_volume
from SparseSegLib.models import ModelLibrary, load_network
from SparseSegLib.prediction.predictor import Predictor


def segment(
    image: Image,
    model: PathLike,
    *,
    device: str = "auto",
    flips: bool = False,
    force: bool = False,
    control: Control | None = None,
) -> Any:
    """Segment an image with a model of the library.

    Parameters
    ----------
    image : Volume, SimpleITK image, nibabel image or array, or a list of these
        As in :func:`SparseSegLib.image.given.as_volume`; the model's channels, in their order.
    model : a name in the library, or the path of a bundle
    device : auto, cpu, cuda, cuda:N or mps
    flips, force : see :class:`~SparseSegLib.prediction.predictor.Predictor`
    control : receives the progress, and may cancel

    Returns
    -------
    Labels as what the image is, on its grid, with the values of the model's card; an array is (Z, Y, X).

    Raises
    ------
    ModelError
        If there is no such model, it is damaged, or the image is none that it is for.
    VolumeError, ResourceError, Canceled
        As the predictor does.
    """
    control = control or Control()
    volume = as_volume(image)
    card, network = load_network(ModelLibrary().find(model).path)
    predictor = Predictor(card, network, choose_device(device), flips=flips, force=force, events=control.events)
    done = 0

    def progress(fraction: float) -> None:
        nonlocal done
        control.events.progress(done, fraction, None, None)
        done += 1

    labels = predictor.segment(volume, control.token, progress)
    progress(1.0)
    found: np.ndarray = decoded(labels, card.values)
    return as_given(found, volume.geometry, image)

"""From a volume to labels on its own grid, with a network that is loaded once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from SparseSegLib.control import CancelToken, Events, NullEvents
from SparseSegLib.errors import ModelError, ResourceError
from SparseSegLib.image import Volume, check_volume
from SparseSegLib.inference import Mirrored, count_tiles, predict_patches
from SparseSegLib.models import ModelCard
from SparseSegLib.models.card import Expectations
from SparseSegLib.networks.ensemble import Ensemble
from SparseSegLib.prediction import plausibility
from SparseSegLib.prediction.components import largest_component, largest_components
from SparseSegLib.preprocessing.for_model import prepare_for
from SparseSegLib.preprocessing.grid import labels_on


class Predictor:
    """Segments volumes with one model.

    Parameters
    ----------
    card : what the model is
    network : its network (see ``SparseSegLib.models.load_network``)
    device : where to compute
    flips : take the mean over the mirror images along the axes that the card names: slower by two for each axis, a
        little better for a model that learned from mirrored images; ModelError for any other
    force : also segment images that the card does not expect, with warnings instead of an error
    events : gets a message when the GPU's memory does not suffice

    Attributes
    ----------
    warnings : of the plausibility checks of the last volume and its segmentation; see ``Expectations`` of the card
    """

    def __init__(
        self,
        card: ModelCard,
        network: nn.Module,
        device: torch.device,
        *,
        flips: bool = False,
        force: bool = False,
        events: Events | None = None,
    ) -> None:
        if flips and not card.mirrored:
            raise ModelError(
                f"The model {card.name} did not learn from mirrored images, so they would mislead it.",
                "Segment without mirrored images (flips).",
            )
        plausibility.check_layer(card, network)
        self.card = card
        self.network = network.to(device)
        self.device = device
        self.flips = flips
        self.force = force
        self.warnings: list[str] = []
        self.events = events or NullEvents()

    def segment(
        self,
        volume: Volume,
        token: CancelToken | None = None,
        progress: Callable[[float], None] = lambda fraction: None,
    ) -> np.ndarray:
        """Labels ``(Z, Y, X)`` uint8 on the volume's own grid, 0 is background.

        Parameters
        ----------
        volume : (C, Z, Y, X) with the model's channels, any orientation and spacing
        token : may cancel the work
        progress : called with the fraction of the tiles that is done, 0 to 1

        Raises
        ------
        ModelError
            If the volume has another number of channels than the model, or does not look like those it is for.
        VolumeError
            If it has NaN voxels or is constant.
        ResourceError
            If memory does not suffice.
        """
        self.check(volume)
        self.warnings = []
        expected = self.card.expectations
        if expected is not None:
            self._refuse_or_warn(volume, expected, plausibility.volume_warnings(volume, expected))
        image, grid = prepare_for(volume, self.card.preprocessing)
        if expected is not None:
            self._refuse_or_warn(volume, expected, plausibility.image_warnings(image, expected))
        probabilities = self.probabilities(image, token or CancelToken(), progress)
        if expected is not None:
            found = plausibility.Found(probabilities.argmax(0).numpy() > 0, 1 - probabilities[0].numpy(), grid)
            self._refuse_or_warn(volume, expected, self._segmentation_warnings(image, found, expected))
            self.warnings += plausibility.expected_dice_warnings(found, expected)
        labels = labels_on(probabilities, grid, volume.geometry)
        return largest_components(labels) if "largest_component" in self.card.postprocessing else labels

    def _segmentation_warnings(
        self, image: torch.Tensor, found: plausibility.Found, expected: Expectations
    ) -> list[str]:
        """Warnings about a segmentation."""
        warnings = plausibility.finding_warnings(found, expected)
        piece, window = largest_component(found.mask), self.card.window
        if expected.agreement and isinstance(self.network, Ensemble):
            agreement = plausibility.agreement_around(self.network, image, piece, window, self.device)
            warnings += plausibility.agreement_warnings(agreement, expected)
        if expected.layer:
            features = plausibility.features_around(self.network, expected.layer, image, piece, window, self.device)
            warnings += plausibility.features_warnings(features, expected)
        return warnings

    def _refuse_or_warn(self, volume: Volume, expected: Expectations, warnings: list[str]) -> None:
        """Raise ModelError if there are warnings; with ``force``, report them instead."""
        self.warnings += warnings
        if not warnings:
            return
        text = f"{volume.name or 'The volume'} does not look like {expected.image}: {'; '.join(warnings)}."
        if not self.force:
            hint = f"Choose {expected.image}, or have it segmented in spite of warnings (--force)."
            raise ModelError(text, hint)
        self.events.message(text)

    def check(self, volume: Volume) -> None:
        """Raise VolumeError or ModelError if the model cannot segment such a volume."""
        check_volume(volume)
        names = self.card.preprocessing.channels
        if volume.channels != len(names):
            raise ModelError(
                f"The model {self.card.name} needs {len(names)} channels ({', '.join(names)}), "
                f"and {volume.name or 'the volume'} has {volume.channels}.",
                "Choose the volumes of all channels, in this order.",
            )

    @torch.inference_mode()
    def probabilities(self, image: torch.Tensor, token: CancelToken, progress: Callable[[float], None]) -> torch.Tensor:
        """Class probabilities ``(K, Z, Y, X)`` of a prepared image; on the CPU if the GPU's memory does not suffice."""
        try:
            return self._probabilities(image, token, progress)
        except torch.OutOfMemoryError as error:
            if self.device.type == "cpu":
                raise ResourceError(
                    "There is not enough memory.", "Close other programs, or crop the volume."
                ) from error
        torch.cuda.empty_cache()
        self.events.message("The GPU has not enough memory: going on with the CPU.")
        self.device = torch.device("cpu")
        self.network.to(self.device)
        return self._probabilities(image, token, progress)

    def _probabilities(
        self, image: torch.Tensor, token: CancelToken, progress: Callable[[float], None]
    ) -> torch.Tensor:
        _, z, y, x = image.shape
        tiles, begun = count_tiles(self.network, self.card.window, (z, y, x)), 0

        def check() -> None:
            nonlocal begun
            token.check()
            progress(begun / tiles)
            begun += 1

        return predict_patches(
            Mirrored(self.network, self.card.mirrored_axes) if self.flips else self.network,
            image,
            classes=self.card.classes,
            patch=self.card.window,
            device=self.device,
            check=check,
        )

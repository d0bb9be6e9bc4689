"""From a volume to labels on its own grid, with a network that is loaded once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from SparseSegLib.control import CancelToken, Events, NullEvents
from SparseSegLib.densify.patch_prediction import count_tiles, predict_patches
from SparseSegLib.errors import ModelError, ResourceError
from SparseSegLib.models import ModelCard
from SparseSegLib.preprocessing.grid import labels_on, prepare, working_grid
from SparseSegLib.volume import Volume, check_volume


class Predictor:
    """Segments volumes with one model.

    Parameters
    ----------
    card : what the model is
    network : its network (see ``SparseSegLib.models.load_network``)
    device : where to compute
    flips : take the mean over the eight mirror images: slower by eight, a little better for a model that learned from
        mirrored images; ModelError for any other
    events : is told when the GPU's memory does not suffice
    """

    def __init__(
        self,
        card: ModelCard,
        network: nn.Module,
        device: torch.device,
        *,
        flips: bool = False,
        events: Events | None = None,
    ) -> None:
        if flips and not card.mirrored:
            raise ModelError(
                f"The model {card.name} did not learn from mirrored images, so they would mislead it.",
                "Segment without mirrored images (flips).",
            )
        self.card = card
        self.network = network.to(device)
        self.device = device
        self.flips = flips
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
        progress : hears the share of the tiles that is done, 0 to 1

        Raises
        ------
        ModelError
            If the volume has another number of channels than the model.
        VolumeError
            If it has NaN voxels or is constant.
        ResourceError
            If memory does not suffice.
        """
        self._check(volume)
        grid = working_grid(volume.geometry, self.card.preprocessing.spacing)
        probabilities = self.probabilities(prepare(volume, grid), token or CancelToken(), progress)
        return labels_on(probabilities, grid, volume.geometry)

    def _check(self, volume: Volume) -> None:
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
            self.network,
            image,
            classes=self.card.classes,
            patch=self.card.window,
            device=self.device,
            check=check,
            flips=self.flips,
        )

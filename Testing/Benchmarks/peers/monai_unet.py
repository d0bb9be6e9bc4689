"""MONAI's U-Net, trained on the labeled voxels of one volume in MONAI's usual way."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.errors import DependencyError
from SparseSegLib.image import Volume

LONGEST_SIDE = 64  # voxels of a patch
MULTIPLE = 16  # the network halves the resolution four times
BATCH = 2
OVERLAP = 0.25
LEARNING_RATE = 3e-3
MOST_RESERVED = 0.5  # of the seconds, for the prediction at the end


def segment(volume: Volume, labels: SparseLabels, seconds: float, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Train and predict within ``seconds``; the classes ``(Z, Y, X)`` uint8, and figures.

    A residual U-Net (16 to 256 channels) on patches around labeled voxels, all classes alike; flips, rotation, scaling,
    contrast, brightness and noise; cross-entropy and Dice over the labeled voxels; Adam with a cosine schedule;
    prediction with a sliding window. What the prediction will take is measured after the first step and kept back.
    DependencyError if MONAI is not installed.
    """
    try:
        from monai.data import set_track_meta
    except ImportError as error:
        raise DependencyError(
            "MONAI is not installed.", "Install it with: pip install -r Testing/Benchmarks/peers/requirements.txt"
        ) from error
    import torch

    start = time.monotonic()
    set_track_meta(False)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            run = _Training(volume, labels, seed)
            steps = run.train(start, seconds)
            trained = time.monotonic() - start
            out = run.predict()
    finally:
        set_track_meta(True)
    total = time.monotonic() - start
    return out, {"steps": steps, "training_seconds": round(trained, 2), "overhead_seconds": round(total - trained, 2)}


class _Training:
    """Data, network and optimizer. In the labels here 0 is unlabeled and class ``k`` is ``k + 1``."""

    def __init__(self, volume: Volume, labels: SparseLabels, seed: int) -> None:
        import torch
        from monai.inferers import SlidingWindowInferer
        from monai.losses import DiceLoss
        from monai.networks.nets import UNet

        self.classes = labels.classes
        shape = volume.geometry.shape
        self.shape = shape
        self.patch = tuple(min(LONGEST_SIDE, -(-side // MULTIPLE) * MULTIPLE) for side in shape)
        targets = np.where(labels.array == UNLABELED, 0, labels.array.astype(np.int16) + 1)
        data = {"image": torch.from_numpy(volume.array.astype(np.float32)), "label": torch.from_numpy(targets)[None]}
        self.data = _preparation(self.patch, self.classes)(data)
        self.draw = _augmentation(self.patch, self.classes).set_random_state(seed)
        self.network = UNet(
            spatial_dims=3,
            in_channels=volume.channels,
            out_channels=self.classes,
            channels=(16, 32, 64, 128, 256),
            strides=(2, 2, 2, 2),
            num_res_units=2,
        )
        self.optimizer = torch.optim.Adam(self.network.parameters(), LEARNING_RATE)
        self.dice = DiceLoss(include_background=False, batch=True)
        self.inferer = SlidingWindowInferer(self.patch, BATCH, OVERLAP, mode="gaussian")

    def train(self, start: float, seconds: float) -> int:
        """Train until the time that is left is needed for the prediction; the number of steps."""
        self.network.train()
        steps, reserve = 0, 0.0
        while (share := (time.monotonic() - start) / (seconds - reserve)) < 1:
            for group in self.optimizer.param_groups:
                group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * share))
            self._step()
            if steps == 0:
                reserve = min(self._prediction_seconds(), MOST_RESERVED * seconds)
            steps += 1
        return steps

    def _step(self) -> None:
        import torch

        patches = self.draw(self.data)
        image = torch.stack([patch["image"] for patch in patches])
        label = torch.stack([patch["label"] for patch in patches]).long()
        if not bool((label > 0).any()):
            return
        loss = self._loss(self.network(image), label)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def _loss(self, logits: Any, label: Any) -> Any:
        """Cross-entropy and soft Dice of ``(B, K, z, y, x)`` against ``(B, 1, z, y, x)``, unlabeled voxels left out."""
        from monai.networks.utils import one_hot
        from torch.nn.functional import cross_entropy

        seen = (label > 0).float()
        truth = one_hot(label, self.classes + 1)[:, 1:]
        entropy = cross_entropy(logits, label[:, 0] - 1, ignore_index=-1)
        return entropy + self.dice(logits.softmax(1) * seen, truth)

    def _prediction_seconds(self) -> float:
        """What the sliding window will take, from the time of one batch."""
        import torch

        steps = [int(side * (1 - OVERLAP)) for side in self.patch]
        sizes = self.data["image"].shape[1:]
        windows = math.prod(
            math.ceil((size - part) / step) + 1 for size, part, step in zip(sizes, self.patch, steps, strict=True)
        )
        start = time.monotonic()
        with torch.inference_mode():
            self.network(torch.zeros(BATCH, self.data["image"].shape[0], *self.patch))
        return 1.2 * (time.monotonic() - start) * math.ceil(windows / BATCH)

    def predict(self) -> np.ndarray:
        """The classes of the whole volume, ``(Z, Y, X)`` uint8."""
        import torch

        self.network.eval()
        with torch.inference_mode():
            logits = self.inferer(self.data["image"][None], self.network)[0]
        z, y, x = self.shape
        return logits.argmax(0)[:z, :y, :x].to(torch.uint8).numpy()


def _preparation(patch: tuple[int, ...], classes: int) -> Any:
    """Gray values to -1…1; a volume smaller than a patch is filled up at its end; where each class is."""
    from monai.transforms import ClassesToIndicesd, Compose, ScaleIntensityRangePercentilesd, SpatialPadd

    return Compose(
        [
            ScaleIntensityRangePercentilesd("image", 1, 99, -1, 1, clip=True, channel_wise=True),
            SpatialPadd(("image", "label"), patch, method="end"),
            ClassesToIndicesd("label", num_classes=classes + 1),
        ]
    )


def _augmentation(patch: tuple[int, ...], classes: int) -> Any:
    """A list of ``BATCH`` patches, centered on labeled voxels, each changed at random."""
    from monai.transforms import (
        Compose,
        RandAffined,
        RandCropByLabelClassesd,
        RandFlipd,
        RandGaussianNoised,
        RandScaleIntensityd,
        RandShiftIntensityd,
    )

    both = ("image", "label")
    crop = RandCropByLabelClassesd(
        both,
        "label",
        patch,
        ratios=[0, *[1] * classes],
        num_classes=classes + 1,
        num_samples=BATCH,
        indices_key="label_cls_indices",
    )
    turn = RandAffined(
        both,
        prob=0.5,
        rotate_range=(0.26, 0.26, 0.26),
        scale_range=(0.1, 0.1, 0.1),
        mode=("bilinear", "nearest"),
        padding_mode=("border", "zeros"),
    )
    flips = [RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)]
    gray = [
        RandScaleIntensityd("image", factors=0.1, prob=0.5),
        RandShiftIntensityd("image", offsets=0.1, prob=0.5),
        RandGaussianNoised("image", prob=0.2, std=0.05),
    ]
    return Compose([crop, *flips, turn, *gray])

"""nnU-Net v2 with its ignore label, trained on one sparsely labeled volume through its own Python interface."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.errors import DependencyError
from SparseSegLib.image import Volume
from SparseSegLib.io import write_image

DATASET = "Dataset001_Sparse"
CONFIGURATION = "3d_fullres"
ENDING = ".nrrd"
MEMORY_GB = 1.0  # what the planner may fill; with its usual 8 a single step takes minutes on two CPU cores
MIRROR_FROM = 600.0  # seconds of training from which mirroring at test time, eight times the work, is worth it


def segment(volume: Volume, labels: SparseLabels, seconds: float, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Plan, preprocess, train for ``seconds`` and predict; the classes ``(Z, Y, X)`` uint8, and figures.

    Network, patch size, loss, optimizer and augmentation are nnU-Net's own choices; the learning rate follows its
    schedule through the seconds. There is no validation, since there is no second volume. What planning, preprocessing
    and prediction take comes on top of ``seconds`` and is the figure ``overhead_seconds``. DependencyError if nnU-Net
    is not installed.
    """
    with tempfile.TemporaryDirectory() as folder, _environment(Path(folder)):
        try:
            import nnunetv2  # noqa: F401
        except ImportError as error:
            raise DependencyError(
                "nnU-Net is not installed.",
                "Install it with: pip install -r Testing/Benchmarks/peers/requirements.txt",
            ) from error
        start = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints much
            _write_dataset(volume, labels, Path(folder) / "nnUNet_raw" / DATASET)
            plans, dataset = _prepare(Path(folder) / "nnUNet_preprocessed" / DATASET)
            os.environ.update(nnUNet_n_proc_DA="0")  # train without processes that augment
            trainer = _trainer(plans, dataset, seconds, seed)
            trainer.run_training()
            out = _predict(trainer, volume, dataset, mirror=seconds >= MIRROR_FROM)
        total = time.monotonic() - start
    trained = trainer.training_seconds
    figures = {
        "steps": trainer.steps,
        "patch": [int(side) for side in trainer.configuration_manager.patch_size],
        "training_seconds": round(trained, 2),
        "overhead_seconds": round(total - trained, 2),
    }
    return out, figures


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """nnU-Net's environment variables for its folders and number of processes; the planner needs at least one."""
    chosen = {name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    chosen |= {"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _write_dataset(volume: Volume, labels: SparseLabels, folder: Path) -> None:
    """The volume as nnU-Net's only training case; unlabeled voxels get the highest label, which it ignores."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number, channel in enumerate(volume.array):
        write_image(channel.astype(np.float32), volume.geometry, folder / "imagesTr" / f"case_{number:04}{ENDING}")
    ignore = labels.classes
    targets = np.where(labels.array == UNLABELED, ignore, labels.array).astype(np.uint8)
    write_image(targets, volume.geometry, folder / "labelsTr" / f"case{ENDING}")
    classes = {"background": 0, **{f"class {number}": number for number in range(1, ignore)}, "ignore": ignore}
    description = {
        "channel_names": {str(number): "MRI" for number in range(volume.channels)},  # any but CT: z-scores
        "labels": classes,
        "numTraining": 1,
        "file_ending": ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")


def _prepare(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fingerprint, plans and preprocessing; the plans and the dataset's description."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
    )
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    extract_fingerprint_dataset(1, num_processes=1, verbose=False, show_progress_bar=False)
    _, name = plan_experiment_dataset(1, gpu_memory_target_in_gb=MEMORY_GB)
    plans = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    preprocessor = PlansManager(plans).get_configuration(CONFIGURATION).preprocessor_class(verbose=False)
    preprocessor.show_progress_bar = False
    preprocessor.run(1, CONFIGURATION, name, num_processes=1)
    return plans, json.loads((folder / "dataset.json").read_text(encoding="utf-8"))


def _trainer(plans: dict[str, Any], dataset: dict[str, Any], seconds: float, seed: int) -> Any:
    """nnU-Net's trainer, on the CPU, with one epoch that ends after ``seconds``."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class TimedTrainer(nnUNetTrainer):
        """Trains for a time instead of a number of epochs."""

        steps = 0
        training_seconds = 0.0

        def run_training(self) -> None:
            """Set up, and take steps until the seconds are over."""
            self.on_train_start()
            self.network.train()
            start = time.monotonic()
            while self.training_seconds < seconds:
                rate = self.initial_lr * (1 - self.training_seconds / seconds) ** 0.9
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                self.train_step(next(self.dataloader_train))
                self.steps += 1
                self.training_seconds = time.monotonic() - start

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it draws from the global generators
    torch.manual_seed(seed)
    return TimedTrainer({**plans, "continue_training": False}, CONFIGURATION, "all", dataset, torch.device("cpu"))


def _predict(trainer: Any, volume: Volume, dataset: dict[str, Any], *, mirror: bool) -> np.ndarray:
    """The classes of the volume, ``(Z, Y, X)`` uint8, with the network as it is now."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(use_mirroring=mirror, device=trainer.device, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        dataset,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    image = volume.array.astype(np.float32)
    found = predictor.predict_single_npy_array(image, {"spacing": list(volume.geometry.spacing)})
    return np.asarray(found, np.uint8)

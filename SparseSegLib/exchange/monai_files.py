"""A model as a bundle of MONAI: a folder with configuration, weights and documentation, which MONAI runs by itself."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SparseSegLib import __version__
from SparseSegLib.errors import ModelError
from SparseSegLib.exchange.monai_config import inference_config
from SparseSegLib.exchange.steps import postprocessing_steps, prediction_steps, preprocessing_steps
from SparseSegLib.files import PathLike, read_json, write_error, write_json, write_text
from SparseSegLib.files.replacing import beside, repair, replace_folder
from SparseSegLib.models import ModelCard, load_network
from SparseSegLib.models.card import NOTICE, STATE_DICT, card_from_json, card_to_json
from SparseSegLib.models.files import LARGEST_WEIGHTS, read_member
from SparseSegLib.torch_version import require_torch

if TYPE_CHECKING:
    import torch
    from torch import nn

    Weights = dict[str, torch.Tensor]

METADATA = "configs/metadata.json"
CONFIG = "configs/inference.json"
STATE, SCRIPT, README = "models/model.pt", "models/model.ts", "docs/README.md"
OWN = "sparseseg"
"""Where the metadata has the card of the model, and the hash of its weights."""
HINT = "Export the model again, and carry the whole folder."
MONAI = "1.6.1"
"""The version that the configuration is tried with."""
FORMATS = {"CT": "hounsfield", "MR": "magnitude"}


def write_monai(source: PathLike, target: PathLike) -> ModelCard:
    """Write a bundle as a bundle of MONAI, a folder, whole or not at all; one that is there is replaced.

    It needs neither SparseSeg nor its network: ``models/model.ts`` is TorchScript that gives class probabilities for
    windows of the size that the card has. ``models/model.pt`` has the weights by the names of SparseSeg's network.

    Returns
    -------
    The model's card.

    Raises
    ------
    ModelError
        If the bundle is foreign or damaged, its network gives back less than it takes, or something else is there.
    FileError, ResourceError
        If the folder cannot be written.
    DependencyError
        If PyTorch is missing or too old.
    """
    target = Path(os.path.abspath(target))
    if os.path.lexists(target) and not (target / METADATA).is_file():
        raise ModelError(f"Cannot write {target}: something else is there.", "Choose another name.")
    card, network = load_network(source)
    if getattr(network, "margin", 0):
        raise ModelError(
            f"MONAI cannot run the network {card.network}: it gives back less than it takes.", "Export it as ONNX."
        )
    new = beside(target, "part")
    try:
        repair(target.parent, target.name)
        for name in (METADATA, STATE, README):
            (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / SCRIPT).write_bytes(_traced(network, card))
        state = _state(network)
        (new / STATE).write_bytes(state)
        write_json(new / CONFIG, inference_config(card))
        write_json(new / METADATA, _metadata(card, hashlib.sha256(state).hexdigest()))
        write_text(new / README, _readme(card))
        replace_folder(target, new)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return card


def read_monai(path: PathLike) -> tuple[ModelCard, Weights]:
    """Read the card and the weights of a bundle of MONAI that :func:`write_monai` wrote; nothing of it is run.

    Raises
    ------
    ModelError
        If it comes from elsewhere, so that its network is not known here; if it is damaged, or its weights are not
        those of the network that the card names.
    DependencyError
        If PyTorch is missing or too old.
    """
    require_torch()
    from SparseSegLib.models.building import check_fit, largest_file, weight_shapes
    from SparseSegLib.models.weights import decode_weights

    path = Path(path)
    metadata = read_json(path / METADATA, HINT)
    own = metadata.get(OWN) if isinstance(metadata, dict) else None
    if not isinstance(own, dict):
        raise ModelError(
            f"The network of the MONAI bundle {path} is not known here.",
            "Only bundles that sparseseg models export wrote can be imported.",
        )
    card = card_from_json(own.get("model"), str(path))
    shapes = weight_shapes(path, card)
    content = read_member(path / "models", "model.pt", min(LARGEST_WEIGHTS, largest_file(shapes)))
    if hashlib.sha256(content).hexdigest() != own.get("sha256"):
        raise ModelError(f"The weights of {path} are not those that its metadata describe (SHA-256 differs).", HINT)
    weights = decode_weights(content, path, STATE_DICT)
    check_fit(path, shapes, weights)
    return card, weights


def _traced(network: nn.Module, card: ModelCard) -> bytes:
    import torch

    from SparseSegLib.exchange.network import Probabilities

    example = torch.zeros(1, len(card.preprocessing.channels), *card.window)
    stream = io.BytesIO()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes become constants: windows are all of one size
        torch.jit.save(torch.jit.trace(Probabilities(network), example, check_trace=False), stream)
    return stream.getvalue()


def _state(network: nn.Module) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, stream)
    return stream.getvalue()


def _metadata(card: ModelCard, digest: str) -> dict[str, Any]:
    import numpy as np
    import torch

    channels = card.preprocessing.channels
    names = ["background", *(label.name for label in card.labels)]
    patch = {"spatial_shape": list(card.window), "dtype": "float32", "is_patch_data": True}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20220324.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported by SparseSeg {__version__}"},
        "monai_version": MONAI,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"nibabel": "5.2.0", "pytorch-ignite": "0.4.11", "scipy": "1.12.0"},
        "name": card.name,
        "task": f"segmentation of {', '.join(names[1:])}",
        "description": card.summary or card.name,
        "authors": "",
        "copyright": card.license,
        "data_source": card.data,
        "data_type": "nibabel",
        "intended_use": _intended_use(card),
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": FORMATS.get(card.scans, "magnitude"),
                    "num_channels": len(channels),
                    "value_range": [],
                    "channel_def": {str(number): name for number, name in enumerate(channels)},
                    **patch,
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "segmentation",
                    "num_channels": card.classes,
                    "value_range": [0, 1],
                    "channel_def": {str(number): name for number, name in enumerate(names)},
                    **patch,
                }
            },
        },
        OWN: {"sha256": digest, "model": card_to_json(card)},
    }


def _readme(card: ModelCard) -> str:
    steps = [*preprocessing_steps(card), *prediction_steps(card, 0), *postprocessing_steps(card)]
    several = "folders, one for each case, with a NIfTI file for each channel, in the order of their names"
    what = several if len(card.preprocessing.channels) > 1 else "NIfTI files"
    return "\n".join(
        [
            f"# {card.name}",
            "",
            card.summary,
            "",
            _intended_use(card),
            "",
            f"License: {card.license or 'not stated'}",
            "",
            "## Run it",
            "",
            'With `pip install "monai>=1.6" pytorch-ignite nibabel scipy`, in this folder:',
            "",
            "```",
            "python -m monai.bundle run --config_file configs/inference.json --bundle_root . "
            "--dataset_dir IMAGES --output_dir RESULTS",
            "```",
            "",
            f"`IMAGES` is a folder of {what}.",
            *_beforehand(card),
            "",
            "## What it does",
            "",
            *(f"{number}. {step}" for number, step in enumerate(steps, start=1)),
            "",
        ]
    )


def _intended_use(card: ModelCard) -> str:
    said = card.intended_use
    return said if NOTICE in said else f"{said} {NOTICE}".strip()


def _beforehand(card: ModelCard) -> list[str]:
    if card.preprocessing.bias_field != "n4":
        return []
    return ["", "MONAI has no correction of bias fields: correct the images first (N4, in 3D Slicer or SimpleITK)."]

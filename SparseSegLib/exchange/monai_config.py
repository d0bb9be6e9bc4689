"""The configuration with which MONAI runs a model: its transforms, its sliding windows, its writer."""

from __future__ import annotations

from typing import Any

from SparseSegLib.models.card import ModelCard, Preprocessing

CASES = (
    "$sorted(path for path in glob.glob(os.path.join(@dataset_dir, '*')) if path.endswith(('.nii', '.nii.gz')))",
    "$[sorted(glob.glob(os.path.join(case, '*'))) for case in sorted(glob.glob(os.path.join(@dataset_dir, '*', '')))]",
)
"""The images in a folder: files of one channel, or a folder for each case with a file for each channel."""

BLUR = (
    "$lambda image: monai.utils.convert_to_dst_type(ndimage.gaussian_filter(image.numpy(), [0.0] + "
    "[max(0.0, (new / float(old)) ** 2 - 1) ** 0.5 / 2.3548 for new, old in zip(@spacing, image.pixdim)], "
    "mode='nearest'), image)[0]"
)


def inference_config(card: ModelCard) -> dict[str, Any]:
    """``configs/inference.json`` for a model whose network is ``models/model.ts`` and gives probabilities."""
    return {
        "imports": ["$import glob", "$import os", "$import monai", "$from scipy import ndimage", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$os.path.join(@bundle_root, 'images')",
        "output_dir": "$os.path.join(@bundle_root, 'results')",
        "images": CASES[len(card.preprocessing.channels) > 1],
        "spacing": list(card.preprocessing.spacing),
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": "$torch.jit.load(os.path.join(@bundle_root, 'models', 'model.ts'), map_location=@device)",
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(card.preprocessing)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': image} for image in @images]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(card.window),
            "sw_batch_size": 1,
            "overlap": 0.5,
            "mode": "gaussian",
            "padding_mode": "replicate",
        },
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing(card)},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "run": ["$@evaluator.run()"],
    }


def _preprocessing(wanted: Preprocessing) -> list[dict[str, Any]]:
    """Axes in the order z, y, x, towards head, back and left, as the network has them."""
    return [
        {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True, "image_only": True},
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "SPL", "labels": None},
        {"_target_": "Lambdad", "keys": "image", "func": BLUR},
        {
            "_target_": "Spacingd",
            "keys": "image",
            "pixdim": "@spacing",
            "mode": "bilinear",
            "padding_mode": "border",
            "scale_extent": True,
            "align_corners": True,
        },
        *_field_of_view(wanted),
        *_normalization(wanted.normalization),
    ]


def _field_of_view(wanted: Preprocessing) -> list[dict[str, Any]]:
    if wanted.field_of_view is None:
        return []
    sides = [round(size / step) for size, step in zip(wanted.field_of_view, wanted.spacing[1:], strict=True)]
    return [{"_target_": "CenterSpatialCropd", "keys": "image", "roi_size": [-1, *sides]}]


def _normalization(kind: str) -> list[dict[str, Any]]:
    if kind == "nonzero":
        return [{"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}]
    return [
        {
            "_target_": "ScaleIntensityRangePercentilesd",
            "keys": "image",
            "lower": 1,
            "upper": 99,
            "b_min": -1,
            "b_max": 1,
            "clip": False,
            "channel_wise": True,
        },
        {"_target_": "ThresholdIntensityd", "keys": "image", "threshold": 2, "above": False, "cval": 2},
        {"_target_": "ThresholdIntensityd", "keys": "image", "threshold": -2, "above": True, "cval": -2},
    ]


def _postprocessing(card: ModelCard) -> list[dict[str, Any]]:
    classes = list(range(1, card.classes))
    transforms: list[dict[str, Any]] = [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "orig_keys": "image",
            "transform": "@preprocessing",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    ]
    if "largest_component" in card.postprocessing:
        transforms.append(
            {
                "_target_": "KeepLargestConnectedComponentd",
                "keys": "pred",
                "applied_labels": classes,
                "is_onehot": False,
                "connectivity": 1,
            }
        )
    if list(card.values) != classes:
        transforms.append(
            {
                "_target_": "MapLabelValued",
                "keys": "pred",
                "orig_labels": [0, *classes],
                "target_labels": [0, *card.values],
                "dtype": "$torch.int32",
            }
        )
    transforms.append(
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "seg",
            "output_dtype": "$torch.int32" if max(card.values) > 255 else "$torch.uint8",
            "separate_folder": False,
            "resample": False,
        }
    )
    return transforms

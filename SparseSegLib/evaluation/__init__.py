"""How well a segmentation agrees with a reference."""

from SparseSegLib.evaluation.metrics import LabelScores, dice, evaluate, iou
from SparseSegLib.evaluation.report import scores_as_dict, scores_as_table
from SparseSegLib.evaluation.surfaces import SurfaceDistances, surface_distances

__all__ = [
    "LabelScores",
    "SurfaceDistances",
    "dice",
    "evaluate",
    "iou",
    "scores_as_dict",
    "scores_as_table",
    "surface_distances",
]

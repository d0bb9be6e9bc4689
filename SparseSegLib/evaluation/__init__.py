"""Scores of segmentations against references, of single cases and of cohorts."""

from SparseSegLib.evaluation.cohort import CaseScores, LabelSummary, Spread, summarize
from SparseSegLib.evaluation.metrics import LabelScores, dice, evaluate, iou
from SparseSegLib.evaluation.report import scores_as_dict, scores_as_table
from SparseSegLib.evaluation.simulated_user import Round, SimulatedUser
from SparseSegLib.evaluation.surfaces import SurfaceDistances, surface_dice, surface_distances

__all__ = [
    "CaseScores",
    "LabelScores",
    "LabelSummary",
    "Round",
    "SimulatedUser",
    "Spread",
    "SurfaceDistances",
    "dice",
    "evaluate",
    "iou",
    "scores_as_dict",
    "scores_as_table",
    "summarize",
    "surface_dice",
    "surface_distances",
]

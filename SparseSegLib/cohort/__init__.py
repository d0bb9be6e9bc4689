"""Training one model on several annotated volumes, to segment volumes that nobody annotated."""

from SparseSegLib.cohort.card import About, make_card
from SparseSegLib.cohort.cohort import Cohort
from SparseSegLib.cohort.cross_validation import cross_validate
from SparseSegLib.cohort.dataset import Case, Dataset, Example, make_dataset, make_example, median_spacing
from SparseSegLib.cohort.decathlon import read_description
from SparseSegLib.cohort.files import CaseFiles, read_examples
from SparseSegLib.cohort.folds import hold_out, split_folds
from SparseSegLib.cohort.label_quality import LabelWeight
from SparseSegLib.cohort.scoring import FoldScores, scores_as_csv, scores_as_json
from SparseSegLib.cohort.settings import TrainSettings
from SparseSegLib.cohort.trainer import Files, TrainedModel, train

__all__ = [
    "About",
    "Case",
    "CaseFiles",
    "Cohort",
    "Dataset",
    "Example",
    "Files",
    "FoldScores",
    "LabelWeight",
    "TrainSettings",
    "TrainedModel",
    "cross_validate",
    "hold_out",
    "make_card",
    "make_dataset",
    "make_example",
    "median_spacing",
    "read_description",
    "read_examples",
    "scores_as_csv",
    "scores_as_json",
    "split_folds",
    "train",
]

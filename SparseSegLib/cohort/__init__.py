"""Training one model on several sparsely annotated volumes, to segment volumes that nobody annotated."""

from SparseSegLib.cohort.dataset import Case, Dataset, Example, make_dataset, make_example, median_spacing
from SparseSegLib.cohort.settings import TrainSettings
from SparseSegLib.cohort.trainer import TrainedModel, train

__all__ = [
    "Case",
    "Dataset",
    "Example",
    "TrainSettings",
    "TrainedModel",
    "make_dataset",
    "make_example",
    "median_spacing",
    "train",
]

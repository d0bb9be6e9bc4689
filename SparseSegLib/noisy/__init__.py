"""Learning from noisy labels: a second network judges them, and samples weigh as much as their labels are worth."""

from SparseSegLib.noisy.noise import noisy_labels
from SparseSegLib.noisy.quality import QualityNetwork
from SparseSegLib.noisy.weighting import QualityWeighting, overfitting_control, per_sample

__all__ = ["QualityNetwork", "QualityWeighting", "noisy_labels", "overfitting_control", "per_sample"]

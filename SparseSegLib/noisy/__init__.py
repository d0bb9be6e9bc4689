"""Learning from noisy labels: samples are weighted by the label quality that a second network predicts."""

from SparseSegLib.noisy.noise import noisy_labels
from SparseSegLib.noisy.quality import QualityNetwork
from SparseSegLib.noisy.weighting import QualityWeighting, overfitting_control, per_sample

__all__ = ["QualityNetwork", "QualityWeighting", "noisy_labels", "overfitting_control", "per_sample"]

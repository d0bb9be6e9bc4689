"""What the ablation replaces in the slice learner: each variant runs, and is another learner than the usual."""

import numpy as np
import pytest
import torch
from Benchmarks.accuracy import variants
from Benchmarks.accuracy.changes import all_changes
from phantoms import blob

from SparseSegLib.annotation import sparsify
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.settings import PRESETS
from SparseSegLib.image import Geometry

SETTINGS = DensifySettings(budget_steps=12, device="cpu", estimate=False, refine=False)


def _uncertainty():
    phantom = blob(Geometry.identity((16, 20, 24)), noise=0.3)
    labels = sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 1), names=("blob",))
    return densify(phantom.volume, labels, SETTINGS).uncertainty


@pytest.fixture(scope="module")
def usual():
    return _uncertainty()


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_a_variant_runs_and_differs(name, usual, monkeypatch):
    monkeypatch.setattr(variants, "TEACHER_FROM", 4)
    monkeypatch.setattr(variants, "SNAPSHOT_RATES", (0.9, 0.5))
    monkeypatch.setattr(variants, "SURE", 0.0)
    monkeypatch.setattr(variants, "COARSE_ABOVE", 0.1)
    with variants.VARIANTS[name]():
        found = _uncertainty()
    assert found.shape == usual.shape
    assert np.isfinite(found).all()
    assert np.array_equal(found, usual) == (not name)
    assert np.array_equal(_uncertainty(), usual)  # and nothing of it stays


def test_every_variant_is_a_row_of_the_ablation():
    assert {change.variant for change in all_changes()} == set(variants.VARIANTS)


def test_mirrored_and_stemmed_networks_keep_the_size():
    x = torch.randn(1, 22, 21, 18)
    for made in (variants.FlippedUNet(22, 2), variants.StemmedUNet(22, 2, PRESETS["fast"].recipe.widths)):
        assert made.eval()(x).shape == (1, 2, 21, 18)
    flipped = variants.FlippedUNet(22, 2).eval()
    assert torch.allclose(flipped(x).softmax(1), flipped(x.flip(3)).softmax(1).flip(3), atol=1e-5)

"""Micrographs, whose voxels are a fraction of a micrometer wide, are worked on as scans of bodies are."""

import numpy as np
import pytest
from cohort_helpers import SIZE, SMALL
from phantoms import blob

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.cohort import median_spacing
from SparseSegLib.control import Control
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_labels, write_image
from SparseSegLib.models import load_card
from SparseSegLib.worker.segment_task import segment_task
from SparseSegLib.worker.train_task import train_task

MICRO = 2e-4  # mm
UNITS = (1.0, MICRO, 1e-6, 1e4)


def test_densify_finds_the_same_at_every_scale():
    found = []
    for unit in UNITS:
        phantom = blob(Geometry.identity(SIZE, (2 * unit, unit, unit)))
        labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))
        result = densify(phantom.volume, labels, DensifySettings(budget_steps=4, device="cpu"))
        assert result.geometry == phantom.volume.geometry
        found.append((result.labels, result.next_slice, result.estimate))
    for labels, plane, estimate in found[1:]:
        np.testing.assert_array_equal(labels, found[0][0])
        assert (plane, estimate) == found[0][1:]


@pytest.mark.parametrize("bias_field", ["none", "n4"])
def test_models_learn_and_find_the_same_at_every_scale(tmp_path, bias_field):
    found = []
    for unit in UNITS[:2]:
        folder = tmp_path / str(unit)
        folder.mkdir()
        phantom = blob(Geometry.identity(SIZE, (2 * unit, unit, unit)))
        grid = phantom.volume.geometry
        write_image(phantom.volume.array, grid, folder / "c.nrrd")
        write_sparse_labels(sparsify(phantom.labels, grid, (2, 2, 2)), folder / "l.nrrd")
        inputs = {"cases": [{"volumes": ["c.nrrd"], "labels": "l.nrrd"}]}
        settings = {"network": "unet3d-small", "arguments": SMALL, "patch": [16] * 3, "budget_steps": 20}
        settings |= {"device": "cpu", "bias_field": bias_field}
        train_task(folder, {"inputs": inputs, "settings": settings}, Control())
        assert load_card(folder / "bundle").preprocessing.spacing == pytest.approx((2 * unit, unit, unit))
        job = {"inputs": {"cases": [{"volumes": ["c.nrrd"]}]}, "settings": {"model": "bundle", "device": "cpu"}}
        _, figures = segment_task(folder, job, Control())
        labels, geometry, _ = read_labels(folder / "c.seg.nrrd")
        assert geometry.matches(grid)
        (voxels,) = figures["cases"][0]["voxels"].values()
        (volume,) = figures["cases"][0]["volume_ml"].values()
        assert volume == pytest.approx(voxels * 2 * unit**3 / 1000, rel=1e-4)
        found.append(labels)
    assert (found[0] != found[1]).mean() < 0.001


def test_the_median_spacing_has_significant_digits():
    grids = [Geometry.identity(SIZE, (step, 0.48828125, 1234.567)) for step in (0.00020004, 0.00020004)]
    assert median_spacing(grids) == pytest.approx((0.0002, 0.4883, 1235), rel=1e-6)

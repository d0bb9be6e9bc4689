"""Segmenting a volume with a model, on the grid that the model works on and back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cohort_helpers import CPU, SMALL
from phantoms import GEOMETRIES, blob, multi_class

from SparseSegLib.errors import ModelError, VolumeError
from SparseSegLib.evaluation import dice
from SparseSegLib.image import Geometry, Volume, resample
from SparseSegLib.inference import count_tiles, predict_patches
from SparseSegLib.models import load_card, load_network
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.preprocessing.grid import labels_on, oriented, prepare, working_grid


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_common_orientation_is_the_same_voxels_in_another_order(name):
    geometry = GEOMETRIES[name]
    grid = oriented(geometry)
    axes = np.asarray(grid.direction).reshape(3, 3)
    assert (np.abs(axes).argmax(0) == [0, 1, 2]).all()
    assert (axes.diagonal() > 0).all()
    array = np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32)
    there = resample(array, geometry, grid)
    np.testing.assert_allclose(np.sort(there.ravel()), np.sort(array.ravel()), atol=1e-4)
    np.testing.assert_allclose(resample(there, grid, geometry), array, atol=1e-4)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_labels_come_back_to_where_they_were(name):
    """There and back through another spacing and orientation, also at the border of the volume."""
    geometry = GEOMETRIES[name]
    labels = multi_class(geometry).labels
    labels[:, :5] = 2
    grid = working_grid(geometry, (1.1, 0.6, 0.7))
    classes = [resample((labels == value).astype(np.float32), geometry, grid) for value in range(4)]
    back = labels_on(torch.from_numpy(np.stack(classes)), grid, geometry)
    assert back.shape == labels.shape
    for value in (1, 2, 3):
        assert dice(back == value, labels == value) > 0.9
    assert (back[:, 0] == 2).mean() > 0.99


def test_slabs_change_nothing(monkeypatch):
    grid, target = GEOMETRIES["identity"], GEOMETRIES["identity"].with_spacing((0.7, 1.3, 1.1))
    probabilities = torch.rand(3, *grid.shape)
    whole = labels_on(probabilities, grid, target)
    monkeypatch.setattr("SparseSegLib.preprocessing.grid.SLAB_VOXELS", 2000)
    np.testing.assert_array_equal(labels_on(probabilities, grid, target), whole)


def test_a_fine_volume_is_blurred_before_it_is_made_coarser():
    fine = Geometry.identity((16, 64, 64), (1.0, 0.25, 0.25))
    noise = np.random.default_rng(0).normal(size=fine.shape).astype(np.float32)
    edge = noise + 20 * (np.arange(64) > 31)
    image = prepare(Volume(edge, fine), working_grid(fine, (1.0, 1.0, 1.0)))[0]
    plain = resample(edge, fine, working_grid(fine, (1.0, 1.0, 1.0)))
    assert image.shape == (16, 16, 16)
    assert float(image[:, 2:-2, 2:6].std()) < 0.7 * float(plain[:, 2:-2, 2:6].std()) / 11


def test_tiles_are_counted_as_they_are_made():
    for name, patch in (("unet3d-small", (16, 16, 16)), ("cicek2016", (24, 24, 28))):
        network = create_network(name, 1, 2, **{**SMALL, "levels": 2}).eval()
        calls = []
        with torch.no_grad():
            image = torch.rand(1, 9, 25, 30)
            predict_patches(network, image, classes=2, patch=patch, device=CPU, check=lambda: calls.append(1))  # noqa: B023
        assert len(calls) == count_tiles(network, patch, (9, 25, 30))


@pytest.mark.parametrize("name", ["anisotropic", "flipped", "oblique"])
def test_a_segmentation_lies_where_the_anatomy_is(bundle, name):
    """The model works at 1 mm, and the volume is oblique, flipped or anisotropic."""
    spacing = {"anisotropic": (1.2, 0.8, 0.9), "flipped": (1.3, 0.9, 0.8), "oblique": (1.4, 0.8, 1.0)}[name]
    geometry = replace(GEOMETRIES[name], spacing=spacing)
    phantom = blob(geometry, seed=5)
    fractions = []
    card, network = load_network(bundle)
    found = Predictor(card, network, CPU).segment(phantom.volume, progress=fractions.append)
    assert found.shape == phantom.labels.shape
    assert dice(found == 1, phantom.labels == 1) > 0.85
    center, truth = (np.argwhere(mask == 1).mean(0) for mask in (found, phantom.labels))
    np.testing.assert_allclose(center, truth, atol=0.5)
    assert fractions == sorted(fractions)
    assert fractions[0] == 0


def test_mirrored_images_are_averaged_only_where_the_model_knows_them(bundle):
    card, network = load_network(bundle)
    volume = blob(Geometry.identity((12, 12, 12))).volume
    with pytest.raises(ModelError, match="mirrored"):
        Predictor(card, network, CPU, flips=True)
    mirrored = Predictor(replace(card, mirrored=True), network, CPU, flips=True)
    plain = mirrored.segment(volume)
    turned = mirrored.segment(replace(volume, array=volume.array[:, :, ::-1].copy()))
    assert (plain != turned[:, ::-1]).mean() < 0.002


class _Bright(torch.nn.Module):
    """Calls bright voxels the structure, and remembers what it was shown."""

    padded = True
    multiple = 1
    classes = 2

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def forward(self, image):
        self.seen.append(image.clone())
        return torch.cat([-image, image], 1) * 20


def test_the_cards_postprocessing_and_mirror_axes_reach_the_prediction(bundle):
    array = np.full((1, 16, 16, 16), -1.0, np.float32)
    array[:, 2:8, 2:8, 2:8] = array[:, 12:14, 12:14, 12:14] = 1.0
    volume = Volume(array, Geometry.identity((16, 16, 16)))
    card = replace(load_card(bundle), window=(16, 16, 16), mirrored=True, mirrored_axes="x")
    assert (Predictor(card, _Bright(), CPU).segment(volume) == 1).sum() == 6**3 + 2**3
    network = _Bright()
    cleaned = Predictor(replace(card, postprocessing=("largest_component",)), network, CPU, flips=True).segment(volume)
    assert (cleaned == 1).sum() == 6**3
    plain, mirrored = network.seen
    assert torch.equal(mirrored, plain.flip(4))


def test_a_volume_that_does_not_fit_the_model_is_refused(bundle):
    card, network = load_network(bundle)
    predictor = Predictor(card, network, CPU)
    volume = blob().volume
    with pytest.raises(ModelError, match="needs 1 channels") as caught:
        predictor.segment(replace(volume, array=np.concatenate([volume.array] * 2)))
    assert caught.value.hint
    with pytest.raises(VolumeError):
        predictor.segment(replace(volume, array=np.zeros_like(volume.array)))

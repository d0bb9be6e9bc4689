"""What the 2D U-Net's paper adds to a network: border weights, elastic deformation, overlap tiles, turned images."""

import numpy as np
import pytest
import torch
from Experiments.papers.border_weights import border_weights, mapped_cross_entropy
from Experiments.papers.elastic import deform_slices
from Experiments.papers.rotations import predict_rotated
from Experiments.papers.tiling2d import predict_image

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.networks.unet2d import UNet2D
from SparseSegLib.training.losses import weighted_cross_entropy


def test_weights_are_high_between_objects_that_nearly_touch():
    instances = np.zeros((30, 60), np.int32)
    instances[5:25, 5:25], instances[5:25, 29:55] = 7, 3
    weights = border_weights(instances, (1.0, 2.0))
    assert weights[10, 10] == weights[10, 40] == 2
    d1, d2 = 2, 3  # pixel 26: 24 is the last of one object, 29 the first of the other
    assert weights[15, 26] == pytest.approx(1 + 10 * np.exp(-((d1 + d2) ** 2) / 50), rel=1e-5)
    assert weights[15, 0] == pytest.approx(1, abs=1e-3)
    assert (border_weights(np.where(instances == 3, 0, instances), (1.0, 2.0)) <= 2).all()  # one object has no border
    balanced = border_weights(instances, border=0)
    inside = instances > 0
    assert balanced.mean() == pytest.approx(1)
    assert balanced[inside].sum() == pytest.approx(balanced[~inside].sum())


def test_a_map_of_ones_is_the_plain_loss_and_a_map_weighs_pixels():
    logits, target = torch.randn(2, 2, 5, 6), torch.randint(0, 2, (2, 5, 6))
    target[:, 0] = UNLABELED
    ones = torch.ones(2, 5, 6)
    torch.testing.assert_close(mapped_cross_entropy(logits, target, ones), weighted_cross_entropy(logits, target))
    ones[:, 0] = 1e9
    torch.testing.assert_close(mapped_cross_entropy(logits, target, ones), weighted_cross_entropy(logits, target))
    ones[:, 3:] = 0
    expected = weighted_cross_entropy(logits[:, :, :3], target[:, :3]) * 2 / 4
    torch.testing.assert_close(mapped_cross_entropy(logits, target, ones), expected)


def test_an_elastic_deformation_moves_image_and_labels_together_smoothly():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")
    images = torch.stack([y, x])[None].expand(2, -1, -1, -1)
    labels = (x >= 40).to(torch.uint8)[None].expand(2, -1, -1).clone()
    moved, found = deform_slices(images, labels, torch.Generator().manual_seed(0), deviation=4.0)
    moves = moved - images
    inside = (found != UNLABELED)[:, None].expand_as(moves)
    assert 1 < float(moves[inside].std()) < 8
    steps = (moves[..., 1:] - moves[..., :-1])[..., 20:60][inside[..., 20:60]]
    assert float(steps.abs().max()) < 1  # no folds
    assert not torch.allclose(moved[0], moved[1])
    clear = (moved[:, 1] - 39.5).abs() > 1
    same = (found == UNLABELED) | ((moved[:, 1] > 39.5) == (found == 1))
    assert bool(same[clear].all())
    assert float((found == UNLABELED).float().mean()) < 0.3


def test_tiles_are_the_same_as_one_pass():
    torch.manual_seed(0)
    network = UNet2D(1, 2, base=4, levels=3).eval()
    assert network.margin == 20 and UNet2D(1, 2, base=2, levels=5).margin == 92
    image = torch.randn(1, 1, 37, 50)
    predict = network  # the logits show seams as well as probabilities do
    tile = network.valid_size(2 * 20 + 12) - 40
    with torch.inference_mode():
        tiled = predict_image(predict, image, classes=2, margin=20, tile=tile, multiple=network.multiple)
        side = network.valid_size(50 + 2 * 20)
        padded = np.pad(image[0, 0].numpy(), ((20, side - 57), (20, side - 70)), mode="reflect")
        whole = network(torch.from_numpy(padded)[None, None])[..., :37, :50]
    assert tiled.shape == (1, 2, 37, 50)
    torch.testing.assert_close(tiled[..., :17, :30], whole[..., :17, :30], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-4)


def test_turned_images_are_turned_back():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 41), torch.linspace(-1, 1, 61), indexing="ij")
    image = torch.exp(-8 * ((y - 0.2) ** 2 + (x + 0.3) ** 2))[None, None]
    seen = []

    def predict(part: torch.Tensor) -> torch.Tensor:
        seen.append(part.shape[-2:])
        return part

    found = predict_rotated(predict, image, 7)
    assert len(seen) == 7 and seen[0] == (41, 61) and min(seen[1]) >= 73
    torch.testing.assert_close(found, image, atol=0.03, rtol=0)
    columns = torch.arange(61.0).expand(1, 1, 41, 61)
    asymmetric = predict_rotated(lambda part: part * 0 + torch.arange(float(part.shape[-1])), columns, 4)
    assert float(asymmetric[..., 20, :].std()) < float(columns[..., 20, :].std()) / 4  # what depends on x averages out

"""Tiled prediction equals the prediction of the whole, voxel by voxel."""

import numpy as np
import pytest
import torch

from SparseSegLib.inference import predict_valid, predict_windows
from SparseSegLib.networks.unet3d import UNet3D

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(8, 16, 16), (5, 19, 13)])
def test_tiles_of_a_valid_network_join_without_a_seam(shape):
    torch.manual_seed(1)
    network = UNet3D(2, 3, base=4, levels=2, norm="none").eval()
    margin, multiple = network.margin, network.multiple
    image = torch.randn(2, *shape)
    with torch.no_grad():
        tiled = predict_valid(network, image, classes=3, margin=margin, tile=(4, 4, 8), multiple=multiple, device=CPU)
        padded = [(margin, margin + -size % multiple) for size in shape]
        whole = network(torch.from_numpy(np.pad(image.numpy(), [(0, 0), *padded], mode="reflect"))[None])[0]
    assert tiled.shape == (3, *shape)
    torch.testing.assert_close(tiled, whole[:, : shape[0], : shape[1], : shape[2]], atol=1e-5, rtol=1e-5)


def test_windows_cover_everything_and_blend_to_the_same_where_all_agree():
    image = torch.randn(1, 9, 14, 17)
    blended = predict_windows(lambda part: torch.cat([part, -part], 1), image, classes=2, window=(4, 8, 8), device=CPU)
    torch.testing.assert_close(blended, torch.cat([image, -image]), atol=1e-5, rtol=1e-5)


def test_a_tile_may_be_refused():
    def refuse() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        predict_windows(lambda x: x, torch.zeros(1, 4, 4, 4), classes=1, window=(4, 4, 4), device=CPU, check=refuse)

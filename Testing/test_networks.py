"""The networks: sizes and parameter counts of the papers, gradients, any input size."""

import pytest
import torch

from SparseSegLib.errors import UsageError
from SparseSegLib.networks import create_network, network_names
from SparseSegLib.networks.unet3d import UNet3D


def test_cicek2016_has_the_papers_parameters_and_sizes():
    with torch.device("meta"):
        network = create_network("cicek2016", 3, 3)
        output = network(torch.zeros(1, 3, 116, 132, 132))
    assert sum(parameter.numel() for parameter in network.parameters()) == 19_069_955
    assert output.shape == (1, 3, 28, 44, 44)
    assert network.margin == 44
    assert network.valid_size(116) == 116
    assert network.valid_size(117) == 124


def test_ronneberger2015_has_the_papers_sizes_and_layers():
    with torch.device("meta"):
        network = create_network("ronneberger2015", 1, 2)
        output = network(torch.zeros(1, 1, 572, 572))
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert output.shape == (1, 2, 388, 388)
    assert len(layers) == 23
    assert max(layer.out_channels for layer in layers) == 1024


def test_batch_norm_uses_the_current_statistics_at_test_time():
    network = UNet3D(1, 2, base=4, levels=2).eval()
    image = torch.randn(1, 1, 20, 20, 20)
    with torch.no_grad():
        torch.testing.assert_close(network(image), network(5 * image + 3), atol=1e-2, rtol=1e-2)
    without = UNet3D(1, 2, base=4, levels=2, norm="none").eval()
    with torch.no_grad():
        assert not torch.allclose(without(image), without(5 * image + 3), atol=1e-2)


@pytest.mark.parametrize(
    "name", [name for name in network_names() if name not in ("cicek2016", "ronneberger2015", "vnet")]
)
def test_every_padded_network_keeps_odd_sizes_and_trains(name):
    torch.manual_seed(0)
    network = create_network(name, 2, 3, **({"base": 4} if name == "unet3d" else {}))
    size = (9, 14, 17)[-network.dimensions :]
    image = torch.randn(2, 2, *size)
    target = torch.randint(0, 3, (2, *size))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        logits = network(image)
        assert logits.shape == (2, 3, *size)
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["unet3d-small", "unet2d", "slice-unet"])
def test_a_network_is_rebuilt_from_its_arguments_and_weights(name):
    network = create_network(name, 1, 2).eval()
    again = type(network)(**network.arguments).eval()
    again.load_state_dict(network.state_dict())
    image = torch.randn(1, 1, *(16,) * network.dimensions)
    with torch.no_grad():
        torch.testing.assert_close(network(image), again(image))


def test_an_unknown_network_is_refused_with_the_known_names():
    with pytest.raises(UsageError, match="cicek2016"):
        create_network("unet4d", 1, 2)

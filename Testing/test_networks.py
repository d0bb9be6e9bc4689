"""The networks: sizes and parameter counts of the papers, gradients, any input size."""

import json
import math
import warnings
from dataclasses import replace

import pytest
import torch
from cohort_helpers import CARD, QUICK

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.cohort import train
from SparseSegLib.errors import UsageError
from SparseSegLib.models import load_network, save_bundle
from SparseSegLib.networks import create_network, network_names
from SparseSegLib.networks.objective import training_loss
from SparseSegLib.networks.segresnet_vae import polynomial_rate
from SparseSegLib.networks.unet3d import UNet3D
from SparseSegLib.training.losses import weighted_cross_entropy


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


SMALLER = {  # with few channels: the papers' sizes and layers are checked elsewhere
    "cicek2016": {"base": 4, "levels": 2},
    "unet3d": {"base": 4},
    "unet3d-half": {"widths": (4, 8), "head": 4},
    "unet3d-residual": {"widths": (4, 8)},
    "ronneberger2015": {"base": 4, "levels": 2, "norm": "batch"},
    "vnet": {"base": 2, "kernel": 3},
    "vnet-small": {"base": 2},
    "vnet-anisotropic": {"widths": (4, 8, 8)},
    "unet2d": {"base": 4, "levels": 2},
    "unet2d-slices": {"base": 4, "levels": 2},
    "segresnet_vae": {
        "base": 8,
        "blocks": (1, 1),
        "dropout": 0.0,
        "regions": "nested",
        "grid": (2, 2, 2),
        "latent": 4,
    },
    "segresnet-vae-small": {"base": 4, "dropout": 0.0},
    "resunet_se": {"widths": (4, 8), "passes": 2},
    "resunet-se-small": {"widths": (4, 8)},
}
ONE_OF_A_KIND = (
    "cicek2016", "unet3d-half", "unet3d-residual", "ronneberger2015", "unet2d-slices", "slice-unet", "vnet",
    "segresnet_vae", "resunet_se",
)  # fmt: skip


def _network(name):
    """A network of two channels and three classes that is small enough to be trained here."""
    torch.manual_seed(0)
    return create_network(name, 2, 3, **SMALLER.get(name, {}))


def _image(network, batch):
    """A batch of an odd size, or of one that valid convolutions can take."""
    size = (9, 14, 17)[-network.dimensions :]
    if not getattr(network, "padded", True):
        size = tuple(network.valid_size(side + 2 * network.margin) for side in size)
    return torch.randn(batch, 2, *size)


@pytest.mark.parametrize("name", network_names())
def test_every_network_keeps_sizes_trains_and_comes_back(name):
    network = _network(name)
    image = _image(network, 2)
    margin = getattr(network, "margin", 0)
    expected = tuple(side - 2 * margin for side in image.shape[2:])
    labels = (image[:, 0] > 0.5).long() + (image[:, 0] > 1)
    labels[:, 0] = UNLABELED
    target = labels[(slice(None), *(slice(margin, margin + side) for side in expected))]
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(6):
        loss = training_loss(network, image, target, weighted_cross_entropy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses[3:]) < losses[0]
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), parameter_name
    again = type(network)(**json.loads(json.dumps(network.arguments))).eval()
    again.load_state_dict(network.eval().state_dict())
    with torch.inference_mode():
        output = network(image)
        assert output.shape == (2, 3, *expected)
        assert bool(output.isfinite().all())
        torch.testing.assert_close(again(image), output)


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_a_network_of_each_kind_becomes_torchscript(name):
    network = _network(name).eval()
    image = _image(network, 1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a trace holds for one size; and TorchScript is no longer torch's favorite
        script = torch.jit.trace(network, image, check_trace=False)
        torch.testing.assert_close(script(image), network(image))


@pytest.mark.slow
@pytest.mark.parametrize("name", network_names())
def test_every_network_can_be_exported(name):
    network = _network(name).eval()
    image = _image(network, 1)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(network, (image,)).module()(image), network(image))


def test_segresnet_has_the_papers_end_point_and_levels():
    with torch.device("meta"):
        network = create_network("segresnet_vae", 4, 4, regions="nested")
        image = torch.zeros(1, 4, 160, 192, 128)
        end, shortcuts = network.encode(image)
        rebuilt, mean, deviation = network.branch(end)
        assert network.region_logits(image).shape == (1, 3, 160, 192, 128)
    assert end.shape == (1, 256, 20, 24, 16)
    assert [tuple(one.shape[1:]) for one in shortcuts] == [(32, 160, 192, 128), (64, 80, 96, 64), (128, 40, 48, 32)]
    assert [len(level) for level in network.encoder] == [1, 2, 2, 4]
    assert rebuilt.shape == image.shape and mean.shape == deviation.shape == (1, 128)
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.GroupNorm)]
    assert all(layer.num_channels == 8 * layer.num_groups for layer in norms)
    assert network.dropout.p == 0.2


def test_the_branch_of_segresnet_is_for_training_alone():
    network = _network("segresnet_vae").eval()
    image = _image(network, 1)
    labels = torch.randint(0, 3, (1, *image.shape[2:]))
    with torch.no_grad():
        before = network(image)
        assert float(network.training_loss(image, labels)) != float(network.training_loss(image, labels))  # it draws
        called = []
        network.branch.register_forward_hook(lambda *_: called.append(1))
        for parameter in network.branch.parameters():
            parameter.fill_(float("nan"))
        assert torch.equal(network(image), before) and not called
        plain = create_network("segresnet_vae", 2, 3, **{**SMALLER["segresnet_vae"], "branch": False}).eval()
        plain.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("branch.")})
        assert torch.equal(plain(image), before)


def test_the_loss_of_segresnet_is_dice_and_a_tenth_of_the_other_two():
    network = _network("segresnet_vae").eval()
    image = _image(network, 1)
    labels = torch.randint(0, 3, (1, *image.shape[2:]))
    numbers = torch.full((1, 4), 0.3), torch.full((1, 4), 0.8)
    network.branch.forward = lambda end: (torch.zeros(1, 2, 10, 14, 18), *numbers)
    loss = float(network.training_loss(image, labels).detach())
    p = network.region_logits(image).sigmoid()
    g = torch.stack([labels > 0, labels > 1], 1).float()
    dice = (1 - 2 * (p * g).sum((2, 3, 4)) / ((p**2).sum((2, 3, 4)) + g.sum((2, 3, 4)))).sum()
    divergence = 4 * (0.3**2 + 0.8**2 - math.log(0.8**2) - 1) / labels.numel()
    assert loss == pytest.approx(float(dice.detach() + 0.1 * (image**2).mean()) + 0.1 * divergence, rel=1e-5)


def test_the_learning_rate_of_segresnet_falls_as_in_the_paper():
    assert [polynomial_rate(epoch, epoch / 300) for epoch in (0, 150, 300)] == pytest.approx([1, 0.5**0.9, 0])


def test_the_thesis_network_has_its_levels_and_each_part_can_be_left_out():
    with torch.device("meta"):
        full = create_network("resunet_se", 1, 2)
        plain = create_network("resunet_se", 1, 2, residual=False, squeeze=False, passes=1)
        assert full(torch.zeros(1, 1, 72, 256, 256)).shape == (1, 2, 72, 256, 256)
    assert [level.blocks[0].out_channels for level in full.analysis] == [16, 32, 64, 96, 128]
    kinds = [type(layer).__name__ for layer in full.bridge.blocks]
    assert kinds == ["Convolution", "ELU", "BatchNorm3d"] * 2
    assert (full.analysis[0].blocks[0].in_channels, plain.analysis[0].blocks[0].in_channels) == (2, 1)
    assert all(level.excite is None and level.shortcut is None for level in [*plain.analysis, plain.bridge])


def test_recurrent_refinement_feeds_back_what_was_found_and_takes_the_loss_of_each_pass():
    network = create_network("resunet_se", 1, 3, widths=(4, 8), passes=3)
    seen = []
    network.analysis[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    image = torch.randn(1, 1, 8, 8, 8)
    target = torch.randint(0, 3, (1, 8, 8, 8))
    outputs = network.refine(image)
    assert len(outputs) == len(seen) == 3
    assert all(torch.equal(one[:, :1], image) for one in seen)
    assert float(seen[0][:, 1:].abs().max()) == 0
    for before, after in zip(outputs, seen[1:], strict=False):
        torch.testing.assert_close(after[:, 1:], before.softmax(1)[:, 1:])
    each = [weighted_cross_entropy(output, target) for output in outputs]
    torch.testing.assert_close(network.training_loss(image, target, weighted_cross_entropy), sum(each) / 3)


def test_a_single_small_patch_reaches_the_bridge_as_more_than_one_voxel():
    network = create_network("resunet_se", 1, 2, widths=(4, 8)).train()
    assert network(torch.randn(1, 1, 3, 4, 2)).shape == (1, 2, 3, 4, 2)


@pytest.mark.parametrize("name", ["segresnet_vae", "resunet_se", "unet2d-slices"])
def test_the_papers_other_networks_are_trained_by_the_engine_and_kept_as_bundles(name, dataset, tmp_path):
    arguments = SMALLER[name]
    settings = replace(QUICK, network=name, arguments=arguments, budget_steps=2)
    model = train(dataset, settings)
    assert model.loss is not None and math.isfinite(model.loss)
    card = replace(CARD, network=name, arguments=model.arguments, window=model.window)
    save_bundle(tmp_path / "bundle", card, model.weights)
    found, network = load_network(tmp_path / "bundle")
    assert found.network == name
    assert network(torch.randn(1, 1, 16, 16, 16)).shape == (1, 2, 16, 16, 16)


def test_slices_are_segmented_each_by_itself():
    network = _network("unet2d-slices").eval()
    image = torch.randn(1, 2, 3, 16, 16)
    other = image.clone()
    other[:, :, 1] = 7
    with torch.inference_mode():
        first, second = network(image), network(other)
    assert torch.equal(first[:, :, [0, 2]], second[:, :, [0, 2]])
    assert not torch.equal(first[:, :, 1], second[:, :, 1])


def test_an_unknown_network_is_refused_with_the_known_names():
    with pytest.raises(UsageError, match="cicek2016"):
        create_network("unet4d", 1, 2)

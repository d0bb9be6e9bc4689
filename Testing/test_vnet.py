"""V-Net: the paper's layers, receptive fields and loss; a convolution that is torch's own, but faster."""

import pytest
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.networks import create_network
from SparseSegLib.networks.anisotropic_vnet import InstanceNorm
from SparseSegLib.networks.convolution import Convolution
from SparseSegLib.networks.vnet import VNet
from SparseSegLib.training.losses import batch_weights, vnet_dice, weighted_cross_entropy

WIDTHS = (16, 32, 64, 128, 256)


def _stage(channels: int, count: int, before: int | None = None) -> int:
    """Parameters of a stage: 5×5×5 convolutions with a bias, and a PReLU slope per channel after each."""
    inputs = (before or channels) + (count - 1) * channels
    return 125 * inputs * channels + 2 * count * channels


def test_vnet_has_the_papers_stages_and_parameters():
    left = _stage(16, 1, 1) + sum(_stage(width, count) for width, count in zip(WIDTHS[1:], (2, 3, 3, 3), strict=True))
    right = sum(_stage(width, count) for width, count in zip((256, 128, 64, 32), (3, 3, 2, 1), strict=True))
    down = sum(8 * here * 2 * here + 2 * 2 * here for here in WIDTHS[:-1])
    up = sum(
        8 * below * here + 2 * here for below, here in zip((256, 256, 128, 64), reversed(WIDTHS[:-1]), strict=True)
    )
    with torch.device("meta"):
        network = create_network("vnet", 1, 2)
        output = network(torch.zeros(2, 1, 64, 128, 128))
    assert output.shape == (2, 2, 64, 128, 128)
    assert sum(parameter.numel() for parameter in network.parameters()) == left + right + down + up + 2 * 32 + 2
    assert left + right + down + up + 2 * 32 + 2 == 65_175_314


def _reach(network: VNet, layer: torch.nn.Module, stride: int) -> int:
    """Voxels from the farthest input on one side to the farthest on the other that an output of a layer depends on.

    Seen from the place of the output, and of all 16 / ``stride`` kinds of outputs: where a stage halves the size, one
    voxel is reached from farther left and its neighbor from farther right.
    """
    outputs = []
    handle = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    image = torch.ones(1, 1, 16, 16, 40 * 16, requires_grad=True)
    network(image)
    handle.remove()
    middle = 20 * 16 // stride
    before, behind = [], []
    for place in range(middle, middle + 16 // stride):
        (gradient,) = torch.autograd.grad(outputs[0][0, 0, 0, 0, place], image, retain_graph=True)
        reached = gradient.abs().sum((0, 1, 2, 3)).nonzero()[:, 0] - place * stride
        before.append(int(reached.min()))
        behind.append(int(reached.max()))
    return max(behind) - min(before) + 1


def test_receptive_fields_are_those_of_the_papers_table_1():
    network = VNet(1, 1, base=1)
    for parameter in network.parameters():  # positive ones, so that no influence cancels
        torch.nn.init.constant_(parameter, 1 / max(1, parameter[0].numel()))
    left = [_reach(network, stage, 2**level) for level, stage in enumerate(network.left)]
    assert left == [5, 22, 72, 172, 372]
    right = [_reach(network, stage, 2**level) for level, stage in zip((3, 2, 1, 0), network.right, strict=True)]
    assert right == [476, 528, 546, 551]
    assert _reach(network, network.classify, 1) == 551


def test_a_stage_adds_its_input_before_the_last_non_linearity():
    network = VNet(2, 2, base=4)
    for stage in (network.left[2], network.right[1]):
        for layer in stage.modules():
            if isinstance(layer, torch.nn.Conv3d):
                torch.nn.init.zeros_(layer.weight)
        x = torch.randn(1, stage.channels, 3, 4, 5)
        torch.testing.assert_close(stage(x), torch.where(x < 0, 0.25 * x, x))
    first = network.left[0]
    for layer in first.convolutions:
        torch.nn.init.zeros_(layer[0].weight)
    image = torch.rand(1, 2, 3, 4, 5)
    torch.testing.assert_close(first(image), image[:, [0, 1, 0, 1]])


@pytest.mark.parametrize("arguments", [{"base": 4}, {"base": 4, "kernel": 3, "norm": "group"}])
def test_any_size_goes_in_and_a_few_steps_lower_the_loss(arguments):
    torch.manual_seed(0)
    network = VNet(1, 2, **arguments)
    image = torch.randn(2, 1, 7, 17, 20)
    target = (image[:, 0] > 0.3).long()
    target[:, :2] = UNLABELED
    optimizer = torch.optim.Adam(network.parameters(), 5e-4)
    losses = []
    for _ in range(8):
        logits = network(image)
        assert logits.shape == (2, 2, 7, 17, 20)
        loss = vnet_dice(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_the_padding_does_not_reach_a_size_that_needs_none():
    network = VNet(1, 2, base=2).eval()
    image = torch.randn(1, 1, 16, 32, 16)
    with torch.inference_mode():
        whole = network(image)
        repeated = network(image[..., :13])
        expected = network(torch.cat([image[..., :13], image[..., 12:13].expand(-1, -1, -1, -1, 3)], -1))
    assert whole.shape == (1, 2, 16, 32, 16)
    torch.testing.assert_close(repeated, expected[..., :13])


def test_the_small_vnet_is_the_same_class_and_rebuilt_from_its_arguments():
    network = create_network("vnet-small", 1, 3).eval()
    again = VNet(**network.arguments).eval()
    again.load_state_dict(network.state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), again(image))
    assert sum(parameter.numel() for parameter in network.parameters()) < 5e6


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("depth", [4, 7, 16])
def test_the_fast_convolution_is_torchs_own_forwards_and_backwards(kernel, depth, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr("SparseSegLib.networks.convolution.CHUNK", 20_000)  # several chunks
    fast = Convolution(8, 12, kernel)
    plain = torch.nn.Conv3d(8, 12, kernel, padding=kernel // 2)
    plain.load_state_dict(fast.state_dict())
    image = torch.randn(2, 8, depth, 13, 12)
    if depth == 16:  # outside of training first: nothing may remain of that
        with torch.inference_mode():
            assert fast.pays(image)
            fast(image)
    results = []
    for layer in (fast, plain):
        x = image.clone().requires_grad_()
        y = layer(x)
        y.square().mean().backward()
        results.append((y.detach(), x.grad, layer.weight.grad, layer.bias.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-4 * float(expected.std()))
    assert not torch.equal(results[0][0], results[1][0])  # it was the fast way


def test_small_or_exact_inputs_go_through_torchs_own_convolution():
    layer = Convolution(8, 8, 5)
    assert not layer.pays(torch.zeros(1, 8, 4, 4, 4))
    assert not layer.pays(torch.zeros(1, 8, 3, 64, 64))
    assert not layer.pays(torch.zeros(1, 8, 16, 16, 16, dtype=torch.float64))
    assert not Convolution(1, 8, 5).pays(torch.zeros(1, 1, 16, 16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        assert not layer.pays(torch.zeros(1, 8, 16, 16, 16))


def test_the_gradient_of_the_dice_loss_is_the_papers():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 4, 5, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.randint(0, 2, (1, 4, 5, 6), generator=generator)
    (found,) = torch.autograd.grad(1 - vnet_dice(logits, target), logits)
    p, g = logits.softmax(1)[:, 1].detach(), target.double()
    total, overlap = (p**2).sum() + (g**2).sum(), (p * g).sum()
    by_probability = 2 * (g * total - 2 * p * overlap) / total**2
    expected = by_probability * p * (1 - p)  # the softmax of two channels: ∂p/∂logit of the foreground
    torch.testing.assert_close(found[:, 1], expected)
    torch.testing.assert_close(found[:, 0], -expected)
    assert float(1 - vnet_dice(logits.detach(), target)) == pytest.approx(float(2 * overlap / total))


def test_the_dice_loss_sees_no_unlabeled_voxel_and_no_volume_without_labels():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 3, 4, 5, 6, generator=generator)
    target = torch.randint(0, 3, (3, 4, 5, 6), generator=generator)
    target[0, 1:] = UNLABELED
    target[2] = UNLABELED
    unlabeled = (target == UNLABELED)[:, None]
    results = []
    for values in (logits, logits.masked_fill(unlabeled, float("inf"))):
        leaf = values.clone().requires_grad_()
        loss = vnet_dice(leaf, target)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert float(results[0][1][unlabeled.expand_as(logits)].abs().max()) == 0
    alone = [vnet_dice(logits[:1, :, :1], target[:1, :1]), vnet_dice(logits[1:2], target[1:2])]
    torch.testing.assert_close(results[0][0], torch.stack(alone).mean())
    assert bool(vnet_dice(logits[2:], target[2:]).isnan())


def test_the_dice_loss_is_zero_for_the_truth_and_one_for_its_opposite():
    target = torch.zeros(2, 6, 6, 6, dtype=torch.uint8)
    target[:, 2:4] = 1
    right = 200.0 * torch.nn.functional.one_hot(target.long(), 2).movedim(-1, 1)
    assert float(vnet_dice(right, target)) == pytest.approx(0, abs=1e-6)
    assert float(vnet_dice(-right, target)) == pytest.approx(1, abs=1e-6)
    assert float(vnet_dice(right, torch.zeros_like(target))) == 1


def test_weights_of_a_batch_give_both_classes_the_same_influence():
    target = torch.zeros(2, 10, 10, dtype=torch.uint8)
    target[0, 0, :5] = 1
    target[1, 5:] = UNLABELED
    weights = batch_weights(target, 2)
    torch.testing.assert_close(weights[0] * 145, weights[1] * 5)
    logits = torch.zeros(2, 2, 10, 10)
    logits[:, 1] = 1.0
    right, wrong = (torch.tensor([1.0, 0.0]).log_softmax(0)[k] for k in (0, 1))
    torch.testing.assert_close(weighted_cross_entropy(logits, target, weights), -(right + wrong) / 2)


def test_the_vnet_for_thick_slices_halves_these_last_and_is_small():
    with torch.device("meta"):
        network = create_network("vnet-anisotropic", 1, 2)
        image = torch.zeros(2, 1, 24, 96, 96)
        features = network._features(image)
        assert network(image).shape == (2, 2, 24, 96, 96)
    assert network.factors == (8, 16, 16)
    assert [tuple(one.shape[1:]) for one in features] == [
        (16, 24, 96, 96), (32, 24, 48, 48), (64, 12, 24, 24), (96, 6, 12, 12)
    ]  # fmt: skip
    assert sum(parameter.numel() for parameter in network.parameters()) < 3.9e6


def test_each_coarser_level_learns_half_as_much_from_the_labels_themselves():
    torch.manual_seed(0)
    network = create_network("vnet-anisotropic", 1, 2, widths=(4, 4, 4, 4))
    image, target = torch.randn(1, 1, 7, 17, 20), torch.zeros(1, 7, 17, 20, dtype=torch.uint8)
    seen = []

    def loss(logits, labels):
        assert torch.equal(labels, target) and logits.shape == (1, 2, 7, 17, 20)
        seen.append(logits)
        return torch.tensor(float(10 ** len(seen)))

    assert float(network.training_loss(image, target, loss)) == pytest.approx((10 + 100 / 2 + 1000 / 4) / 1.75)
    torch.testing.assert_close(seen[0], network(image))


def test_instance_norm_is_torchs_own_and_takes_a_single_voxel():
    layer, x = InstanceNorm(3), torch.randn(2, 3, 4, 5, 6)
    torch.testing.assert_close(layer(x), torch.nn.functional.instance_norm(x), rtol=1e-4, atol=1e-5)
    assert layer(torch.randn(1, 3, 1, 1, 1)).abs().max() < 1e-4

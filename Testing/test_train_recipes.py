"""How a cohort's network is trained: recipes, precision, where patches lie."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cohort_helpers import CARD, CPU, QUICK, SIZE, SMALL, make_case

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.cohort import About, TrainSettings, make_card, make_dataset, make_example, train
from SparseSegLib.cohort import trainer as trainer_module
from SparseSegLib.errors import UsageError
from SparseSegLib.models.card import card_from_json, card_to_json
from SparseSegLib.preprocessing.for_model import prepare_for
from SparseSegLib.training.losses import vnet_dice
from SparseSegLib.training.precision import choose_precision
from SparseSegLib.training.schedule import falling_rate

MILLETARI = TrainSettings(
    recipe="milletari2016", network="unet3d-small", arguments=SMALL, patch=(16, 16, 16), budget_steps=3, device="cpu"
)
MYRONENKO = TrainSettings(
    recipe="myronenko2018",
    arguments={"base": 8, "blocks": [1, 1], "grid": [2, 2, 2], "latent": 4},
    patch=(12, 16, 16),
    spacing=(1.0, 1.0, 1.0),
    budget_steps=2,
    device="cpu",
)


def test_the_recipe_of_the_paper_is_to_the_letter():
    plan = TrainSettings(recipe="milletari2016").plan
    assert (plan.network, plan.patch, plan.spacing, plan.batch) == ("vnet", (64, 128, 128), (1.5, 1.0, 1.0), 2)
    assert (plan.steps, plan.seconds, plan.bias_field) == (30_000, None, "n4")
    rates = [plan.learning_rate * plan.schedule(step, 0.5) for step in (0, 24_999, 25_000, 29_999)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])
    assert falling_rate(50_000, 0.0) == pytest.approx(0.01)
    chosen = TrainSettings(recipe="milletari2016", network="vnet-small", budget_seconds=60).plan
    assert (chosen.network, chosen.patch, chosen.seconds, chosen.steps) == ("vnet-small", (64, 128, 128), 60, None)
    assert (TrainSettings().plan.network, TrainSettings().plan.learning_rate) == ("unet3d-half", 1e-2)
    other = TrainSettings(network="unet3d-small").plan
    assert (other.learning_rate, other.full_steps) == (3e-3, 0)
    adapting = TrainSettings(start="a model").plan
    assert (adapting.learning_rate, adapting.full_steps) == (3e-3, 0)
    assert TrainSettings().plan.going_on() == adapting
    assert TrainSettings(recipe="milletari2016", start="a model").plan.learning_rate == 1e-4
    for wrong in ({"recipe": "grandma's"}, {"precision": "float8"}, {"validations": 0}):
        with pytest.raises(UsageError):
            TrainSettings(**wrong)


def test_the_learner_of_the_paper(dataset):
    learner = trainer_module._make_learner(dataset, MILLETARI, CPU)
    (group,) = learner.optimizer.param_groups
    assert isinstance(learner.optimizer, torch.optim.SGD)
    assert (group["momentum"], group["weight_decay"]) == (0.99, 0)
    image, labels = learner.draw()
    assert (image.shape, labels.shape) == ((2, 1, 16, 16, 16), (2, 16, 16, 16))
    logits = learner.network(image)
    assert torch.equal(learner.loss(logits, labels), vnet_dice(logits, labels))
    learner.step(1.0)
    trained, predicting = learner.network.state_dict(), learner.averaged.network.state_dict()
    assert all(torch.equal(trained[name], predicting[name]) for name in trained)


def test_the_loss_that_the_paper_compares_with(dataset):
    learner = trainer_module._make_learner(dataset, replace(MILLETARI, recipe="milletari2016-logistic"), CPU)
    assert isinstance(learner.optimizer, torch.optim.SGD)
    _, labels = learner.draw()
    classes = [label for label in (0, 1) if (labels == label).any()]
    assert classes == [0, 1]
    logits = torch.zeros(2, 2, 16, 16, 16)
    logits[:, 1] = torch.randn(2, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    losses = -logits.log_softmax(1)
    of_class = [losses[:, label][labels == label].mean() for label in classes]
    assert float(learner.loss(logits, labels)) == pytest.approx(float(sum(of_class)) / 2, rel=1e-4)


def test_the_paper_takes_gray_values_from_another_volume(dataset):
    darker = replace(dataset.examples[1], image=dataset.examples[1].image * 0.25 - 5)
    both = replace(dataset, examples=(dataset.examples[0], darker))
    learner = trainer_module._make_learner(both, MILLETARI, CPU)
    for number, other in ((0, 1), (1, 0)):
        found, wanted = learner.image(number), both.examples[other].image
        assert found.shape == both.examples[number].image.shape
        assert torch.allclose(found.mean(), wanted.mean(), atol=0.02)
        assert torch.allclose(found.std(), wanted.std(), rtol=0.05)
    assert torch.equal(learner.images[1], darker.image)


def test_a_v_net_learns_with_the_recipe_of_the_paper(dataset):
    settings = replace(MILLETARI, network="vnet-small", arguments={"base": 8}, batch=1, spacing=(1.0, 1.0, 1.0))
    learner = trainer_module._make_learner(dataset, settings, CPU)
    losses = [learner.step(100.0) for _ in range(12)]  # the paper's rate is for many more steps
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_low_precision_stays_out_of_weights_and_loss(dataset):
    assert choose_precision("auto", CPU) is torch.float32
    assert choose_precision("bf16", CPU) is torch.bfloat16
    types = []
    learner = trainer_module._make_learner(dataset, replace(QUICK, precision="bf16"), CPU)
    learner.network.classify.register_forward_hook(lambda module, given, out: types.append(out.dtype))
    learner.step(1.0)
    assert types == [torch.bfloat16]
    assert {weight.dtype for weight in learner.network.parameters()} == {torch.float32}
    low, full = (train(dataset, replace(QUICK, budget_steps=15, precision=name)) for name in ("bf16", "float32"))
    assert low.loss == pytest.approx(full.loss, rel=0.2)


def test_a_labeled_voxel_lies_anywhere_in_its_patch(dataset):
    """Else a network that pads learns nothing of the rim of its patch, where a prediction has most of its voxels."""
    patch = np.array((12, 12, 12))
    learner = trainer_module._make_learner(dataset, replace(QUICK, patch=tuple(patch.tolist())), CPU)
    learner.augmentation = replace(learner.augmentation, rotation=0.0, scaling=0.0, deformation_deviation=0.0)
    labeled = np.zeros(patch, int)
    for _ in range(150):
        labeled += (learner.draw()[1][0] != UNLABELED).numpy()
    corners, middle = labeled[::11, ::11, ::11], labeled[5:7, 5:7, 5:7]
    assert corners.min() > 0.1 * middle.mean()
    whole = trainer_module._make_learner(dataset, replace(MILLETARI, patch=tuple(SIZE)), CPU)
    assert whole.center(0) == tuple((side - 1) / 2 for side in SIZE)


def test_a_batch_is_the_mean_of_its_patches(dataset):
    """Gradients of a batch are the mean of those of its patches, so that it may be spread over processes."""
    learner = trainer_module._make_learner(dataset, replace(QUICK, batch=2), CPU)
    image, labels = learner.draw()

    def gradients(image, labels):
        learner.network.zero_grad()
        learner.learn(image, labels)
        return [weight.grad.clone() for weight in learner.network.parameters()]

    first, second, both = gradients(image[:1], labels[:1]), gradients(image[1:], labels[1:]), gradients(image, labels)
    for one, other, mean in zip(first, second, both, strict=True):
        torch.testing.assert_close((one + other) / 2, mean, rtol=1e-4, atol=1e-6)


def test_the_recipe_of_the_tumor_challenge_is_to_the_letter():
    plan = TrainSettings(recipe="myronenko2018").plan
    assert (plan.network, plan.patch, plan.spacing, plan.batch) == ("segresnet_vae", (128, 192, 160), (1, 1, 1), 1)
    assert (plan.normalization, plan.mirror, plan.steps) == ("nonzero", True, 300 * 285)
    rates = [plan.learning_rate * plan.schedule(0, fraction) for fraction in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([1e-4, 1e-4 * 0.5**0.9, 0])
    assert not TrainSettings(recipe="myronenko2018", mirror=False).plan.mirror
    assert not TrainSettings().plan.mirror
    with pytest.raises(UsageError, match="nonzero"):
        TrainSettings(normalization="best")


def test_the_learner_of_the_tumor_challenge(dataset):
    learner = trainer_module._make_learner(dataset, MYRONENKO, CPU)
    (group,) = learner.optimizer.param_groups
    assert type(learner.optimizer) is torch.optim.Adam
    assert (group["lr"], group["weight_decay"]) == (1e-4, 1e-5)
    shifted, scaled = learner.vary(torch.zeros(200, 2, 1, 1, 1)), learner.vary(torch.full((200, 2, 1, 1, 1), 1e6)) / 1e6
    for values, low, high in ((shifted, -0.1, 0.1), (scaled, 0.9, 1.1)):
        assert low <= float(values.min()) < low + 0.01 and high - 0.01 < float(values.max()) <= high + 1e-6
        assert float((values[:, 0] - values[:, 1]).abs().max()) > 0.05  # each channel by itself
    patch = np.array(MYRONENKO.patch)
    starts = np.array([learner.center(0) for _ in range(40)]) - (patch - 1) / 2
    np.testing.assert_array_equal(starts, np.round(starts))
    assert (starts >= 0).all() and (starts <= np.array(SIZE) - patch).all() and len(np.unique(starts, axis=0)) > 20
    learner.center = lambda number: tuple((patch - 1) / 2 + (3, 4, 5))
    image = learner.images[0][:, 3:15, 4:20, 5:21]
    flips = [[axis for axis in (1, 2, 3) if number >> axis & 1] for number in range(0, 16, 2)]
    seen = {
        next(n for n, axes in enumerate(flips) if torch.allclose(found[0], image.flip(axes), atol=1e-4))
        for found, _ in (learner._cut_from(0, 1) for _ in range(40))
    }
    assert len(seen) > 4  # of the eight mirror images, and nothing else
    losses = [learner.step(20.0) for _ in range(8)]
    assert np.mean(losses[-3:]) < losses[0]
    other = trainer_module._make_learner(dataset, replace(MYRONENKO, network="unet3d-small", arguments=SMALL), CPU)
    logits, labels = torch.randn(1, 2, 4, 4, 4), torch.randint(0, 2, (1, 4, 4, 4))
    assert torch.equal(other.loss(logits, labels), vnet_dice(logits, labels))


def test_what_is_zero_is_left_out_of_the_normalization_in_training_and_prediction():
    case = make_case(0)
    bare = case.volume.array + 20
    bare[:, :, :, :9] = 0
    case = replace(case, volume=replace(case.volume, array=bare))
    example = make_example(case, (1.0, 1.0, 1.0), normalization="nonzero")
    assert float(example.image[:, :, :, :9].abs().max()) == 0
    assert float(example.image[:, :, :, 9:].mean()) == pytest.approx(0, abs=1e-4)
    dataset = make_dataset([example], (1.0, 1.0, 1.0))
    card = make_card(dataset, MYRONENKO, train(dataset, MYRONENKO), About())
    assert (card.preprocessing.normalization, card.mirrored) == ("nonzero", True)
    content = json.loads(json.dumps(card_to_json(replace(card, sha256="0" * 64))))
    kept = card_from_json(content, "test").preprocessing
    assert torch.equal(prepare_for(case.volume, kept)[0], example.image)
    assert not torch.allclose(prepare_for(case.volume, CARD.preprocessing)[0], example.image)

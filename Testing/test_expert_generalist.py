"""The generalist: its input, its network with several channels and structures, its file, and how it adapts."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import blob, multi_class

from SparseSegLib.annotation import Plane, sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.experts import GeneralistRecipe, Request, SliceUNetRecipe, generalist
from SparseSegLib.densify.experts.generalist import load_generalist, save_generalist
from SparseSegLib.densify.generalist_features import HINTS, LAYOUT, GeneralistFeatures
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.errors import FileError
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Volume
from SparseSegLib.networks.generalist import Generalist

CPU = torch.device("cpu")
WIDTHS = (4, 6, 8)


def _network(seed=0):
    torch.manual_seed(seed)
    return Generalist(LAYOUT, WIDTHS).eval()


def _problem(case=None, per_axis=(3, 1, 1), channels=1):
    case = case or blob()
    volume = Volume(np.concatenate([case.volume.array] * channels), case.volume.geometry)
    return make_problem(volume, sparsify(case.labels, case.volume.geometry, per_axis), 0.1, 100_000)


@pytest.fixture
def recipe(tmp_path):
    """With weights that nobody trained: what the prior says."""
    path = tmp_path / "weights ü.pt"
    save_generalist(path, _network())
    return GeneralistRecipe(path=str(path), learning_rate=1e-2)


def _expert(problem, recipe, hidden=frozenset()):
    expert = recipe.make(problem, 0, CPU)
    expert.set_annotation(problem, hidden)
    return expert


@pytest.mark.parametrize(("case", "channels"), [(blob, 1), (blob, 3), (multi_class, 2)])
def test_the_channels_of_each_structure_are_as_they_are_laid_out(case, channels):
    problem = _problem(case(), channels=channels)
    features = GeneralistFeatures(problem)
    for axis in features.axes:
        view = features.view(axis, 3)
        found = features.of(view, features.prior.everything)
        assert found.shape == ((problem.classes - 1) * LAYOUT.channels(channels), *view.size)
        assert len(features.channel_classes) == len(found)
        image, shared = found[: LAYOUT.channels(channels)].split([channels * LAYOUT.image, LAYOUT.shared])
        torch.testing.assert_close(image[2], problem.image.part(view.box)[0].squeeze(view.axis))
        torch.testing.assert_close(image[: LAYOUT.image], image[-LAYOUT.image :])  # the channels are the same
        assert float(shared.abs().max()) <= 1.001


def test_the_hints_guess_each_structure():
    case = multi_class()
    problem = _problem(case, (5, 3, 3))
    features = GeneralistFeatures(problem)
    view = features.view(0, problem.labels.array.shape[0] // 2)
    found = features.of(view, features.prior.everything).unflatten(0, (problem.classes - 1, -1))
    truth = view.cut(torch.from_numpy(case.labels[problem.box].astype(np.int64)))
    for label in range(1, problem.classes):
        for hint in HINTS[:3]:
            believed = found[label - 1, LAYOUT.image + hint] > 0
            assert iou(believed.numpy(), (truth == label).numpy()) > 0.5, (label, hint)


def test_image_channels_are_pooled_in_any_number_and_order():
    torch.manual_seed(0)
    network = _network()
    torch.nn.init.normal_(network.classify.weight)
    one = torch.randn(2, LAYOUT.image, 21, 18)
    rest = torch.randn(2, LAYOUT.shared, 21, 18) / 3
    other = torch.randn(2, LAYOUT.image, 21, 18)
    alone = network(torch.cat([one, rest], 1))
    assert alone.shape == (2, 21, 18)
    torch.testing.assert_close(network(torch.cat([one, one, rest], 1)), alone, atol=1e-4, rtol=1e-4)
    both = network(torch.cat([one, other, rest], 1))
    torch.testing.assert_close(network(torch.cat([other, one, rest], 1)), both, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(both, alone, atol=1e-3)


def test_before_any_training_it_says_what_the_prior_says():
    network = _network()
    inputs = torch.randn(1, LAYOUT.channels(1), 8, 8) / 3
    hints = inputs[:, [LAYOUT.image + hint for hint in HINTS]].clamp_(-0.9, 0.9)
    inputs[:, [LAYOUT.image + hint for hint in HINTS]] = hints
    with torch.no_grad():
        torch.testing.assert_close(network(inputs), 2 * torch.atanh(hints).mean(1))


def test_the_real_one_is_small_enough_and_its_parameters_are_counted():
    assert 2e6 < sum(part.numel() for part in Generalist(LAYOUT).parameters()) < 3e6


def test_weights_come_back_as_they_were_saved(tmp_path, monkeypatch):
    network = _network(seed=1)
    save_generalist(tmp_path / generalist.FILE, network)
    monkeypatch.setattr(generalist, "FOLDERS", (tmp_path,))
    inputs = torch.randn(1, LAYOUT.channels(1), 16, 16)
    torch.testing.assert_close(load_generalist()(inputs), network(inputs), atol=0.02, rtol=0.02)
    monkeypatch.setattr(generalist, "FOLDERS", ())
    assert not GeneralistRecipe().suits(_problem(), None, CPU)
    with pytest.raises(FileError, match="no weights"):
        load_generalist()


def test_foreign_and_old_weights_are_refused(tmp_path):
    path = tmp_path / "foreign.pt"
    torch.save({"arguments": {"widths": [4]}, "weights": {}}, path)
    with pytest.raises(FileError, match="no weights of the generalist"):
        load_generalist(str(path))
    layout = {**vars(LAYOUT), "hints": [1]}
    save_generalist(path, Generalist(layout, WIDTHS))
    with pytest.raises(FileError, match="another version"):
        load_generalist(str(path))


def test_it_predicts_at_once(recipe):
    case = blob()
    problem = _problem(case, (5, 3, 3))
    found = _expert(problem, recipe).predict(Request.whole(problem), CancelToken())
    assert iou(found.argmax(0).numpy() == 1, case.labels[problem.box] == 1) > 0.7
    torch.testing.assert_close(found.sum(0), torch.ones(found.shape[1:]))


def test_hidden_slices_stay_hidden(recipe):
    """Another outline on a hidden slice, as large, changes nothing."""
    case = blob()
    drawn = sparsify(case.labels, case.volume.geometry, (5, 3, 0))
    plane = drawn.planes[1]
    array = drawn.array.copy()
    array[plane.voxels] = np.roll(array[plane.voxels], 4, 1)
    for other in drawn.planes:
        if other != plane:
            array[other.voxels] = drawn.array[other.voxels]
    box = make_problem(case.volume, drawn, 0.1, 100_000).box
    found = []
    for labels in (drawn, replace(drawn, array=array)):
        problem = make_problem(case.volume, labels, 0.1, 100_000, box)
        hidden = problem.on_working_grid(plane)
        planes = [hidden, Plane(hidden.axis, hidden.index + 1)]
        found.append(_expert(problem, recipe, frozenset([hidden])).predict_planes(planes, CancelToken()))
        known = _expert(problem, recipe).predict_planes(planes, CancelToken())
        assert not torch.equal(known[0], found[-1][0])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_its_last_layers_and_its_normalization_learn_and_nothing_else_does(recipe):
    problem = _problem(multi_class(), (3, 2, 2))
    expert = _expert(problem, recipe)
    before = {name: value.clone() for name, value in expert.network.state_dict().items()}
    losses = [expert.step(1.0) for _ in range(12)]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    changed = {name for name, value in expert.network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("running" not in name for name in changed)
    assert any(name.startswith("network.analysis.0") for name in changed), "its normalization"
    assert not any(name.endswith("weight") and before[name].ndim == 4 and "analysis" in name for name in changed)
    assert sum(before[name].numel() for name in expert.state_dict()["network"]) < 0.6 * sum(
        value.numel() for value in before.values()
    )


def test_it_goes_on_where_it_was_saved(recipe):
    problem = _problem()
    expert, other = _expert(problem, recipe), _expert(problem, recipe)
    expert.step(1.0)
    other.load_state_dict(copy.deepcopy(expert.state_dict()))
    assert other.step(1.0) == expert.step(1.0)
    for one, two in zip(expert.network.parameters(), other.network.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    warm = _expert(problem, recipe)
    warm.load_state_dict(expert.weights_dict(), warm_start=True)
    request = Request.whole(problem, 4, quick=True)
    torch.testing.assert_close(warm.predict(request, CancelToken()), expert.predict(request, CancelToken()))
    with pytest.raises(ValueError, match="nonsense"):
        other.load_state_dict({**expert.state_dict(), "network": {"nonsense": torch.zeros(1)}})


def test_densify_judges_it_as_any_other(recipe):
    case = blob()
    settings = DensifySettings(experts=(SliceUNetRecipe(widths=(4, 8)), recipe), budget_steps=4, device="cpu")
    drawn = sparsify(case.labels, case.volume.geometry, (4, 3, 3))
    result = densify(case.volume, drawn, settings)
    assert iou(result.labels == 1, case.labels == 1) > 0.6

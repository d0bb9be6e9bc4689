"""The pretrained network: its file, and what it predicts before any training."""

import numpy as np
import pytest
import torch
from phantoms import blob, multi_class

from SparseSegLib.annotation import Plane, sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts import PretrainedRecipe, Request, pretrained
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Volume
from SparseSegLib.networks.slice_unet import SliceUNet

CPU = torch.device("cpu")


def _problem(case=None, volume=None):
    case = case or blob()
    labels = sparsify(case.labels, case.volume.geometry, (3, 1, 1))
    return make_problem(volume or case.volume, labels, 0.1, 100_000)


def test_weights_come_back_as_they_were_saved(tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = SliceUNet(5, 2, (4, 8)).eval()
    pretrained.save_pretrained(tmp_path / pretrained.FILE, network)
    monkeypatch.setattr(pretrained, "FOLDERS", (tmp_path,))
    again = pretrained.load_pretrained([0, 0, 0, 1, 1], 2)
    image = torch.randn(1, 5, 16, 16)
    torch.testing.assert_close(again(image), network(image), atol=0.02, rtol=0.02)
    assert pretrained.load_pretrained([0, 0, 0, 1, 1, 1], 2) is None
    assert pretrained.load_pretrained([0, 0, 0, 1, 1], 3) is None  # nothing speaks of the second structure
    monkeypatch.setattr(pretrained, "FOLDERS", ())
    assert pretrained.load_pretrained([0, 0, 0, 1, 1], 2) is None


def test_it_comes_with_the_project_and_segments_what_it_never_saw():
    """Before any step, on a blob that it was not trained on."""
    problem = _problem()
    expert = PretrainedRecipe().make(problem, 0, CPU)
    expert.set_annotation(problem, frozenset())
    found = expert.predict(Request.whole(problem), CancelToken())
    truth = blob().labels[problem.box]
    assert iou(found.argmax(0).numpy() == 1, truth == 1) > 0.85
    torch.testing.assert_close(found.sum(0), torch.ones(truth.shape))


def test_of_several_structures_it_predicts_each():
    case = multi_class()
    problem = _problem(case)
    expert = PretrainedRecipe().make(problem, 0, CPU)
    expert.set_annotation(problem, frozenset())
    found = expert.predict(Request.whole(problem), CancelToken()).argmax(0).numpy()
    truth = case.labels[problem.box]
    assert [iou(found == label, truth == label) > 0.5 for label in (1, 2)] == [True, True]


def test_images_of_several_channels_are_learned_without_it():
    case = blob()
    two = Volume(np.concatenate([case.volume.array] * 2), case.volume.geometry)
    assert PretrainedRecipe().suits(_problem(), None, CPU)
    assert not PretrainedRecipe().suits(_problem(volume=two), None, CPU)


@pytest.mark.parametrize("axis", [0, 1])
def test_it_does_not_know_hidden_slices(axis):
    problem = _problem()
    plane = next(plane for plane in problem.labels.planes if plane.axis == axis)
    expert = PretrainedRecipe().make(problem, 0, CPU)
    known = []
    for hidden in (frozenset(), frozenset([plane])):
        expert.set_annotation(problem, hidden)
        known.append(expert.predict_planes([plane], CancelToken())[0])
    assert not torch.equal(*known)
    other = Plane(plane.axis, plane.index + 2)
    assert expert.predict_planes([other], CancelToken())[0].shape == known[0].shape


def test_its_file_is_read_once(monkeypatch):
    pretrained._saved.cache_clear()
    read, load = [], pretrained.load_torch_file
    monkeypatch.setattr(pretrained, "load_torch_file", lambda *given: read.append(given) or load(*given))
    problem = _problem()
    for _ in range(2):
        assert PretrainedRecipe().suits(problem, 60.0, CPU)
        PretrainedRecipe().make(problem, 0, CPU)
    assert len(read) == 1

"""A large region whose parts are predicted elsewhere is the same to the bit, whoever dies meanwhile."""

import os
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from phantoms import blob

from SparseSegLib.annotation import sparsify
from SparseSegLib.batch.cluster import connect
from SparseSegLib.control import CancelSource, CancelToken
from SparseSegLib.densify import DensifySettings, part_prediction, parts
from SparseSegLib.densify.densifier import Densifier
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import Expert, ExtraTreesRecipe, SliceUNetRecipe
from SparseSegLib.densify.on_cluster import hands_of
from SparseSegLib.densify.part_prediction import PartPrediction
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.errors import Canceled, JobError

CPU = torch.device("cpu")
RECIPES = (SliceUNetRecipe(widths=(4, 8), crop=32), ExtraTreesRecipe(trees=4))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(parts, "LONGEST_SIDE", 16)
    monkeypatch.setattr(parts, "SHORTEST_SIDE", 4)
    monkeypatch.setattr(parts, "ROOM", 4)
    monkeypatch.setattr(part_prediction, "SAMPLED_SIDE", 8)
    monkeypatch.setattr(DensifySettings, "most_voxels", property(lambda self: 4000))


@pytest.fixture(scope="module")
def case():
    phantom = blob()
    return phantom.volume, sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))


class Backwards:
    """Work is done in this process, the last item first."""

    def __init__(self, asked=None, answer=None):
        self.asked = asked if asked is not None else []
        self.answer = answer

    def run(self, function, items, *arguments, token):
        for number in reversed(range(len(items))):
            token.check()
            assert not token.stopped
            self.asked.append(items[number])
            yield number, self.answer or function(items[number], *arguments)


def found(problem, ensemble, **more):
    prediction = PartPrediction(problem, ensemble, more.pop("token", CancelToken()), **more)
    result = prediction.found()
    return result.labels, result.uncertainty, result.counts


def trained(case, coarser=1.0):
    volume, labels = case
    problem = make_problem(volume, labels, 10.0, 1500, coarser=coarser)
    ensemble = Ensemble(problem, RECIPES, 0, CPU, hold_out=False)
    for _ in range(2):
        ensemble.step(1.0)
    return problem, ensemble


@pytest.mark.parametrize("coarser", [1.0, 2.0])
def test_what_others_predict_is_the_same_to_the_bit(case, tmp_path, coarser):
    problem, ensemble = trained(case, coarser)
    assert problem.in_parts
    others = Backwards()
    for ours, theirs in zip(
        found(problem, ensemble), found(problem, ensemble, lend=hands_of(others, tmp_path)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert len(others.asked) >= 4
    assert list(tmp_path.iterdir()) == []


def test_a_densification_asks_them_for_its_last_prediction_alone(case, tmp_path):
    volume, labels = case
    settings = DensifySettings(budget_steps=2, device="cpu", experts=RECIPES)
    others = Backwards()
    results = [Densifier(volume, settings, **more).learn(labels) for more in ({}, {"lend": hands_of(others, tmp_path)})]
    np.testing.assert_array_equal(results[0].labels, results[1].labels)
    np.testing.assert_array_equal(results[0].uncertainty, results[1].uncertainty)
    assert results[0].estimate == results[1].estimate is not None
    assert others.asked


def test_a_stop_leaves_what_was_not_looked_at_as_it_is_seen_coarsely(case, tmp_path):
    problem, ensemble = trained(case)
    source, others = CancelSource(), Backwards()
    source.stop()
    lend = hands_of(others, tmp_path)
    ours = found(problem, ensemble, token=source.token)
    for own, theirs in zip(ours, found(problem, ensemble, token=source.token, lend=lend), strict=True):
        np.testing.assert_array_equal(own, theirs)
    source.cancel()
    with pytest.raises(Canceled):
        found(problem, ensemble, token=source.token, lend=lend)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(ValueError("no good"), ValueError), (ModuleNotFoundError("x", name="sklearn"), JobError)],
)
def test_what_fails_there_is_raised_here(case, tmp_path, answer, error):
    problem, ensemble = trained(case)
    with pytest.raises(error, match=r"no good|lack the package sklearn"):
        found(problem, ensemble, lend=hands_of(Backwards(answer=answer), tmp_path))


class Mortal(Expert):
    """Copies the image, and ends its process at the first close look, unless that is the one it was made in."""

    def __init__(self, problem, mark):
        self.problem, self.mark, self.home = problem, mark, os.getpid()

    def set_annotation(self, problem, hidden):
        """It needs none."""

    def predict(self, request, token):
        """Bright is the structure."""
        if os.getpid() != self.home and request.step == (1, 1, 1) and not self.mark.exists():
            self.mark.write_text("")
            os._exit(1)
        image = self.problem.image.part(request.box)[(slice(None), *request.within_box)]
        return torch.cat([-image, image]).softmax(0)


@dataclass(frozen=True)
class MortalRecipe:
    """A recipe from outside the package."""

    mark: Path
    name: ClassVar[str] = "mortal"
    prior_weight: float = 1.0
    warmup: int = 0

    def suits(self, problem, seconds, device):
        """Always."""
        return True

    def make(self, problem, seed, device):
        """The expert."""
        return Mortal(problem, self.mark)


def test_a_process_that_dies_costs_its_part(case, tmp_path):
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    volume, labels = case
    problem = make_problem(volume, labels, 10.0, 1500)
    ensemble = Ensemble(problem, [MortalRecipe(tmp_path / "dead")], 0, CPU)
    ours = found(problem, ensemble)
    with connect("local:2") as cluster:
        theirs = found(problem, ensemble, lend=hands_of(cluster, tmp_path))
    assert (tmp_path / "dead").exists()
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_file_that_somebody_changed_is_not_read(case, tmp_path):
    problem, ensemble = trained(case)

    class Changing(Backwards):
        def run(self, *given, **more):
            (file,) = tmp_path.rglob("*.pickle")
            file.write_bytes(file.read_bytes() + b"x")
            yield from super().run(*given, **more)

    with pytest.raises(JobError, match="is not the one that was written"):
        found(problem, ensemble, lend=hands_of(Changing(), tmp_path))


def test_an_annotation_is_sent_packed(case):
    _, labels = case
    packed = pickle.dumps(labels)
    assert len(packed) < labels.array.size / 4
    again = pickle.loads(packed)
    np.testing.assert_array_equal(again.array, labels.array)
    assert replace(again, array=labels.array).planes == labels.planes
    again.array[0, 0, 0] = 1

"""Prediction slice by slice: orientations, strides and boxes."""

import pytest
import torch
from phantoms import blob

from SparseSegLib.annotation import Plane, keep_planes
from SparseSegLib.control import CancelSource, CancelToken
from SparseSegLib.densify.experts import Request
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.slice_features import SliceFeatures
from SparseSegLib.densify.slicewise import SlicewisePredictor, _fill
from SparseSegLib.errors import Canceled

CPU = torch.device("cpu")


def _gray(inputs):
    """Logits from the slice's own gray values, so that every orientation says the same."""
    own = inputs[:, 1:2]
    return torch.cat([-own, own], 1)


@pytest.fixture(scope="module")
def problem():
    phantom = blob()
    labels = keep_planes(phantom.labels, phantom.volume.geometry, [Plane(0, 12), Plane(1, 16)])
    return make_problem(phantom.volume, labels, 0.1, 10**6)


@pytest.fixture(scope="module")
def predictor(problem):
    return SlicewisePredictor(SliceFeatures(problem, (), 1), _gray, 2, CPU)


def _expected(problem):
    return torch.cat([-problem.image.values, problem.image.values]).softmax(0)


def test_the_first_time_of_a_network_is_not_what_it_usually_takes(problem, monkeypatch):
    now, took = [0.0], iter([50.0, 1.0])

    def network(inputs):
        now[0] += next(took)
        return _gray(inputs)

    monkeypatch.setattr("SparseSegLib.densify.slicewise.time.monotonic", lambda: now[0])
    predictor = SlicewisePredictor(SliceFeatures(problem, (), 1), network, 2, CPU)
    request = Request.whole(problem)
    slices = [len(request.places[axis]) for axis in predictor.features.axes]
    assert predictor.seconds(request, (0, 1)) < sum(slices), "three slices of the smallest orientation in a second"


def test_every_voxel_gets_what_its_slices_say(problem, predictor):
    assert predictor.features.axes == [0, 1]
    found = predictor.predict(Request.whole(problem), (0, 1), CancelToken())
    torch.testing.assert_close(found, _expected(problem))


def test_a_box_is_a_part_of_the_whole(problem, predictor):
    box = (slice(2, 5), slice(3, 9), slice(0, 11))
    found = predictor.predict(Request(box), (0, 1), CancelToken())
    torch.testing.assert_close(found, _expected(problem)[(slice(None), *box)])


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_slices_between_are_interpolated(problem, predictor, stride):
    found = predictor.predict(Request.whole(problem, stride, quick=True), (0, 1), CancelToken())
    expected = _expected(problem)
    axis = 1 + min((0, 1), key=lambda axis: problem.image.shape[1 + axis])
    last = (expected.shape[axis] - 1) // stride
    for index in range(last):
        low, high = (expected.select(axis, (index + step) * stride) for step in (0, 1))
        for between in range(stride):
            wanted = torch.lerp(low, high, between / stride)
            torch.testing.assert_close(found.select(axis, index * stride + between), wanted)
    for index in range(last * stride, expected.shape[axis]):
        torch.testing.assert_close(found.select(axis, index), expected.select(axis, last * stride))


def test_planes_are_seen_from_their_own_orientation(problem, predictor):
    for plane, found in zip(
        planes := [Plane(0, 3), Plane(1, 5)], predictor.predict_planes(planes, (0, 1), CancelToken()), strict=True
    ):
        torch.testing.assert_close(found, _expected(problem).select(1 + plane.axis, plane.index))


def test_less_careful_requests_take_less_time(problem, predictor):
    whole, quick, thin = (
        predictor.seconds(request, (0, 1))
        for request in (
            Request.whole(problem),
            Request.whole(problem, quick=True),
            Request.whole(problem, 4, quick=True),
        )
    )
    assert whole > quick > thin > 0
    assert thin == pytest.approx(quick / 4, rel=0.3)


def test_who_cancels_waits_for_one_group_of_slices_at_most(problem, predictor):
    source = CancelSource()
    source.cancel()
    with pytest.raises(Canceled):
        predictor.predict(Request.whole(problem), (0, 1), source.token)


def test_between_two_slices_lies_their_mean():
    slices = torch.arange(3.0).view(3, 1, 1, 1)
    assert _fill(None, slices, 2).flatten().tolist() == [0, 0.5, 1, 1.5, 2]
    assert _fill(slices[-1], slices[-1:] + 1, 2).flatten().tolist() == [2.5, 3]

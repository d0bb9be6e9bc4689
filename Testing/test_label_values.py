"""Labels of any values: what occurs is a class, and results have the user's own values and names again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from cohort_helpers import SIZE, SMALL, Listener
from phantoms import blob, multi_class

from SparseSegLib.annotation import (
    UNLABELED,
    Plane,
    SparseLabels,
    keep_planes,
    read_sparse_labels,
    sparsify,
    write_sparse_labels,
)
from SparseSegLib.cli import main
from SparseSegLib.control import CancelSource, Control, Mailbox
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.errors import AnnotationError
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry
from SparseSegLib.io import SegmentInfo, read_labels, write_image, write_labels
from SparseSegLib.models import load_card
from SparseSegLib.worker.densify_task import densify_task
from SparseSegLib.worker.segment_task import segment_task
from SparseSegLib.worker.train_task import train_task

GRID = Geometry.identity(SIZE)
OWN = np.array([0, 17, 2035, 53], np.int32)
"""Values that FreeSurfer could have given to the phantom's three structures."""

NAMES = ("shell", "core", "rod")
STEPS = {"budget_steps": 2, "device": "cpu", "estimate": False}


@pytest.fixture(scope="module")
def phantom():
    return multi_class(GRID)


@pytest.fixture
def drawn(phantom, tmp_path):
    """A volume, and labels of three large values drawn on a few of its slices."""
    write_image(phantom.volume.array, GRID, tmp_path / "t1.nrrd")
    labels = sparsify(phantom.labels, GRID, (2, 2, 2), NAMES)
    labels = replace(labels, values=tuple(OWN[1:].tolist()))
    write_sparse_labels(labels, tmp_path / "drawn.nrrd")
    write_sparse_labels(labels, tmp_path / "drawn.seg.nrrd")
    return labels


@pytest.mark.parametrize("name", ["drawn.nrrd", "drawn.seg.nrrd"])
def test_files_have_the_users_values_and_the_engine_counts_from_one(drawn, tmp_path, name):
    again = read_sparse_labels(tmp_path / name)
    assert dict(zip(again.own_values, again.own_names, strict=True)) == {17: "shell", 53: "rod", 2035: "core"}
    assert again.classes == 4
    assert again.planes == drawn.planes
    own = np.array([0, *again.own_values])
    np.testing.assert_array_equal(own[again.array[again.labeled]], OWN[drawn.array[drawn.labeled]])
    raw, _, segments = read_labels(tmp_path / name)
    assert {17, 53, 2035} <= set(np.unique(raw))
    if name.endswith(".seg.nrrd"):
        assert {one.value: one.name for one in segments} == {17: "shell", 53: "rod", 2035: "core"}


@pytest.mark.parametrize("ending", [".nrrd", ".seg.nrrd", ".nii.gz"])
def test_densify_returns_the_users_values(drawn, phantom, tmp_path, ending):
    inputs = {"volumes": ["t1.nrrd"], "labels": "drawn.nrrd"}
    events = Previews()
    job = {"inputs": inputs, "settings": {**STEPS, "dense": f"dense{ending}", "preview_seconds": 0.1}}
    densify_task(tmp_path, job, Control(events=events))
    found, _, segments = read_labels(tmp_path / f"dense{ending}")
    assert set(np.unique(found)) == {0, 17, 53, 2035}
    assert all(set(np.unique(labels)) <= {0, 17, 53, 2035} for labels in events.previews)
    np.testing.assert_array_equal(found[drawn.labeled], OWN[phantom.labels][drawn.labeled])
    if ending == ".seg.nrrd":
        assert {one.value: one.name for one in segments} == {17: "shell", 53: "rod", 2035: "core"}


def test_gaps_cost_nothing_and_change_nothing(phantom):
    settings = DensifySettings(**STEPS)
    plain = keep_planes(phantom.labels, GRID, [Plane(0, 10), Plane(1, 12)])
    gaps = keep_planes(OWN[phantom.labels], GRID, plain.planes, values=tuple(OWN[1:].tolist()))
    first, second = (densify(phantom.volume, labels, settings) for labels in (plain, gaps))
    np.testing.assert_array_equal(OWN[first.labels], second.labels)


def test_a_segment_that_is_empty_is_no_class_and_stays_in_the_list(phantom, tmp_path):
    write_image(phantom.volume.array, GRID, tmp_path / "t1.nrrd")
    labels = keep_planes(np.array([0, 1, 0, 3], np.uint8)[phantom.labels], GRID, [Plane(0, 10), Plane(1, 12)], NAMES)
    write_sparse_labels(labels, tmp_path / "drawn.seg.nrrd")
    again = read_sparse_labels(tmp_path / "drawn.seg.nrrd")
    assert (again.own_values, again.own_names, again.empty) == ((1, 3), ("shell", "rod"), ((2, "core"),))
    inputs = {"volumes": ["t1.nrrd"], "labels": "drawn.seg.nrrd"}
    densify_task(tmp_path, {"inputs": inputs, "settings": STEPS}, Control())
    found, _, segments = read_labels(tmp_path / "dense.seg.nrrd")
    assert set(np.unique(found)) == {0, 1, 3}
    assert [(one.value, one.name) for one in segments] == list(enumerate(NAMES, start=1))


def test_a_class_that_is_drawn_later_joins_in(phantom, monkeypatch):
    monkeypatch.setattr("SparseSegLib.training.loop.REPORT_SECONDS", 0.0)
    few = keep_planes(np.array([0, 17, 0, 0])[phantom.labels], GRID, [Plane(0, 10)], ("shell",), (17,))
    more = keep_planes(OWN[phantom.labels], GRID, [Plane(0, 10), Plane(1, 12)], NAMES, tuple(OWN[1:].tolist()))
    updates = Mailbox()
    events = Listener(2, lambda: updates.put(more))
    result = densify(
        phantom.volume,
        few,
        DensifySettings(**{**STEPS, "budget_steps": 6}),
        Control(CancelSource().token, events, updates),
    )
    assert set(np.unique(result.labels)) == {0, 17, 53, 2035}
    assert any("starting over" in text for text in events.messages)


def test_a_kept_job_starts_over_with_other_values_and_goes_on_with_the_same(phantom, tmp_path):
    labels = keep_planes(OWN[phantom.labels], GRID, [Plane(0, 10), Plane(1, 12)], NAMES, tuple(OWN[1:].tolist()))
    other = replace(labels, values=(17, 2035, 54), array=np.where(labels.scribbles, UNLABELED, labels.array))
    other = other.without(Plane(1, 12))
    checkpoint = tmp_path / "checkpoint.pt"
    densify(phantom.volume, labels, DensifySettings(**STEPS), checkpoint=checkpoint)
    for drawn, words in ((labels.without(Plane(1, 12)), "Starting from the weights"), (other, "starting over")):
        events = Listener()
        densify(phantom.volume, drawn, DensifySettings(**STEPS), Control(events=events), checkpoint)
        assert any(words in text for text in events.messages)


def test_a_model_keeps_the_values_that_it_learned_from(tmp_path):
    cases = []
    for seed in range(2):
        one = multi_class(GRID, seed=seed)
        write_image(one.volume.array, GRID, tmp_path / f"c{seed}.nrrd")
        write_labels(OWN[one.labels], GRID, tmp_path / f"c{seed}-labels.nii.gz")
        names = {"17": "shell", "2035": "core", "53": "rod", "99": "nowhere"}
        cases.append({"volumes": [f"c{seed}.nrrd"], "labels": f"c{seed}-labels.nii.gz", "dense": True, "names": names})
    events = Listener()
    settings = {"network": "unet3d-small", "arguments": SMALL, "patch": [16] * 3, "budget_steps": 60, "device": "cpu"}
    train_task(tmp_path, {"inputs": {"cases": cases}, "settings": settings}, Control(events=events))
    assert any("nowhere is in none of the cases" in text for text in events.messages)
    card = load_card(tmp_path / "bundle")
    assert [(label.value, label.name) for label in card.labels] == [(17, "shell"), (53, "rod"), (2035, "core")]
    job = {"inputs": {"cases": [{"volumes": ["c0.nrrd"]}]}, "settings": {"model": "bundle", "device": "cpu"}}
    _, figures = segment_task(tmp_path, job, Control())
    found, _, segments = read_labels(tmp_path / "c0.seg.nrrd")
    assert set(np.unique(found)) <= {0, 17, 53, 2035}
    assert (found > 0).any()
    assert [one.value for one in segments] == [17, 53, 2035]
    assert figures["cases"][0]["voxels"] == {one.name: int((found == one.value).sum()) for one in segments}


def test_an_adapted_model_keeps_its_values_and_its_order(tmp_path):
    one = multi_class(GRID)
    write_image(one.volume.array, GRID, tmp_path / "c.nrrd")
    segments = [SegmentInfo(value, name, (1.0, 0.0, 0.0)) for value, name in zip((17, 2035, 53), NAMES, strict=True)]
    write_labels(OWN[one.labels], GRID, tmp_path / "old.seg.nrrd", segments)
    turned = [SegmentInfo(value, name, (1.0, 0.0, 0.0)) for value, name in zip((3, 1, 2), NAMES, strict=True)]
    write_labels(np.array([0, 3, 1, 2])[one.labels], GRID, tmp_path / "new.seg.nrrd", turned)
    settings = {"network": "unet3d-small", "arguments": SMALL, "patch": [16] * 3, "budget_steps": 2, "device": "cpu"}
    for labels, more in (("old", {}), ("new", {"start": str(tmp_path / "old")})):
        cases = [{"volumes": ["c.nrrd"], "labels": f"{labels}.seg.nrrd", "dense": True}]
        chosen = {**settings, "bundle": labels, **more}
        if more:
            chosen = {key: value for key, value in chosen.items() if key not in ("network", "arguments")}
        (tmp_path / "checkpoint.pt").unlink(missing_ok=True)
        train_task(tmp_path, {"inputs": {"cases": cases}, "settings": chosen}, Control())
    old, new = (load_card(tmp_path / name).labels for name in ("old", "new"))
    assert [(label.value, label.name) for label in old] == [(label.value, label.name) for label in new]


def test_two_structures_of_one_name_are_not_learned_as_one(tmp_path):
    one = multi_class(GRID)
    write_image(one.volume.array, GRID, tmp_path / "c.nrrd")
    segments = [SegmentInfo(value, name, (1.0, 0.0, 0.0)) for value, name in enumerate(("a", "A ", "b"), start=1)]
    write_labels(one.labels, GRID, tmp_path / "c.seg.nrrd", segments)
    cases = [{"volumes": ["c.nrrd"], "labels": "c.seg.nrrd", "dense": True}]
    with pytest.raises(AnnotationError, match="two structures called") as caught:
        train_task(tmp_path, {"inputs": {"cases": cases}, "settings": {"device": "cpu"}}, Control())
    assert caught.value.hint


def test_dense_labels_that_have_unlabeled_voxels_are_refused(tmp_path):
    one = blob(GRID)
    write_image(one.volume.array, GRID, tmp_path / "c.nrrd")
    labels = one.labels.copy()
    labels[0] = UNLABELED
    write_labels(labels, GRID, tmp_path / "l.nrrd")
    cases = [{"volumes": ["c.nrrd"], "labels": "l.nrrd", "dense": True}]
    with pytest.raises(AnnotationError, match="255"):
        train_task(tmp_path, {"inputs": {"cases": cases}, "settings": {"device": "cpu"}}, Control())


def test_the_command_line_makes_sparse_labels_of_any_values(phantom, tmp_path, capsys):
    write_labels(OWN[phantom.labels], GRID, tmp_path / "aseg.nii.gz")
    assert main(["sparsify", str(tmp_path / "aseg.nii.gz"), "-o", str(tmp_path / "s.nrrd"), "--json"]) == 0
    labels = read_sparse_labels(tmp_path / "s.nrrd")
    assert labels.own_values == (17, 53, 2035)
    capsys.readouterr()
    assert main(["planes", str(tmp_path / "s.nrrd"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["names"] == ["Segment_17", "Segment_53", "Segment_2035"]
    write_labels(np.where(phantom.labels == 1, 255, 0), GRID, tmp_path / "b.nrrd")
    assert main(["sparsify", str(tmp_path / "b.nrrd"), "-o", str(tmp_path / "t.nrrd")]) == AnnotationError.exit_code


def test_more_structures_than_a_byte_holds_are_refused(tmp_path):
    array = np.zeros((3, 20, 20), np.uint16)
    array[1].flat[:300] = np.arange(1000, 1300)
    write_labels(array, Geometry.identity(array.shape), tmp_path / "a.nrrd")
    with pytest.raises(AnnotationError, match="300 structures") as caught:
        read_sparse_labels(tmp_path / "a.nrrd")
    assert caught.value.hint


def test_annotations_of_other_values_are_merged_by_them(phantom):
    own = OWN[phantom.labels]
    first = keep_planes(np.where(own == 53, 0, own), GRID, [Plane(0, 10)], ("shell", "core"), (17, 2035))
    second = keep_planes(np.where(own == 17, 0, own), GRID, [Plane(1, 12)], ("core", "rod"), (2035, 53))
    both = first.merge(second)
    assert (both.own_values, both.own_names) == ((17, 53, 2035), ("shell", "rod", "core"))
    np.testing.assert_array_equal(
        np.array([0, *both.own_values])[both.array[:, 12]], np.where(own == 17, 0, own)[:, 12]
    )


def test_labels_of_classes_without_a_voxel_are_compacted():
    array = np.full(GRID.shape, UNLABELED, np.uint8)
    array[3], array[4], array[5] = 0, 2, 4
    labels = SparseLabels(array, GRID, names=("a", "b", "c")).compact()
    assert (labels.own_values, labels.own_names) == ((2, 4), ("b", "Segment_4"))
    assert labels.empty == ((1, "a"), (3, "c"))
    assert labels.compact() is labels
    assert iou(labels.array == 2, array == 4) == 1


def test_labels_that_leave_nothing_unlabeled_keep_their_background(phantom, tmp_path):
    labels = SparseLabels(phantom.labels, GRID, (Plane(0, 10),), NAMES)
    write_sparse_labels(labels, tmp_path / "a.nrrd")
    again = read_sparse_labels(tmp_path / "a.nrrd", GRID)
    np.testing.assert_array_equal(again.array, labels.array)
    assert again.planes == labels.planes


class Previews(Listener):
    """Keeps the labels of previews."""

    def __init__(self):
        super().__init__()
        self.previews = []

    def preview(self, result):
        self.previews.append(result.labels)

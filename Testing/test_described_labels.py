"""Data sets as nnU-Net describes them: ignored voxels, regions, no list of cases; and what is no description."""

import json

import numpy as np
import pytest
from cohort_helpers import QUICK, SIZE, SMALL, Listener
from phantoms import multi_class

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.cli import main
from SparseSegLib.cohort import make_dataset, read_description, read_examples
from SparseSegLib.cohort.described_labels import described_labels
from SparseSegLib.control import Control
from SparseSegLib.errors import FileError, SparseSegError
from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.models import load_card
from SparseSegLib.protocol import read_job
from SparseSegLib.worker.train_task import train_task

GRID = Geometry.identity(SIZE)
IGNORE = 4
LABELS = {"background": 0, "shell": 1, "core": 2, "rod": 3, "ignore": IGNORE}


@pytest.fixture
def folder(tmp_path):
    """Two cases in nnU-Net's order, of which all but two slices are ignored."""
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / part).mkdir()
    for seed in range(2):
        phantom = multi_class(GRID, seed=seed)
        labels = np.full(SIZE, IGNORE, np.uint8)
        for plane in (Plane(0, 10), Plane(1, 12)):
            labels[plane.voxels] = phantom.labels[plane.voxels]
        write_image(phantom.volume.array, GRID, tmp_path / "imagesTr" / f"c_{seed}_0000.nii.gz")
        write_labels(labels, GRID, tmp_path / "labelsTr" / f"c_{seed}.nii.gz")
    return tmp_path


def _describe(folder, **other):
    content = {"channel_names": {"0": "MRI"}, "labels": LABELS, "numTraining": 2, "file_ending": ".nii.gz"}
    path = folder / "dataset.json"
    path.write_text(json.dumps({**content, **other}), encoding="utf-8")
    return path


@pytest.mark.parametrize("dense", [True, False])
def test_what_is_ignored_is_unlabeled(folder, dense):
    description = read_description(_describe(folder))
    assert description.ignore == IGNORE
    examples, spacing = read_examples(description.files(dense=dense), None)
    dataset = make_dataset(examples, spacing)
    assert [example.name for example in examples] == ["c_0", "c_1"]
    assert dataset.names == ("shell", "core", "rod")
    for seed, example in enumerate(dataset.examples):
        truth = multi_class(GRID, seed=seed).labels
        known = np.zeros(SIZE, bool)
        known[10], known[:, 12] = True, True
        np.testing.assert_array_equal(example.labels, np.where(known, truth, UNLABELED))


def test_regions_that_are_ignored_here_and_there_keep_all_other_voxels(folder):
    for seed in range(2):
        labels = multi_class(GRID, seed=seed).labels.copy()
        labels[3:6, 3:9, 3:9] = IGNORE
        write_labels(labels, GRID, folder / "labelsTr" / f"c_{seed}.nii.gz")
    files = read_description(_describe(folder)).files(dense=True)
    examples, _ = read_examples(files, (2.0, 2.0, 2.0))
    shares = [(example.labels == UNLABELED).mean() for example in examples]
    assert all(0 < share < 0.05 for share in shares)


def test_the_command_line_learns_from_labels_with_ignored_voxels(folder, tmp_path, monkeypatch, capsys):
    def finish(job, console):
        files, figures = train_task(job.folder, read_job(job.folder), Control())
        return {"files": files, "figures": figures}

    monkeypatch.setattr("SparseSegLib.cli.train.finish_job", finish)
    options = ["--steps", "1", "--patch", "16", "16", "16", "--device", "cpu"]
    output = tmp_path / "model"
    assert main(["train", "--dense", str(_describe(folder)), "-o", str(output), *options]) == 0
    assert [label.name for label in load_card(output).labels] == ["shell", "core", "rod"]


def test_regions_become_structures_and_sums_of_them(folder, tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "inner": [2, 3], "rod": 3, "ignore": IGNORE}
    description = read_description(_describe(folder, labels=labels, regions_class_order=[1, 2, 3]))
    assert description.structures == {1: "whole without inner", 2: "inner without rod", 3: "rod"}
    cases = [
        {
            "volumes": [str(path) for path in case.volumes],
            "labels": str(case.labels),
            "names": {str(value): name for value, name in case.names.items()},
            "ignore": case.ignore,
        }
        for case in description.files(dense=True)
    ]
    events = Listener()
    settings = {"network": QUICK.network, "arguments": SMALL, "patch": [16] * 3, "budget_steps": 1, "device": "cpu"}
    job = {"inputs": {"cases": cases}, "settings": {**settings, "regions": list(description.regions)}}
    train_task(tmp_path, job, Control(events=events))
    assert load_card(tmp_path / "bundle").arguments["regions"] == ["1+2+3", "2+3", "3"]


def test_regions_need_not_lie_in_the_order_of_their_values():
    found = described_labels({"background": 0, "all": [1, 2, 3], "masses": [2, 3], "tumor": 2})
    assert found.structures == {1: "all without masses", 2: "tumor", 3: "masses without tumor"}
    assert found.regions == (
        "all without masses+tumor+masses without tumor",
        "tumor+masses without tumor",
        "tumor",
    )


@pytest.mark.parametrize(
    "labels",
    [
        None, [], "liver", 3, {}, {"0": "background"}, {"liver": None}, {"liver": 1.5}, {"liver": -1}, {"liver": True},
        {"liver": 1, "vein": 1}, {"liver": 1, "Liver ": 2}, {"1": 2}, {"1": ""}, {"1": None}, {"liver": []},
        {"background": 1, "liver": 2}, {"liver": 1, "ignore": 0}, {"liver": 1, "ignore": [2, 3]},
        {"liver": 1, "ignore": 1}, {"a": [1, 2], "b": 3}, {"a": [1, [2]]}, {"liver": 2**40}, {"9" * 5000: "liver"},
        {"a+b": [1, 2], "c": 2},
    ],
)  # fmt: skip
def test_labels_that_cannot_be_are_refused(folder, labels):
    with pytest.raises(FileError) as caught:
        read_description(_describe(folder, labels=labels))
    assert caught.value.hint
    assert len(caught.value.message) < 500


IMAGE, LABEL = "imagesTr/c_0_0000.nii.gz", "labelsTr/c_0.nii.gz"


@pytest.mark.parametrize(
    "other",
    [
        {"training": [{"image": "../../etc/passwd", "label": LABEL}]},
        {"training": [{"image": IMAGE, "label": "/etc/passwd"}]},
        {"training": [{"image": "imagesTr/../../x.nii.gz", "label": LABEL}]},
        {"training": [{"image": [], "label": LABEL}]},
        {"training": [{"image": [3], "label": LABEL}]},
        {"training": [{"image": {}, "label": LABEL}]},
        {"training": [{"image": "a\0b", "label": LABEL}]},
        {"training": [{"image": "x" * 5000, "label": LABEL}]},
        {"training": [{"image": "", "label": LABEL}]},
        {"training": [{"image": ".", "label": LABEL}]},
        {"training": [{"image": IMAGE}]},
        {"training": [3]},
        {"training": ["x"]},
        {"training": {"a": 1}},
        {"training": 7},
        {"channel_names": {"zero": "MRI"}},
        {"channel_names": 3},
        {"channel_names": [3]},
        {"file_ending": 3},
        {"file_ending": ".mha"},
    ],
)
def test_a_description_that_cannot_be_is_refused_in_words(folder, other):
    with pytest.raises(FileError) as caught:
        read_description(_describe(folder, **other))
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"\xff\xfe", b"[" * 200_000, b'{"labels": NaN}', b'{"labels": {"a": 1e999}}', b"nul", b"3"]
)
def test_files_that_are_no_description_are_refused_in_words(folder, text):
    (folder / "dataset.json").write_bytes(text)
    with pytest.raises(FileError):
        read_description(folder / "dataset.json")
    (folder / "dataset.json").unlink()
    (folder / "dataset.json").mkdir()
    with pytest.raises(FileError):
        read_description(folder / "dataset.json")


def test_images_may_be_listed_without_the_numbers_of_their_channels(folder):
    training = [{"image": f"./imagesTr/c_{seed}.nii.gz", "label": f"./labelsTr/c_{seed}.nii.gz"} for seed in range(2)]
    description = read_description(_describe(folder, training=training))
    assert [[path.name for path in images] for _, images, _ in description.cases] == [
        ["c_0_0000.nii.gz"],
        ["c_1_0000.nii.gz"],
    ]


def test_a_case_that_is_there_twice_is_refused_and_cases_of_one_name_are_told_apart(folder, tmp_path):
    case = {"volumes": [str(folder / IMAGE)], "labels": str(folder / LABEL), "ignore": IGNORE}
    settings = {"network": QUICK.network, "arguments": SMALL, "patch": [16] * 3, "budget_steps": 1, "device": "cpu"}
    with pytest.raises(SparseSegError, match="2 times"):
        train_task(tmp_path, {"inputs": {"cases": [case, case]}, "settings": settings}, Control())
    other = {**case, "labels": str(folder / "labelsTr/c_1.nii.gz")}
    job = {"inputs": {"cases": [case, other]}, "settings": {**settings, "folds": 2}}
    train_task(tmp_path, job, Control())
    rows = json.loads((tmp_path / "folds.json").read_text(encoding="utf-8"))["cases"]
    assert sorted(row["case"] for row in rows) == ["c_0_0000", "c_0_0000 (2)"]

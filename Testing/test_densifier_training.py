"""The training of the generalist, tiny: its problems, its supply, resuming, pausing, its curve."""

import csv
from collections import deque

import numpy as np
import pytest
import torch
from Experiments.pretraining import densifier, problems, real_worlds, supply
from Experiments.pretraining.generalist_learner import (
    GeneralistLearner,
    Recipe,
    evaluate,
    structure_loss,
    summarized,
)
from Experiments.synthesis import worlds
from Experiments.synthesis.space import Space

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.control import CancelSource
from SparseSegLib.densify.experts.generalist import FILE, load_generalist
from SparseSegLib.densify.generalist_features import LAYOUT
from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.training.checkpoint import load_checkpoint

SMALL = (20, 24, 22)


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Volumes of ten thousand voxels, so that a problem takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds.Space, "random", classmethod(lambda cls, rng: Space(SMALL, (1.0, 1.0, 1.0), rng)))
        yield


@pytest.fixture(scope="module")
def made():
    return [problems.make_slices(number) for number in range(3)]


@pytest.fixture(scope="module")
def judged():
    return [problems.make_slices(number, None, 0, problems.JUDGE) for number in range(2)]


@pytest.fixture
def train(tmp_path):
    """Runs the training, tiny, into a folder; problems are made by itself."""

    def run(folder, *more, token=None):
        given = ["-o", str(tmp_path / folder), "--processes", "0", "--judges", "2", "--kept", "3", "--least", "2"]
        given += ["--widths", "4", "6", "8", "--batch", "2", "--every", "2", "--device", "cpu", "--threads", "1"]
        return densifier.main([*given, *more], token)

    return run


def test_a_problem_has_slices_as_the_expert_sees_them(made):
    for one in made:
        assert len(one.inputs) == len(one.labels) == problems.SLICES
        for inputs, labels in zip(one.inputs, one.labels, strict=True):
            assert inputs.shape == (LAYOUT.channels(one.channels), *labels.shape)
            assert bool(torch.isfinite(inputs).all())
            assert set(labels.unique().tolist()) <= {0, 1}
        assert not one.found
        assert any(bool(labels.any()) for labels in one.labels)
    again = problems.make_slices(1)
    assert all(torch.equal(one, other) for one, other in zip(again.inputs, made[1].inputs, strict=True))


def test_problems_to_be_judged_by_are_of_other_kinds_and_say_what_others_find(judged):
    assert [one.known for one in judged] == [True, False]
    assert judged[1].kind in worlds.HELD_OUT
    assert {"walk", "fill"} <= set(judged[0].found)
    for one in judged:
        for found in one.found.values():
            assert [part.shape for part in found] == [labels.shape for labels in one.labels]


def test_files_of_problems_come_back(tmp_path, judged):
    torch.save(judged[0].state(), tmp_path / "one.pt")
    again = supply.load(tmp_path / "one.pt")
    assert (again.kind, again.known, set(again.found)) == (judged[0].kind, True, set(judged[0].found))
    assert torch.equal(again.inputs[0], judged[0].inputs[0])


def test_the_supply_forgets_the_oldest_and_goes_on_where_it_was(tmp_path, monkeypatch):
    def make(number, data, seed, purpose):
        size = 4 + number
        blank = torch.zeros(LAYOUT.channels(1), size, size).half()
        return problems.Slices(f"kind {number}", True, 1, [blank], [torch.zeros(size, size).byte()], [])

    monkeypatch.setattr(supply, "make_slices", make)
    first = supply.Supply(tmp_path, None, 0, 0, 2, print)
    for _ in range(3):
        first.refresh()
    assert [one.kind for one in first.problems] == ["kind 1", "kind 2"]
    again = supply.Supply(tmp_path, None, 0, 0, 2, print)
    assert [one.kind for one in again.problems] == ["kind 1", "kind 2"]
    again.refresh()
    assert again.made == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == ["00000002.pt", "00000003.pt"]


@pytest.mark.slow
def test_other_processes_make_problems(tmp_path):
    """In volumes of the usual size, as the patch of this file is not there."""
    other = supply.Supply(tmp_path, None, 0, 1, 4, pytest.fail)
    try:
        while not other.problems:
            other.refresh()
    finally:
        other.close()
    assert other.problems[0].channels >= 1


def test_the_loss_leaves_out_what_is_not_labeled():
    logits, labels = torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), UNLABELED)
    labels[0, 0, 0], labels[0, 0, 1] = 1, 0
    wrong = logits.clone()
    wrong[0, 1] = 100
    torch.testing.assert_close(structure_loss(wrong, labels), structure_loss(logits, labels))
    right = logits.clone()
    right[0, 0, 0], right[0, 0, 1] = 20, -20
    assert float(structure_loss(right, labels)) < 0.01


def test_a_learner_learns_its_problems(made):
    recipe = Recipe((4, 6, 8), problems=2, crop=16, learning_rate=1e-2, warmup=1)
    learner = GeneralistLearner(recipe, 0, torch.device("cpu"))
    alike = deque(one for one in made if one.channels == made[0].channels)
    losses = [learner.step(alike, 0.0) for _ in range(40)]
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
    assert learner.steps == 40


def test_figures_are_those_of_each_kind_beside_the_peers(judged):
    learner = GeneralistLearner(Recipe((4, 6, 8)), 0, torch.device("cpu"))
    rows = evaluate(learner.averaged.network, judged, torch.device("cpu"))
    found = summarized(rows)
    assert {"new ours", "new walk", "new fill", "known ours", judged[0].kind, judged[1].kind} <= set(found)
    assert all(0 <= value <= 1 for value in found.values())


def test_a_peer_that_cannot_do_every_problem_is_compared_where_it_can():
    rows = [{"kind": "a", "known": False, "ours": 0.2}, {"kind": "a", "known": False, "ours": 0.6, "slice_unet": 0.5}]
    found = summarized(rows)
    assert found == {"new ours": 0.4, "new slice_unet": 0.5, "new ours where slice_unet": 0.6, "a": 0.4}


def test_it_is_resumed_to_the_same_weights_as_in_one_go(tmp_path, train):
    assert train("whole", "--steps", "6") == 0
    assert train("parts", "--steps", "6", token=_Ending(5)) == 0
    assert load_checkpoint(tmp_path / "parts" / densifier.CHECKPOINT)["learner"]["steps"] == 3
    assert train("parts", "--steps", "6") == 0
    whole, parts = (load_checkpoint(tmp_path / name / densifier.CHECKPOINT)["learner"] for name in ("whole", "parts"))
    for name, value in whole["network"].items():
        torch.testing.assert_close(parts["network"][name], value)
    load_generalist(str(tmp_path / "parts" / FILE))
    with open(tmp_path / "whole" / densifier.CURVE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "6"]
    assert 0 <= float(rows[0]["new walk"]) <= 1
    assert rows[0]["new walk"] == rows[1]["new walk"], "the peers are measured once"


class _Ending:
    """A token that stops after so many looks at it: one before each problem to begin with, and before each step."""

    def __init__(self, looks):
        self.looks = looks

    @property
    def stopped(self):
        self.looks -= 1
        return self.looks < 0


def test_a_training_with_other_settings_is_refused(tmp_path, train, capsys):
    assert train("one", "--steps", "1") == 0
    assert train("one", "--steps", "2", "--rate", "1") != 0
    assert "other settings" in capsys.readouterr().err
    assert train("one", "--steps", "1") == 0
    assert "are done" in (tmp_path / "one" / densifier.LOG).read_text(encoding="utf-8")


def test_it_pauses_while_a_file_is_there(tmp_path, train, monkeypatch):
    pause = tmp_path / "one" / densifier.PAUSE
    pause.parent.mkdir()
    pause.touch()
    monkeypatch.setattr("Experiments.resumable.log.time.sleep", lambda seconds: pause.unlink(missing_ok=True))
    assert train("one", "--steps", "1") == 0
    log = (tmp_path / "one" / densifier.LOG).read_text(encoding="utf-8")
    assert "paused at step 0" in log
    assert "goes on" in log


def test_a_stop_before_the_first_step_leaves_a_checkpoint(tmp_path, train):
    source = CancelSource()
    source.stop()
    assert train("one", "--steps", "1", token=source.token) == 0
    assert (tmp_path / "one" / densifier.CHECKPOINT).exists()


def test_real_volumes_are_those_that_nothing_is_judged_by(tmp_path):
    truth = np.zeros((12, 40, 40), np.uint8)
    truth[3:9, 10:30, 10:30] = 1
    image = truth + np.random.default_rng(0).normal(0, 0.1, truth.shape).astype(np.float32)
    geometry = Geometry(truth.shape, (3.0, 1.0, 1.0))
    for folder, names, ends in (
        ("sarcoma", ("STS_001", "STS_002", "STS_004", "STS_008"), ("_t1", "_tumor")),
        ("prostate", ("nci_0", "promise12_demo0", "px_4"), ("_t2", "_pseudo_prostate")),
    ):
        (tmp_path / folder).mkdir()
        for name in names:
            write_image(image.astype(np.float32), geometry, tmp_path / folder / f"{name}{ends[0]}.nii.gz")
            write_labels(truth, geometry, tmp_path / folder / f"{name}{ends[1]}.nii.gz")
    assert [file.name for file in real_worlds.files_of(tmp_path)] == ["STS_002_t1.nii.gz", "px_4_t2.nii.gz", "dicom"]
    (tmp_path / "ct_abdomen").mkdir()
    write_image(image.astype(np.float32), geometry, tmp_path / "ct_abdomen" / "dicom.nii.gz")
    seen = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        kinds = (real_worlds._sarcoma, real_worlds._prostate)
        world = kinds[seed % 2](tmp_path, rng)
        seen.add(world.kind)
        assert world.image.shape[1:] == world.labels.shape
        assert (world.labels > 0).sum() > 100
    assert seen == {"sarcoma", "prostate"}

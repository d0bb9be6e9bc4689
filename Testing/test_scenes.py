"""Generated volumes of many kinds, and the episodes that the network to start from learned from."""

import numpy as np
import pytest
from Experiments.synthesis.scenes import KINDS, random_scene

from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image, write_labels


@pytest.fixture(scope="module")
def scenes():
    return [random_scene(np.random.default_rng(seed)) for seed in range(10)]


def test_scenes_are_of_all_kinds_and_sizes(scenes):
    assert {scene.kind for scene in scenes} == set(KINDS)
    assert any(max(scene.spacing) >= 2 for scene in scenes), "none has thick slices"
    for scene in scenes:
        assert scene.image.shape == scene.structure.shape
        assert scene.image.dtype == np.float32
        assert np.isfinite(scene.image).all()
        assert min(scene.spacing) == 1
    assert np.median([scene.structure.mean() for scene in scenes]) > 0.01


def test_the_structure_can_be_seen(scenes):
    """It differs from what is around it, in most of the scenes by more than the noise of its mean."""
    seen = [
        abs(scene.image[scene.structure].mean() - scene.image[~scene.structure].mean()) / scene.image.std()
        for scene in scenes
        if scene.structure.any()
    ]
    assert np.median(seen) > 0.4


def test_the_same_seed_gives_the_same_scene(scenes):
    again = random_scene(np.random.default_rng(3))
    np.testing.assert_array_equal(again.image, scenes[3].image)
    np.testing.assert_array_equal(again.structure, scenes[3].structure)


def test_an_episode_has_slices_as_the_learner_sees_them():
    from Experiments.pretraining.episodes import UNSEEN, make_episode

    episode = make_episode(0, None)
    assert len(episode.inputs) == len(episode.labels) > UNSEEN
    for inputs, labels in zip(episode.inputs, episode.labels, strict=True):
        assert inputs.shape[1:] == labels.shape
        assert float(inputs[5:].float().abs().max()) <= 1.001, "the prior lies within ±1"
        assert set(labels.unique().tolist()) <= {0, 1}
    assert any(labels.any() for labels in episode.labels)


def test_masks_whose_file_runs_the_other_way_are_brought_onto_the_image(tmp_path):
    from Experiments.pretraining.real_volumes import read_pair

    truth = np.zeros((4, 6, 5), np.uint8)
    truth[1, 1, 2:4] = 1
    there = Geometry(truth.shape, (3.0, 1.0, 1.0))
    mirrored = Geometry(truth.shape, (3.0, 1.0, 1.0), (0.0, 5.0, 0.0), (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    write_image(truth.astype(np.float32), there, tmp_path / "image.nii.gz")
    write_labels(truth[:, ::-1].copy(), mirrored, tmp_path / "labels.nii.gz")
    image, labels, spacing = read_pair(tmp_path / "image.nii.gz", tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(image, labels)
    assert spacing == (3.0, 1.0, 1.0)

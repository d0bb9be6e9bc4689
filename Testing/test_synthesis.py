"""Generated training volumes: tissue maps, phantoms, painting, what a scanner does, and batches of all that."""

import numpy as np
import pytest
import torch
from Experiments.synthesis import (
    Anatomy,
    SampleGenerator,
    SynthesisLearner,
    SynthesisSettings,
    degrade,
    paint,
    pelvis_phantom,
    random_views,
    shapes_phantom,
    tissue_map,
)
from Experiments.synthesis.appearance import hide_borders
from Experiments.synthesis.places import Views

from SparseSegLib.annotation import UNLABELED

SPACING = (2.0, 1.5, 1.5)
SIZE = (24, 40, 44)
WINDOW = (16, 16, 16)
STILL = Views((0, 0, 0), (0, 0, 0), (0, 0), deformation=0, mirror=False)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _real(seed=0):
    """A painted phantom that passes for a real volume."""
    phantom = pelvis_phantom(SIZE, SPACING, np.random.default_rng(seed))
    image = paint(phantom.tissues, phantom.detail, _generator(seed))
    tissues = tissue_map(image.numpy(), phantom.target.numpy(), SPACING, np.random.default_rng(0), around=5)
    return Anatomy.of(tissues, phantom.target.numpy(), image)


def _samples(seed=0, real=(0,), **settings):
    rng = np.random.default_rng(9)
    return SampleGenerator(
        [_real(number) for number in real],
        [pelvis_phantom(SIZE, SPACING, rng)],
        [shapes_phantom(SIZE, SPACING, rng, 4)],
        SynthesisSettings(WINDOW, SPACING, **settings),
        _generator(seed),
    )


def test_a_tissue_map_has_classes_of_its_own_in_the_structure():
    anatomy = _real()
    inside, outside = anatomy.tissues[anatomy.target], anatomy.tissues[~anatomy.target]
    assert set(inside.tolist()) == {5, 6}
    assert set(outside.tolist()) == set(range(5))
    means = [float(anatomy.image[anatomy.tissues == kind].mean()) for kind in range(5)]
    assert means == sorted(means)
    assert abs(float(anatomy.detail[anatomy.tissues == 3].mean())) < 1e-4


def test_a_pelvis_has_a_prostate_of_plausible_size_and_shapes_have_none():
    sizes = []
    for seed in range(3):
        phantom = pelvis_phantom((24, 36, 36), (3.5, 3.0, 3.0), np.random.default_rng(seed))
        sizes.append(float(phantom.target.sum()) * 31.5 / 1000)
        assert len(phantom.tissues.unique()) > 6
        assert not set(phantom.tissues[phantom.target].tolist()) & set(phantom.tissues[~phantom.target].tolist())
    assert 8 < min(sizes) < max(sizes) < 150
    assert len(set(sizes)) == 3
    shapes = shapes_phantom(SIZE, SPACING, np.random.default_rng(0))
    assert not shapes.target.any()
    assert len(shapes.tissues.unique()) > 3


def test_painting_gives_every_tissue_another_gray_value_each_time():
    phantom = pelvis_phantom(SIZE, SPACING, np.random.default_rng(0))
    generator = _generator()
    images = [paint(phantom.tissues, phantom.detail, generator) for _ in range(20)]
    contrasts = [float(image[phantom.target].mean() - image[~phantom.target].mean()) for image in images]
    assert min(contrasts) < -0.2 < 0.2 < max(contrasts)


def test_still_views_read_the_middle_of_the_structure():
    places = random_views(torch.tensor([10.0, 20.0, 22.0]), (4, 6, 8), SPACING, STILL, _generator())
    assert places.shape == (1, 4, 6, 8, 3)
    assert places[0].flatten(0, 2).mean(0).tolist() == pytest.approx([10, 20, 22], abs=1e-3)
    assert (places[0, 1, 0, 0] - places[0, 0, 0, 0]).tolist() == pytest.approx([1, 0, 0], abs=1e-3)


def test_views_are_turned_in_millimeters():
    views = Views((0, 0, 0), (0, 0.5, 0), (0, 0), deformation=0, mirror=False)
    step = torch.tensor([3.0, 1.0, 1.0])
    sideways = []
    for seed in range(4):
        places = random_views(torch.zeros(3), (9, 9, 9), (3.0, 1.0, 1.0), views, _generator(seed))[0] * step
        along, across = places[8, 4, 4] - places[0, 4, 4], places[4, 4, 8] - places[4, 4, 0]
        assert [float(along.norm()), float(across.norm())] == pytest.approx([24, 8], rel=1e-4)
        sideways.append(float(along[2].abs()))
    assert max(sideways) > 2


def test_a_scanner_keeps_the_range_and_makes_neighboring_slices_alike():
    image = torch.rand(16, 20, 20, generator=_generator()) * 2 - 1
    alike = []
    for seed in range(6):
        out = degrade(image, SPACING, _generator(seed))
        assert out.shape == image.shape
        assert torch.isfinite(out).all()
        assert out.abs().max() <= 2
        alike.append(float(torch.corrcoef(torch.stack([out[1:].flatten(), out[:-1].flatten()]))[0, 1]))
    assert float(np.mean(alike)) > 0.3


def test_what_a_narrow_view_hides_is_unlabeled_and_repeats_the_border():
    target, hidden = torch.ones(20, 20, 20, dtype=torch.uint8), 0
    for seed in range(4):
        image, labels = hide_borders(torch.rand(20, 20, 20), target, UNLABELED, _generator(seed))
        slices = (labels == UNLABELED).all(2).all(1)
        shown = (~slices).nonzero().flatten()
        assert len(shown) >= 14
        for number in slices.nonzero().flatten():
            nearest = shown[(shown - number).abs().argmin()]
            assert torch.equal(image[number], image[nearest])
            hidden += 1
    assert hidden > 3
    assert (target == 1).all()


def test_batches_are_the_same_for_the_same_seed_and_have_both_classes():
    first, second, other = (_samples(seed, absent=0.0).batch(4) for seed in (0, 0, 1))
    assert first[0].shape == (4, 1, *WINDOW)
    assert first[1].shape == (4, *WINDOW)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    assert set(first[1].unique().tolist()) <= {0, 1, UNLABELED}
    assert (first[1] == 1).any()
    assert first[0].abs().max() <= 2


def test_absent_samples_show_no_structure():
    _, labels = _samples(absent=1.0).batch(3)
    assert not (labels == 1).any()
    assert (labels == 0).any()


def test_a_realistic_sample_moves_image_and_structure_together():
    """Unchanged in place and shape, the structure lies where the real one does."""
    samples = _samples(views=STILL)
    anatomy = samples.real[0]
    _, labels = samples.realistic(anatomy)
    start = [round(float(place) - 7.5) for place in anatomy.center]
    box = tuple(slice(begin, begin + 16) for begin in start)
    assert float((labels == anatomy.target[box]).float().mean()) > 0.9


def test_a_network_learns_from_samples_and_goes_on_to_the_same_weights():
    def learner():
        return SynthesisLearner("vnet-small", {"base": 4}, _samples(absent=0.0), 1, 0)

    whole, begun = learner(), learner()
    losses = [whole.step(1.0) for _ in range(2)]
    begun.step(1.0)
    state = begun.state()
    resumed = learner()
    resumed.restore(state)
    assert resumed.step(1.0) == pytest.approx(losses[1], rel=1e-5)
    for mine, theirs in zip(whole.averaged.network.parameters(), resumed.averaged.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)

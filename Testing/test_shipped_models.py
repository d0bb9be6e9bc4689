"""The models that come with SparseSeg: sound, small, with a complete card and working plausibility checks."""

import sys

import numpy as np
import pytest
import torch

from SparseSegLib.errors import ModelError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.io import read_volume
from SparseSegLib.models import ModelLibrary, load_network
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.resources import PACKAGE, resource_folders, sample_data

CPU = torch.device("cpu")
MOST_MEGABYTES = 8.0
SHIPPED = [entry for entry in ModelLibrary("no such folder").entries() if entry.shipped]


def test_the_prostate_model_is_there():
    assert [entry.name for entry in SHIPPED] == ["prostate-vnet"]


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_a_card_says_what_it_has_to(entry):
    card = entry.card
    assert card is not None, entry.problem
    assert all((card.summary, card.data, card.license, card.date, card.intended_use))
    assert "clinical" in card.intended_use
    assert any("Dice" in name for name in card.figures)
    assert all(label.terminology for label in card.labels)
    assert card.expectations is not None
    size = sum(path.stat().st_size for path in entry.path.iterdir())
    assert size / 1e6 < MOST_MEGABYTES


def test_the_prostate_model_refuses_a_brain_a_ct_and_noise():
    (entry,) = SHIPPED
    predictor = Predictor(*load_network(entry.path, CPU), CPU)
    brain = read_volume(sample_data("mni152_t1.nrrd"))
    z, y, x = brain.geometry.shape
    crop = brain.crop((slice(z // 2 - 30, z // 2 + 30), slice(0, y), slice(0, x)))  # 60 mm, as a prostate's
    assert crop.geometry.spacing == (1.0, 1.0, 1.0)
    rng = np.random.default_rng(0)
    grid = Geometry.identity((20, 96, 96), (3.0, 2.0, 2.0))
    noise = Volume(rng.normal(500, 100, (1, *grid.shape)).astype(np.float32), grid)
    air = Volume(np.where(rng.random((1, *grid.shape)) < 0.4, -1000, 40).astype(np.float32), grid)
    for volume, reason in ((brain, "field of view"), (crop, "."), (noise, "noise"), (air, "CT")):
        with pytest.raises(ModelError, match=reason):
            predictor.segment(volume)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib comes with Python 3.11")
def test_installed_packages_have_them_where_they_are_looked_for():
    """Beside the code in a folder of its own: names that differ in case only are one folder on Windows and macOS."""
    import tomllib

    installed, checkout = resource_folders("Models")
    assert checkout.is_dir()
    settings = tomllib.loads((checkout.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    included = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for name in ("Models", "Pretrained", "SampleData"):
        assert included[f"Resources/{name}"] == f"SparseSegLib/Resources/{name}"
    assert installed == PACKAGE / "Resources" / "Models"
    assert "resources" not in {path.name for path in PACKAGE.iterdir() if path.is_dir()}

"""The gallery: each example runs, and each name of the API page has one that uses it."""

import ast
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cohort_helpers import CARD, SMALL
from phantoms import blob

from SparseSegLib.cohort import TrainSettings
from SparseSegLib.densify import DensifySettings
from SparseSegLib.image import Geometry
from SparseSegLib.models import save_bundle
from SparseSegLib.networks import create_network

ROOT = Path(__file__).resolve().parents[1]
FOLDER, PAGES = ROOT / "Resources" / "Examples", ROOT / "Resources" / "Documentation"
GEOMETRY = Geometry((16, 20, 24), (3.0, 1.0, 1.0))
STEPS = {"budget_steps": 4, "device": "cpu"}
QUICK = DensifySettings(**STEPS)
NO_NETWORK = DensifySettings(experts=("extra-trees", "random-walk"), **STEPS)
TRAINING = TrainSettings(
    network="unet3d-small", arguments={"base": 4, "levels": 2}, patch=(16, 16, 16), batch=1, **STEPS
)


@pytest.fixture(scope="module", autouse=True)
def examples_on_path():
    """The examples import what they share."""
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


def _sample(seed=0):
    from gallery import Sample

    phantom = blob(GEOMETRY, seed=seed)
    return Sample(phantom.volume, phantom.labels)


def _share_a_model(main, folder):
    """Of a network that has learned nothing: what it finds does not matter."""
    for package in ("onnx", "onnxscript", "tqdm"):
        pytest.importorskip(package)
    network = create_network("unet3d-small", 1, 2, **SMALL)
    save_bundle(folder / "tumor.zip", replace(CARD, arguments=SMALL), network.state_dict())
    main(_sample(), folder, folder / "tumor.zip")


RUNS = {
    "densify_volume": lambda main, folder: main(_sample(), folder, QUICK),
    "own_arrays": lambda main, folder: main(_sample(), folder),
    "correct_and_learn_on": lambda main, folder: main(_sample(), folder, NO_NETWORK, 2),
    "background_job": lambda main, folder: main(_sample(), folder, STEPS),
    "train_and_apply": lambda main, folder: main([_sample(1)], _sample(2), folder, TRAINING),
    "share_a_model": _share_a_model,
    "custom_expert": lambda main, folder: main(_sample(), folder, STEPS),
    "compare_segmentations": lambda main, folder: main(_sample(), folder),
    "networks": lambda main, folder: main(folder),
}
"""How each example is run here: on a small phantom, with a few steps."""


def _examples():
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "gallery")


def test_every_example_is_run_and_shown():
    page = (PAGES / "examples.md").read_text(encoding="utf-8")
    assert _examples() == sorted(RUNS)
    for name in _examples():
        assert f"../Examples/{name}.py" in page
        assert f"../Examples/{name}.jpg" in page
        assert (FOLDER / f"{name}.jpg").is_file()
    assert sum(path.stat().st_size for path in FOLDER.glob("*.jpg")) < 300_000


@pytest.mark.parametrize("name", sorted(RUNS))
def test_an_example_runs_and_draws_its_picture(name, tmp_path):
    module = __import__(name)
    RUNS[name](module.main, tmp_path)
    assert (tmp_path / f"{name}.jpg").stat().st_size > 1000


def _used(path):
    """The names that a script takes from the engine and really uses, as ``package.name``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("SparseSegLib")
        for alias in node.names
    }
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return {whole for name, whole in imported.items() if name in loaded}


def test_every_name_of_the_api_page_has_an_example():
    page = (PAGES / "api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^::: (SparseSegLib\S+)", page, re.MULTILINE)
    used = {name: _used(FOLDER / f"{name}.py") for name in _examples()}
    assert len(documented) == len(set(documented)) > 30
    for name in documented:
        assert any(name in names for names in used.values()), f"{name} has no example"

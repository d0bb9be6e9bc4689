"""What Slicer has, PyTorch, and the module's one list are all that the engine needs; and the page for offline hospitals
names the same."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from phantoms import GEOMETRIES, blob
from test_io_dicom import UID, write_series

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.io import read_labels

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "SparseSegLib"
LIST = ROOT / "SparseSeg" / "SparseSegModule" / "dependencies.py"
OFFLINE = ROOT / "Resources" / "Documentation" / "offline.md"
TORCH = "torch==2.13.0"

SLICER = ("numpy", "scipy", "SimpleITK", "pydicom", "pillow", "packaging", "requests")
"""What Slicer's own Python has, of all that matters here."""

COMES_WITH = {"filelock": "torch", "tifffile": "scikit-image"}
OPTIONAL = {"matplotlib", "distributed", "dask", "slicer", "vtkmodules", "onnx", "nibabel", "tqdm", "zarr"}
"""What some commands want, and say in words when it is missing."""

DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "PIL": "pillow"}


def _assigned(name):
    """The value of a constant in the module's list."""
    for node in ast.parse(LIST.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    raise AssertionError(name)


def _name(requirement):
    return re.split(r"[<>=!~]", requirement, maxsplit=1)[0]


def _imported(node):
    """Top-level names that a statement imports from elsewhere."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {node.module.split(".")[0]}
    return set()


def _foreign(nodes):
    names = set().union(*(_imported(node) for node in nodes))
    return {name for name in names if name not in sys.stdlib_module_names and name != "SparseSegLib"}


def test_the_list_has_all_that_the_engine_imports():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in ENGINE.rglob("*.py")]
    found = _foreign(node for tree in trees for node in ast.walk(tree)) - OPTIONAL
    there = {"torch", *SLICER, *COMES_WITH, *map(_name, _assigned("PACKAGES"))}
    assert {DISTRIBUTIONS.get(name, name) for name in found} <= there


def test_what_is_optional_is_imported_only_where_it_is_used():
    at_once = [node for path in ENGINE.rglob("*.py") for node in ast.parse(path.read_text(encoding="utf-8")).body]
    assert _foreign(at_once) & OPTIONAL == set()


@pytest.mark.parametrize("package", COMES_WITH)
def test_what_is_not_on_the_list_comes_with_something_that_is(package):
    needed = importlib.metadata.requires(COMES_WITH[package]) or []
    assert package in {_name(re.split(r"[;\s\[(]", one)[0]) for one in needed if "extra ==" not in one}


def test_the_page_for_offline_hospitals_names_the_same_packages():
    page = OFFLINE.read_text(encoding="utf-8")
    requirements = [f"torch{_assigned('TORCH_REQUIREMENT')}", *_assigned("PACKAGES")]
    commands = [block for block in re.findall(r"```.*?```", page, re.DOTALL) if "torch" in block]
    assert commands
    for block in commands:
        assert re.findall(r'"([\w-]+>=[\d.]+)"', block) == requirements


def _environment(folder):
    """A Python with what Slicer has, PyTorch and the list."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in (SLICER, (TORCH,), _assigned("PACKAGES")):
        subprocess.run([*pip, *packages], check=True)
    return python


@pytest.mark.slow
def test_densify_segment_and_dicom_export_run_with_slicers_packages_torch_and_the_list(tmp_path, bundle):
    python, geometry = _environment(tmp_path / "env"), GEOMETRIES["identity"]
    phantom = blob(geometry)
    image = np.round(phantom.volume.array[0] * 100).astype(np.int16)
    write_series(tmp_path / "ct", geometry, image, more={"0020|0052": f"{UID}.77"})
    write_sparse_labels(sparsify(phantom.labels, geometry, (2, 2, 2), names=("blob",)), tmp_path / "drawn.seg.nrrd")

    def run(*arguments):
        command = [python, "-m", "SparseSegLib.cli", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    ct, dense = tmp_path / "ct", tmp_path / "dense.seg.nrrd"
    run("info")
    run("densify", ct, "-l", tmp_path / "drawn.seg.nrrd", "-o", dense, "--steps", "5")
    assert read_labels(dense)[0].any()
    run("segment", ct, "-m", bundle, "-o", tmp_path / "results")
    assert list((tmp_path / "results").glob("*.seg.nrrd"))
    for kind in ("seg", "rtstruct"):
        run("export", dense, "--dicom", ct, "-o", tmp_path / f"{kind}.dcm", "--format", kind)
        assert (tmp_path / f"{kind}.dcm").is_file()

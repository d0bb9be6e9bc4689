"""The extension's packaging: what CMake installs, what the index of extensions asks for, what the files promise."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _listed(cmake: Path, variable: str) -> list[str]:
    """The entries of a ``set(VARIABLE …)``."""
    match = re.search(rf"set\({variable}\s+([^)]*)\)", cmake.read_text(encoding="utf-8"))
    assert match is not None
    return match.group(1).split()


def _tree(folder: Path, pattern: str) -> list[str]:
    found = (path for path in folder.rglob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path.relative_to(folder).as_posix() for path in found)


@pytest.mark.parametrize(
    ("folder", "variable"), [("SparseSeg", "MODULE_PYTHON_SCRIPTS"), ("SparseSegLib", "ENGINE_PYTHON_SCRIPTS")]
)
def test_cmake_lists_every_python_file(folder, variable):
    assert sorted(_listed(ROOT / folder / "CMakeLists.txt", variable)) == _tree(ROOT / folder, "*.py")


def test_cmake_lists_every_resource_of_the_module():
    listed = _listed(ROOT / "SparseSeg" / "CMakeLists.txt", "MODULE_PYTHON_RESOURCES")
    there = [f"Resources/{name}" for name in _tree(ROOT / "SparseSeg" / "Resources", "*")]
    assert sorted(listed) == there


def test_generic_tests_and_the_self_test_are_registered():
    text = (ROOT / "SparseSeg" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "WITH_GENERIC_TESTS" in text
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in text


def test_only_the_module_file_lies_right_under_the_modules_folder():
    assert [path.name for path in (ROOT / "SparseSeg").glob("*.py")] == ["SparseSeg.py"]


@pytest.fixture(scope="module")
def metadata():
    """The extension's metadata in the top-level CMakeLists.txt."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\((EXTENSION_\w+) "([^"\n]*)"\)', text, re.MULTILINE))


def test_the_metadata_is_whole_and_every_picture_exists(metadata):
    assert re.search(r"project\(SparseSeg\)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    assert set(metadata) >= {
        "EXTENSION_HOMEPAGE",
        "EXTENSION_CONTRIBUTORS",
        "EXTENSION_DESCRIPTION",
        "EXTENSION_ICONURL",
        "EXTENSION_SCREENSHOTURLS",
        "EXTENSION_DEPENDS",
    }
    assert metadata["EXTENSION_DEPENDS"] == "PyTorch"
    urls = [metadata["EXTENSION_ICONURL"], *metadata["EXTENSION_SCREENSHOTURLS"].split()]
    for url in urls:
        match = re.fullmatch(
            r"https://raw\.githubusercontent\.com/SparseSeg/SlicerSparseSeg/main/(.+\.(?:png|jpg|gif))", url
        )
        assert match is not None, url
        assert (ROOT / match.group(1)).is_file(), url


def test_the_entry_for_the_index_of_extensions_is_valid_and_agrees(metadata):
    entry = json.loads((ROOT / "Resources" / "SparseSeg.json").read_text(encoding="utf-8"))
    required, optional = {"$schema", "category", "scm_url"}, {"build_dependencies", "build_subdirectory"}
    assert required <= set(entry) <= required | optional | {"scm_revision", "scm_type", "enabled", "tier"}
    assert entry["category"] == "Segmentation"
    assert entry["build_dependencies"] == [metadata["EXTENSION_DEPENDS"]]
    assert entry["scm_url"] == metadata["EXTENSION_HOMEPAGE"]
    assert entry["scm_url"].rsplit("/", 1)[1] == "SlicerSparseSeg"
    assert isinstance(entry["tier"], int)
    assert 1 <= entry["tier"] <= 5
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")


def test_the_license_is_there_and_named_in_the_readme():
    assert (ROOT / "LICENSE").is_file()
    assert "Apache-2.0" in (ROOT / "README.md").read_text(encoding="utf-8")

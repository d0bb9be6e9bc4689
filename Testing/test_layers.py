"""The rooms of the engine: few modules lie loose, packages import one way only, and what the client needs is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "SparseSegLib"


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("SparseSegLib."):
            yield node.module.split(".")[1]


def test_imports_between_packages_go_one_way():
    needs: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        needs.setdefault(_room(path), set()).update(set(_imported_rooms(path)) - {_room(path)})
    order = list(TopologicalSorter(needs).static_order())  # raises CycleError, which names the packages
    assert order.index("errors") < order.index("image") < order.index("densify") < order.index("cli")


def test_nothing_that_runs_inside_slicer_uses_multiprocessing():
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "SparseSeg").rglob("*.py")]
    assert len(sources) > 100
    assert not [path.name for path in sources if "multiprocessing" in path.read_text(encoding="utf-8")]


def test_at_most_a_dozen_modules_lie_loose():
    assert 0 < len(list(PACKAGE.glob("*.py"))) <= 12


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("files", ("torch", "numpy", "SimpleITK")), ("image", ("torch", "scipy")), ("annotation", ("torch",))],
)
def test_what_the_client_needs_imports_nothing_large(module, unwanted):
    code = f"import sys, SparseSegLib.{module}; print([name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"

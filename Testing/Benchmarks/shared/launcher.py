"""The command line of a folder of programs: lists them, or runs one of them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path


def launch(folder: Path, given: Sequence[str]) -> int | None:
    """Run the program that the first of the arguments names, or list all; the exit code.

    ``folder`` is a package that can be imported. Its programs are the modules ``GROUP/NAME.py`` that have a ``main``.
    """
    programs = find_programs(folder)
    if not given or given[0] in ("-h", "--help"):
        print(listing(folder, programs))
        return 0
    name, *rest = given
    if name not in programs:
        print(f"There is no {name}.\n\n{listing(folder, programs)}", file=sys.stderr)
        return 2
    sys.argv = [f"{folder.name} {name}", *rest]
    return import_module(".".join((folder.name, programs[name].parent.name, name))).main()


def find_programs(folder: Path) -> dict[str, Path]:
    """The files of all programs by their names, group by group."""
    return {path.stem: path for path in sorted(folder.glob("*/*.py")) if _has_main(path)}


def listing(folder: Path, programs: dict[str, Path]) -> str:
    """How to run the programs, and what each does, in a line."""
    package = f"{folder.parent.name}/{folder.name}"
    lines = [f"usage: python {package} NAME ...", f"       python {package} NAME --help"]
    width = max(map(len, programs))
    for group in dict.fromkeys(path.parent.name for path in programs.values()):
        lines += ["", f"{group}:"]
        lines += [f"  {name:{width}}  {_summary(path)}" for name, path in programs.items() if path.parent.name == group]
    return "\n".join(lines)


def _has_main(path: Path) -> bool:
    return any(isinstance(part, ast.FunctionDef) and part.name == "main" for part in _parsed(path).body)


def _summary(path: Path) -> str:
    return (ast.get_docstring(_parsed(path)) or "").partition("\n")[0]


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))

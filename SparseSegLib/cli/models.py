"""``sparseseg models``: the library of trained models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SparseSegLib.cli.console import Console
from SparseSegLib.errors import UsageError
from SparseSegLib.models import ModelCard, ModelEntry, ModelLibrary
from SparseSegLib.models.card import NOTICE, card_to_json

NAME = "models"
SUMMARY = "list, show, import, export or remove trained models"
DESCRIPTION = """\
The models at hand: those that come with SparseSeg, and your own library, a folder of your user account (or the one that
the environment variable SPARSESEG_MODELS names).

  sparseseg models list
  sparseseg models show NAME                       what it segments, what it learned from, its license
  sparseseg models import FILE.zip                 put a model, zip or folder, into your library
  sparseseg models export NAME -o FILE.zip         one file to hand on
  sparseseg models remove NAME                     from your library; models that came with SparseSeg stay

A model is a card (text) and weights (numbers). It holds no programs: a file that does is refused."""

ACTIONS = ("list", "show", "import", "export", "remove")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("model", nargs="?", help="name in the library, or path of a bundle (folder or zip)")
    parser.add_argument("-o", "--output", type=Path, help="zip to write (export)")
    parser.add_argument("--overwrite", action="store_true", help="replace a model of the same name (import)")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Do one action."""
    if arguments.action != "list" and not arguments.model:
        raise UsageError(f"models {arguments.action} needs a model.", "Give its name or path; models list shows them.")
    library = ModelLibrary()
    {"list": _list, "show": _show, "import": _import, "export": _export, "remove": _remove}[arguments.action](
        library, arguments, console
    )


def _list(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    entries = library.entries()
    lines = [_line(entry) for entry in entries] or ["no models yet: sparseseg train makes one, models import gets one"]
    console.result(
        {"folder": str(library.folder), "models": [_values(entry) for entry in entries]},
        "\n".join([*lines, f"your library: {library.folder}"]),
    )


def _show(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    entry = library.find(arguments.model)
    assert entry.card is not None
    console.result({"path": str(entry.path), **card_to_json(entry.card)}, f"{card_in_words(entry.card)}\n{entry.path}")


def _import(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    entry = library.add(arguments.model, overwrite=arguments.overwrite)
    console.result(_values(entry), f"{entry.name} is in your library: {entry.path}")


def _export(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    if arguments.output is None:
        raise UsageError("Where shall the model be written?", "Add -o FILE.zip.")
    path = library.export(arguments.model, arguments.output)
    console.result({"output": str(path)}, f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _remove(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    path = library.remove(arguments.model)
    console.result({"removed": str(path)}, f"removed {path}")


def _values(entry: ModelEntry) -> dict[str, Any]:
    labels = [label.name for label in entry.card.labels] if entry.card else []
    return {
        "name": entry.name,
        "path": str(entry.path),
        "shipped": entry.shipped,
        "labels": labels,
        "problem": entry.problem,
    }


def _line(entry: ModelEntry) -> str:
    where = "comes with SparseSeg" if entry.shipped else "yours"
    if entry.card is None:
        return f"{entry.name:24} {where}; cannot be used: {entry.problem}"
    return f"{entry.name:24} {where}; {', '.join(label.name for label in entry.card.labels)}"


def card_in_words(card: ModelCard) -> str:
    """A card as lines of text."""
    z, y, x = card.preprocessing.spacing
    rows = [
        ("", card.name),
        ("", card.summary),
        ("segments", ", ".join(label.name for label in card.labels)),
        ("channels", ", ".join(card.preprocessing.channels)),
        ("works at", f"{x:g} × {y:g} × {z:g} mm, network {card.network}"),
        ("learned from", card.data),
        ("on", card.date),
        ("license", card.license),
        ("meant for", card.intended_use),
        ("refuses", f"what does not look like {card.expectations.image}" if card.expectations else ""),
        ("figures", ", ".join(f"{name} {value}" for name, value in card.figures.items())),
        ("", NOTICE),
    ]
    return "\n".join(f"{name:14}{value}" if name else value for name, value in rows if value)

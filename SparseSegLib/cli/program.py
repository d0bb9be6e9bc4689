"""All commands, and what becomes of whatever ends one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from SparseSegLib import __version__
from SparseSegLib.cli import (
    clean,
    demo,
    densify,
    evaluate,
    export,
    info,
    models,
    planes,
    segment,
    sparsify,
    suggest,
    train,
)
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.kept import keep_traceback
from SparseSegLib.cli.streams import forget_output, prepare_streams
from SparseSegLib.errors import Canceled, SparseSegError, UsageError
from SparseSegLib.worker.explain import explain

COMMANDS = (densify, train, segment, suggest, models, evaluate, export, planes, sparsify, demo, info, clean)

EPILOG = """\
a first session:
  sparseseg demo                                          see it work on the sample volume
  sparseseg info t1.nrrd drawn.seg.nrrd                   what these files are
  sparseseg planes drawn.seg.nrrd                         which slices count as annotated
  sparseseg densify t1.nrrd -l drawn.seg.nrrd -o dense.seg.nrrd
  sparseseg evaluate dense.seg.nrrd truth.nrrd            Dice, IoU and distances in mm
  sparseseg train --sparse study/ -o liver/ --add         learn from several volumes with a few slices each
  sparseseg segment new.nrrd --model liver -o results/    use that on a volume that nobody annotated

exit codes:
  0 done             2 wrong arguments    3 file           4 image         5 annotation
  6 other grid       7 model              8 package        9 memory, disk  10 worker
  70 a fault of the program               130 canceled     1 anything else
"""


class _Parser(argparse.ArgumentParser):
    """A parser that reports wrong arguments like all other errors."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.".replace("..", "."), f"See {self.prog} --help.")


def make_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = _Parser(
        prog="sparseseg",
        description="Dense 3D segmentations learned from a few annotated slices.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sparseseg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line in this process; the exit code."""
    prepare_streams()
    given = sys.argv[1:] if arguments is None else list(arguments)
    console = Console("--json" in given)
    try:
        chosen = make_parser().parse_args(given)
        return chosen.run(chosen, console) or 0
    except BrokenPipeError:
        forget_output()
        return 0
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, console)


def _report(error: BaseException, console: Console) -> int:
    """Report what ended a command; its exit code."""
    if isinstance(error, KeyboardInterrupt):
        error = Canceled()
    message, hint, code, status = explain(error)
    if code == "internal" and not isinstance(error, SparseSegError):
        hint = f"The details are in {keep_traceback(error)}; please report them."
    try:
        console.error(message, hint, code)
    except (OSError, ValueError):
        forget_output()
    return status

"""The command line: ``sparseseg densify | train | segment | models | evaluate | export | planes | …``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from SparseSegLib import __version__
from SparseSegLib.cli import demo, densify, evaluate, export, info, models, planes, segment, sparsify, suggest, train
from SparseSegLib.cli.console import Console
from SparseSegLib.errors import Canceled, ResourceError, SparseSegError

COMMANDS = (densify, train, segment, suggest, models, evaluate, export, planes, sparsify, demo, info)

EPILOG = """\
a first session:
  sparseseg demo                                          see it work on the sample volume
  sparseseg planes drawn.seg.nrrd                         which slices count as annotated
  sparseseg densify t1.nrrd -l drawn.seg.nrrd -o dense.seg.nrrd
  sparseseg evaluate dense.seg.nrrd truth.nrrd            Dice, IoU and distances in mm
  sparseseg train --sparse study/ -o liver/ --add         learn from several volumes with a few slices each
  sparseseg segment new.nrrd --model liver -o results/    use that on a volume that nobody annotated

exit codes:
  0 done             2 wrong arguments    3 file           4 image         5 annotation
  6 other grid       7 model              8 package        9 memory, disk  10 worker
  130 canceled       1 anything else
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = argparse.ArgumentParser(
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
        sub.add_argument("--json", action="store_true", help="print the result as one JSON object")
        sub.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    chosen = make_parser().parse_args(arguments)
    console = Console(chosen.json)
    try:
        return chosen.run(chosen, console) or 0
    except SparseSegError as error:
        console.error(error.message, error.hint, error.code)
        return error.exit_code
    except MemoryError:
        console.error("There is not enough memory.", "Close other programs or use a smaller image.", "resource")
        return ResourceError.exit_code
    except KeyboardInterrupt:
        console.error("Canceled.", "", Canceled.code)
        return Canceled.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0

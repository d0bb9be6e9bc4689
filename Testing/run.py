"""Set up SparseSeg in a virtual environment of its own and run it: the demo or the tests.

    python3 Testing/run.py demo      densify the sample tumor and write a picture
    python3 Testing/run.py tests     run lint, type checks and tests

Needs nothing but Python 3.10 to 3.13; everything goes into the folder ``.venv`` beside the README. What follows the
first word is handed on, for example ``python3 Testing/run.py tests -k geometry``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
TORCH = "torch==2.13.0"
EXTRAS = {"demo": "slicer,plot", "tests": "slicer,test,host,dev"}


def main() -> int:
    """Prepare what the first argument needs and run it; the exit status of what was run."""
    if len(sys.argv) < 2 or sys.argv[1] not in EXTRAS:
        print(__doc__)
        return 2
    task, rest = sys.argv[1], sys.argv[2:]
    python = prepare(EXTRAS[task])
    if task == "demo":
        return run([python, "-m", "SparseSegLib.cli", "demo", *rest])
    checks = [
        [python, "-m", "ruff", "check", "."],
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "mypy"],
    ]
    lint = [run(check) for check in ([] if rest else checks)]
    if not rest:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes share the cores, and often wait for a worker
        rest = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "15"]
    return run([python, "-m", "pytest", *rest]) or max(lint, default=0)


def prepare(extras: str) -> str:
    """Make the environment and install the project with ``extras``, unless that was done before; its Python."""
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    stamp = ENVIRONMENT / f"installed-{extras.replace(',', '-')}"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for arguments in ([TORCH], ["--editable", f"{ROOT}[{extras}]"]):
            if run([*pip, *arguments]):
                sys.exit("Setting up failed; what pip says is above.")
        stamp.write_text(wanted)
    return str(python)


def run(command: list[str]) -> int:
    """Run a command in the project's folder; its exit status."""
    print("$", *command, flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

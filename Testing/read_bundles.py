"""Reads each bundle of a folder as the program does, in a process of its own; what came of it as JSON lines.

    python read_bundles.py FOLDER SECONDS GIBIBYTES

The process ends at a bundle that takes longer or more memory: its name is the last one that was begun.
"""

import json
import signal
import sys
from pathlib import Path

import torch

from SparseSegLib.errors import SparseSegError
from SparseSegLib.models import ModelLibrary, copy_bundle, load_card, load_network
from SparseSegLib.networks import network_names


def main() -> None:
    """Read them."""
    folder, seconds, gibibytes = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    torch.zeros(1, device="meta")
    network_names()  # so everything is imported before memory is counted
    limit_memory(int(gibibytes * 2**30))
    for path in sorted(folder.iterdir()):
        say(path.name, "begun")
        if hasattr(signal, "alarm"):
            signal.alarm(seconds)
        try:
            say(path.name, read(path, folder))
        except Exception as error:
            say(path.name, f"bug: {type(error).__name__}: {error}"[:500])
    ModelLibrary(folder, ()).entries()
    say("", "done")


def read(path: Path, folder: Path) -> str:
    """Card, weights and a copy: each can be read, or says in words what is wrong."""
    failed = []
    for use in (load_card, load_network, lambda one: copy_bundle(one, folder.parent / "copy.zip")):
        try:
            use(path)
        except SparseSegError as error:
            failed.append(error)
            if not error.hint or len(str(error)) > 1000:
                return f"bug: no good words: {error}"
    return "read" if not failed else "refused"


def say(name: str, outcome: str) -> None:
    """Write a line."""
    print(json.dumps({"name": name, "outcome": outcome}), flush=True)


def limit_memory(size: int) -> None:
    """Let the process have no more memory than now and ``size`` bytes, where the system can do that."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        return
    limit = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()

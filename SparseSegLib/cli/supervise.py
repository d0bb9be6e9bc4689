"""The command ``sparseseg``: runs the command line in a child process and explains its end if it crashes.

The libraries that read images are written in C++, and a damaged file can end the whole process. The caller must learn
which file that was. This process imports little, so that it starts quickly.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")
KILLED = -9
PATIENCE = 3  # interrupts; the child is ended at the last of them
FILE_EXIT, RESOURCE_EXIT, INTERNAL_EXIT, CANCELED_EXIT = 3, 9, 70, 130


def run() -> int:
    """Run the command line with the arguments of this process; the exit code."""
    from SparseSegLib.cli.streams import open_descriptors

    open_descriptors()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # one of several processes, which torchrun watches over
        from SparseSegLib.cli import main

        return main()
    return supervise(sys.argv[1:])


def supervise(arguments: list[str]) -> int:
    """Run the command line with these arguments in a child process; the exit code."""
    _block_interrupts(True)  # the child inherits that until it can deal with them, so that none shows a traceback
    import subprocess
    import tempfile

    handle, note = tempfile.mkstemp(prefix="sparseseg-reading-")
    os.close(handle)
    try:
        child = subprocess.Popen([sys.executable, CHILD, note, *arguments])
        _pass_on_interrupts(child)
        _block_interrupts(False)
        status = child.wait()
        return _crashed(status, note, arguments) if status < 0 or status > 255 else status
    finally:
        if os.path.exists(note):
            os.unlink(note)


def _block_interrupts(block: bool) -> None:
    if hasattr(signal, "pthread_sigmask"):
        how = signal.SIG_BLOCK if block else signal.SIG_UNBLOCK
        signal.pthread_sigmask(how, {signal.SIGINT, signal.SIGTERM})


def _pass_on_interrupts(child: Any) -> None:
    """Hand Ctrl-C, or a request to end, to the child, which gets it twice at a terminal and counts it once."""
    count = 0

    def pass_on(number: int, frame: Any) -> None:
        nonlocal count
        count += 1
        if count >= PATIENCE:
            child.kill()
        elif os.name != "nt":  # there the console signals all of its processes
            child.send_signal(number)

    signal.signal(signal.SIGINT, pass_on)
    signal.signal(signal.SIGTERM, pass_on)


def _crashed(status: int, note: str, arguments: list[str]) -> int:
    """Say that the child crashed, and on which file; the exit code."""
    if status in (-signal.SIGINT, -signal.SIGTERM):
        return CANCELED_EXIT
    from SparseSegLib.files import noted_in

    path = noted_in(note)
    while_reading = f" while reading {path}" if path else ""
    if status == KILLED:
        message = f"The system ended the program{while_reading}, most likely because the memory was full."
        hint, code, exit_code = "Close other programs, or use a smaller image.", "resource", RESOURCE_EXIT
    elif path:
        message = f"The program crashed{while_reading}: the file is damaged, or of a kind that it cannot read."
        hint, code, exit_code = "Copy or export the file again, for example as .nrrd.", "file", FILE_EXIT
    else:
        message = f"The program crashed ({_name(status)})."
        hint, code, exit_code = "Please report what you did.", "internal", INTERNAL_EXIT
    from SparseSegLib.cli.console import Console
    from SparseSegLib.cli.streams import prepare_streams

    prepare_streams()
    Console("--json" in arguments).error(message, hint, code)
    return exit_code


def _name(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"status {status}"

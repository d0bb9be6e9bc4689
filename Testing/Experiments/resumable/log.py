"""What a training in the background leaves to look at, and how it is paused."""

from __future__ import annotations

import time
from pathlib import Path

from SparseSegLib.control import CancelToken


class Log:
    """Lines with the time of day, on the screen and at the end of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, text: str) -> None:
        """Add a line."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}"
        print(line, flush=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def wait_while(pause: Path, token: CancelToken) -> None:
    """Do nothing while the file is there."""
    while pause.exists() and not token.stopped:
        time.sleep(1)

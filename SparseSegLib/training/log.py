"""The course of a training as a table (CSV), and for TensorBoard where that is wanted."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from SparseSegLib.errors import DependencyError
from SparseSegLib.files import write_error, write_text

FILE = "training.csv"
COLUMNS = ("step", "seconds", "loss", "learning_rate", "validation_dice")


class TrainingLog:
    """Writes a row now and then; what it has written can be read at any time.

    Parameters
    ----------
    folder : where ``training.csv`` lies, and TensorBoard's files; it is made if need be
    steps : that are done already: rows of an earlier run stay up to there, the others go
    tensorboard : whether to write for TensorBoard too

    Raises
    ------
    DependencyError
        If that is wanted, and TensorBoard is not installed.
    FileError, ResourceError
        If the file cannot be written.
    """

    def __init__(self, folder: Path, steps: int = 0, *, tensorboard: bool = False) -> None:
        self.path = folder / FILE
        self._board = _board(folder, steps) if tensorboard else None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = _rows_up_to(self.path, steps)
        except OSError as error:
            raise write_error(self.path, error) from error
        write_text(self.path, "\n".join([",".join(COLUMNS), *kept]) + "\n")

    def add(
        self, step: int, seconds: float, loss: float | None, learning_rate: float, validation: float | None = None
    ) -> None:
        """Add a row: seconds since the start, the running mean of the loss, the Dice of the validation volumes."""
        values = {
            "step": str(step),
            "seconds": f"{seconds:.2f}",
            "loss": "" if loss is None else f"{loss:.6f}",
            "learning_rate": f"{learning_rate:.4g}",
            "validation_dice": "" if validation is None else f"{validation:.5f}",
        }
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(values)
        except OSError as error:
            raise write_error(self.path, error) from error
        if self._board is not None:
            for name in COLUMNS[2:]:
                if values[name]:
                    self._board.add_scalar(name, float(values[name]), step)

    def close(self) -> None:
        """Write what TensorBoard has not written yet."""
        if self._board is not None:
            self._board.close()


def _rows_up_to(path: Path, steps: int) -> list[str]:
    """Lines of an earlier run's file, up to a step; a last one that was cut off does not count."""
    if steps == 0 or not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line for line in lines if line.count(",") == len(COLUMNS) - 1 and int(line.split(",")[0]) <= steps]


def _board(folder: Path, steps: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DependencyError("TensorBoard is not installed.", "Install tensorboard, or train without it.") from error
    return SummaryWriter(str(folder), purge_step=steps + 1)

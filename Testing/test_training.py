"""What every training shares: budget, schedule, averaging, checkpoints."""

import errno
from pathlib import Path

import pytest
import torch

from SparseSegLib.errors import FileError, ResourceError
from SparseSegLib.training.averaging import AveragedWeights
from SparseSegLib.training.budget import Budget
from SparseSegLib.training.checkpoint import load_checkpoint, save_checkpoint
from SparseSegLib.training.schedule import Plateau, cosine_rate, in_proportion


def test_a_budget_in_steps_knows_nothing_of_time():
    budget = Budget(0.001, steps=10)
    assert [budget.fraction(step) for step in (0, 5, 10, 20)] == [0, 0.5, 1, 1]
    budget.finish_by(6, 0.75)
    assert budget.fraction(6) == pytest.approx(0.75)
    budget.extend_to(6, 0.5)
    assert budget.fraction(6) == pytest.approx(0.5)


def test_a_budget_in_seconds_keeps_time_for_the_end_and_counts_what_was_spent():
    budget = Budget(100, spent=40)
    assert budget.fraction(0) == pytest.approx(0.4, abs=0.01)
    assert budget.seconds_left(0) == pytest.approx(60, abs=1)
    budget.reserve = 20
    assert budget.fraction(0) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="seconds or steps"):
        Budget(None)


def test_the_learning_rate_warms_up_and_falls():
    assert cosine_rate(0, 0) == pytest.approx(1 / 20)
    assert cosine_rate(100, 0) == 1
    assert cosine_rate(100, 0.5) == pytest.approx(0.51)
    assert cosine_rate(100, 1) == pytest.approx(0.02)


def test_short_trainings_learn_at_a_lower_rate():
    lower = in_proportion(lambda step, fraction: 2.0, 1000)
    assert lower(0, 0.0) == lower(500, 0.5) == lower(900, 0.3) == 2
    assert lower(250, 0.5) == pytest.approx(1)
    assert lower(10, 0.5) == pytest.approx(0.6)
    assert in_proportion(cosine_rate, 0) is cosine_rate


def test_a_plateau_is_noticed_and_progress_is_none():
    falling, flat = Plateau(block=5, patience=3), Plateau(block=5, patience=3)
    assert not any(falling.add(100 * 0.98**step) for step in range(200))
    assert any(flat.add(1.0) for _ in range(30))


def test_averaged_weights_follow_quickly_at_first():
    network = torch.nn.Linear(2, 2)
    averaged = AveragedWeights(network)
    with torch.no_grad():
        network.weight.fill_(1.0)
    for _ in range(30):
        averaged.update(network)
    assert float((averaged.network.weight - 1).abs().max()) < 0.01


def test_checkpoints_come_back_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"a": torch.ones(2), "b": [1, "x", None]})
    assert load_checkpoint(path)["b"] == [1, "x", None]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FileError, match="cannot be read"):
        load_checkpoint(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(FileError, match="no checkpoint"):
        load_checkpoint(path)


class Evil:
    """Would run code when unpickled carelessly."""

    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "x": Evil()}, tmp_path / "c.pt")
    with pytest.raises(FileError):
        load_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "pwned").exists()


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"step": 1})

    def full(self: Path, data: bytes) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ResourceError) as caught:
        save_checkpoint(path, {"step": 2})
    assert caught.value.hint
    assert load_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]

"""Training by several processes: the same step as one process takes, and the command line under torchrun."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import distributed_step
import pytest
import torch

from SparseSegLib.cli.train_distributed import in_process_group
from SparseSegLib.errors import UsageError
from SparseSegLib.models import load_card
from SparseSegLib.training.distributed import ProcessGroup, connected, current_process_group

HERE = Path(__file__).resolve().parent
SIZE = 2


def _environment(**more):
    paths = os.pathsep.join([str(HERE.parent), str(HERE)])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **more}


def test_two_processes_take_the_step_of_one_with_the_joint_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, str(HERE / "distributed_step.py"), str(tmp_path)]
    processes = [
        subprocess.Popen(
            command,
            env=_environment(RANK=str(rank), WORLD_SIZE=str(SIZE), MASTER_ADDR="127.0.0.1", MASTER_PORT=port),
            stderr=subprocess.PIPE,
        )
        for rank in range(SIZE)
    ]
    alone = distributed_step.step()
    for process in processes:
        assert process.wait(300) == 0, process.stderr.read().decode()
        process.stderr.close()
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(SIZE))
    for kind in ("gradients", "weights"):
        for name, expected in alone[kind].items():
            torch.testing.assert_close(first[kind][name], expected, rtol=1e-4, atol=1e-6)
            assert torch.equal(first[kind][name], second[kind][name])
    assert torch.equal(first["drawn"], alone["drawn"])
    assert not torch.equal(first["drawn"], second["drawn"])


def test_one_process_is_a_team_of_its_own(monkeypatch):
    group = current_process_group()
    assert group == ProcessGroup(0, 1)
    assert group.first
    assert group.broadcast({"a": 1}) == {"a": 1}
    with pytest.raises(UsageError, match="cannot share"), connected(torch.device("cuda:0")):
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not in_process_group()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert in_process_group()


@pytest.mark.slow
def test_torchrun_trains_one_model_which_the_first_process_writes(study, tmp_path):
    job = tmp_path / "job"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(SIZE)),
        *("-m", "SparseSegLib.cli", "train", "--sparse", str(study), "-o", str(tmp_path / "blob"), "--json"),
        *("--steps", "4", "--patch", "16", "16", "16", "--device", "cpu", "--job", str(job), "--validate", "1"),
    ]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    (result,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert (result["steps"], result["cases"]) == (4, 1)
    assert load_card(tmp_path / "blob").figures["validation_dice"] == result["validation_dice"]
    assert sorted(path.name for path in job.iterdir()) == ["bundle", "checkpoint.pt", "job.json", "log"]
    again = subprocess.run(
        [*command, "--steps", "6"], env=_environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["steps"] == 6

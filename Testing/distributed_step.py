"""One step of a training in one of several processes; ``test_train_distributed.py`` starts it and compares."""

import sys
from pathlib import Path

import torch
from cohort_helpers import CPU, QUICK, make_case

from SparseSegLib.cohort import make_dataset, make_example
from SparseSegLib.cohort.trainer import _make_learner
from SparseSegLib.training.distributed import connected, current_process_group

BATCH = 4


def step():
    """The first batch that this process draws; gradients and weights after a step with its part of a fixed batch."""
    torch.set_num_threads(1)
    group = current_process_group()
    dataset = make_dataset([make_example(make_case(seed), (1.0, 1.0, 1.0)) for seed in range(2)], (1.0, 1.0, 1.0))
    learner = _make_learner(dataset, QUICK, CPU)
    drawn = learner.draw()[0]
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(BATCH, 1, 16, 16, 16, generator=generator)
    labels = (image[:, 0] > 0).to(torch.uint8)
    labels[0, :10] = 255  # one patch is labeled less than another
    labels[3, 2:] = 255
    learner.draw = lambda: (image[group.rank :: group.size], labels[group.rank :: group.size])
    learner.step(1.0)
    return {
        "drawn": drawn,
        "gradients": {name: weight.grad for name, weight in learner.network.named_parameters()},
        "weights": learner.network.state_dict(),
    }


if __name__ == "__main__":
    with connected(CPU) as group:
        torch.save(step(), Path(sys.argv[1]) / f"{group.rank}.pt")

"""A GPU that is short of memory: smaller batches, then the CPU; the result is the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import blob
from test_densify import CPU, NARROW, QUICK, STEPS, Listener

from SparseSegLib.annotation import sparsify
from SparseSegLib.control import Control
from SparseSegLib.densify import densifier as densifier_module
from SparseSegLib.densify import densify
from SparseSegLib.densify.experts import SliceUNetRecipe

GPU = torch.device("cuda")


def _scarce_memory(monkeypatch, least: int) -> None:
    """A GPU that is out of memory at every step with more than ``least`` patches; it computes on the CPU."""
    make = SliceUNetRecipe.make

    def scarce_expert(recipe, problem, seed, device):
        expert = make(recipe, problem, seed, CPU)
        step = expert.step

        def scarce(rate):
            if device == GPU and expert.batch > least:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return step(rate)

        expert.step = scarce
        return expert

    monkeypatch.setattr(SliceUNetRecipe, "make", scarce_expert)
    monkeypatch.setattr(densifier_module, "choose_device", lambda name: GPU)


@pytest.fixture
def learn():
    """Densifies a blob with one expert; the result, and what was said."""
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))

    def densified():
        listener = Listener()
        settings = replace(QUICK, experts=NARROW[:1])
        return densify(phantom.volume, labels, settings, Control(events=listener)), listener.messages

    return densified


def test_a_gpu_short_of_memory_gets_smaller_batches_and_it_is_said(learn, monkeypatch):
    _scarce_memory(monkeypatch, least=1)
    result, messages = learn()
    assert result.steps == STEPS
    assert [text for text in messages if "patches per step" in text] == [
        "GPU memory is short: going on with 2 patches per step.",
        "GPU memory is short: going on with 1 patches per step.",
    ]


def test_a_gpu_too_small_for_anything_makes_way_for_the_cpu_once(learn, monkeypatch):
    expected, _ = learn()
    _scarce_memory(monkeypatch, least=0)
    result, messages = learn()
    assert result.steps == STEPS
    assert sum("going on with the CPU" in text for text in messages) == 1
    np.testing.assert_array_equal(result.labels, expected.labels)

"""The first preview comes soon: nothing that it does not need goes before it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from SparseSegLib.densify.finish import most_probable

UNTIL_PREVIEW = """
import sys
from phantoms import blob
from SparseSegLib.annotation import sparsify
from SparseSegLib.control import Control, NullEvents
from SparseSegLib.densify import DensifySettings, densify

class Stop(NullEvents):
    def preview(self, result):
        print("preview", "torch._dynamo" in sys.modules)
        sys.exit()

phantom = blob()
labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))
densify(phantom.volume, labels, DensifySettings(device="cpu"), Control(events=Stop()))
"""


def test_the_first_preview_waits_for_no_compiler(tmp_path):
    """Torch imports its own with the first optimizer, which takes about a second."""
    script = tmp_path / "until_preview.py"
    script.write_text(UNTIL_PREVIEW, encoding="utf-8")
    folders = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1])))
    done = subprocess.run(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": folders}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["preview", "False"]


def test_the_most_probable_class_is_the_first_of_the_highest():
    probabilities = torch.rand(5, 4, 6, 7, generator=torch.Generator().manual_seed(0)).softmax(0)
    probabilities[3, 0] = probabilities[1, 0] = 0.9
    found = most_probable(probabilities)
    assert found.dtype is torch.uint8
    assert np.array_equal(found.numpy(), probabilities.numpy().argmax(0))

"""What the tests of models over several volumes share."""

import torch
from phantoms import blob

from SparseSegLib.annotation import sparsify
from SparseSegLib.cohort import Case, TrainSettings
from SparseSegLib.control import NullEvents
from SparseSegLib.image import Geometry
from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing

CPU = torch.device("cpu")


SIZE = (20, 24, 28)


SMALL = {"base": 4, "levels": 2}


QUICK = TrainSettings(
    network="unet3d-small", arguments=SMALL, budget_steps=40, patch=(16, 16, 16), device="cpu", batch=1
)


CARD = ModelCard(
    "Blob", "unet3d-small", Preprocessing((1, 1, 1), ("T1",)), (16, 16, 16), (ModelLabel(1, "blob", (1, 0, 0)),)
)


class Listener(NullEvents):
    """Keeps what it hears, and does something at a step."""

    def __init__(self, at=-1, action=lambda: None):
        self.steps, self.fractions, self.losses, self.messages = [], [], [], []
        self.at, self.action = at, action

    def progress(self, step, fraction, loss, seconds_left, **figures):
        """Keep it."""
        self.steps.append(step)
        self.fractions.append(fraction)
        self.losses.append(loss)
        if step >= self.at >= 0:
            self.at = -1
            self.action()

    def message(self, text):
        """Keep the text."""
        self.messages.append(text)


def make_case(seed, geometry=None, names=("blob",), make=blob):
    """A phantom, annotated on two slices per axis."""
    phantom = make(geometry or Geometry.identity(SIZE), seed=seed)
    return Case(f"case {seed}", phantom.volume, sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2), names))

"""What lets the slice learner's steps run faster: threads, memory format, inference mode, a compiled network.

    python Testing/Benchmarks slice_steps --data FOLDER --steps 40
    python Testing/Benchmarks slice_steps --volume liver=ct.nii.gz,organs.nii.gz,5

Every row is the ``fast`` preset with one thing different, on the same slices: milliseconds of a training step (drawing
the batch included) and of the prediction of all slices of one orientation, the median of the repetitions, and both in
relation to the preset as it is. The variants take turns, so that what disturbs the machine disturbs all of them. Where
there is no compiler, ``torch.compile`` is left out, with the reason.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from statistics import median

import torch
from Benchmarks.shared.scoring import annotate
from Benchmarks.shared.volumes import Case, add_volume_arguments, chosen_cases

from SparseSegLib.control import CancelToken
from SparseSegLib.densify import PRESETS
from SparseSegLib.densify.problem import Problem, make_problem
from SparseSegLib.densify.settings import SliceRecipe
from SparseSegLib.densify.slice_learner import SliceLearner

USUAL = "as it is"
WARM_UP = 3  # steps that are not counted


@dataclass
class Variant:
    """A learner that has something different, and what it ran at.

    Attributes
    ----------
    name : what is different
    learner : SliceLearner
    threads : of torch
    inference : the mode in which it predicts
    """

    name: str
    learner: SliceLearner
    threads: int
    inference: Callable[[], AbstractContextManager[object]] = torch.inference_mode

    def __post_init__(self) -> None:
        self.steps: list[float] = []
        self.predictions: list[float] = []

    def step(self) -> None:
        """One training step."""
        with _threads(self.threads):
            start = time.perf_counter()
            self.learner.step(1.0)
            self.steps.append(time.perf_counter() - start)

    def predict(self) -> None:
        """All slices of the shortest orientation."""
        token = CancelToken()
        with _threads(self.threads), self.inference():
            start = time.perf_counter()
            SliceLearner.predict.__wrapped__(self.learner, token, quick=True, guess=False)  # type: ignore[attr-defined]
            self.predictions.append(time.perf_counter() - start)


def main() -> None:
    """Measure every volume."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_volume_arguments(parser)
    parser.add_argument("--budget", default="3,3,2", metavar="X,Y,Z", help="slices per axis, or everyK")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--predictions", type=int, default=3)
    arguments = parser.parse_args()
    print("| volume | variant | ms a step | | ms a prediction | |\n| --- | --- | --- | --- | --- | --- |")
    for case in chosen_cases(arguments):
        measure(case, arguments.budget, arguments.steps, arguments.predictions)


def measure(case: Case, budget: str, steps: int, predictions: int) -> None:
    """Print a row for each variant on one volume."""
    volume, truth = case.load()
    recipe = PRESETS["fast"].recipe
    assert isinstance(recipe, SliceRecipe)
    problem = make_problem(volume, annotate(truth, volume, budget), 0.1, recipe.most_voxels)
    variants = all_variants(problem, recipe)
    for number in range(WARM_UP + steps):
        for variant in variants:
            variant.step()
            if number < WARM_UP:
                variant.steps.clear()
    for _ in range(predictions):
        for variant in variants:
            variant.predict()
    base = variants[0]
    for variant in variants:
        cells = []
        for own, usual in ((variant.steps, base.steps), (variant.predictions, base.predictions)):
            cells += [f"{1000 * median(own):.1f}", f"{median(own) / median(usual):.2f} ×"]
        print(f"| {case.name} | {variant.name} | " + " | ".join(cells) + " |", flush=True)


def all_variants(problem: Problem, recipe: SliceRecipe) -> list[Variant]:
    """The preset as it is first."""
    usual = torch.get_num_threads()

    def learner() -> SliceLearner:
        return SliceLearner(problem, recipe, recipe.prior, 0, torch.device("cpu"))

    other = 1 if usual > 1 else 2
    variants = [
        Variant(USUAL, learner(), usual),
        Variant(f"{other} thread{'s' * (other > 1)} instead of {usual}", learner(), other),
        Variant("predicts without gradients instead of in inference mode", learner(), usual, torch.no_grad),
        Variant("channels first", _channels_first(learner()), usual),
    ]
    try:
        variants.append(Variant("compiled (torch.compile)", _compiled(learner()), usual))
    except Exception as error:  # whatever a machine without a compiler raises
        reason = next(iter(str(error).strip().splitlines()), "")
        print(f"torch.compile is left out: {type(error).__name__}: {reason}", file=sys.stderr)
    return variants


def _channels_first(learner: SliceLearner) -> SliceLearner:
    """Weights in PyTorch's usual order; every input is brought to it too."""
    for network in (learner.network, learner.averaged.network):
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        network.register_forward_pre_hook(lambda _module, inputs: tuple(one.contiguous() for one in inputs))
    return learner


def _compiled(learner: SliceLearner) -> SliceLearner:
    """Network and averaged network compiled for each size that comes; raises where that is not possible."""
    torch.compiler.reset()  # else what was compiled for the volumes before uses up the number that is allowed
    for network in (learner.network, learner.averaged.network):
        network.compile(dynamic=False)
    learner.step(1.0)
    return learner


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

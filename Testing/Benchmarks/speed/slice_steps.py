"""Speed of the slice U-Net's steps: threads, memory format, a compiled network.

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
from dataclasses import dataclass
from statistics import median

import torch
from Benchmarks.shared.scoring import annotate
from Benchmarks.shared.volumes import Case, add_volume_arguments, chosen_cases

from SparseSegLib.control import CancelToken
from SparseSegLib.densify import PRESETS
from SparseSegLib.densify.experts import Request, SliceUNetRecipe
from SparseSegLib.densify.experts.slice_unet import SliceUNetExpert
from SparseSegLib.densify.problem import Problem, make_problem
from SparseSegLib.devices import torch_threads

USUAL = "as it is"
WARM_UP = 3  # steps that are not counted


@dataclass
class Variant:
    """An expert with one thing different, and its times.

    Attributes
    ----------
    name : what is different
    expert : SliceUNetExpert
    threads : of torch
    """

    name: str
    expert: SliceUNetExpert
    threads: int

    def __post_init__(self) -> None:
        self.steps: list[float] = []
        self.predictions: list[float] = []

    def step(self) -> None:
        """One training step."""
        with torch_threads(self.threads):
            start = time.perf_counter()
            self.expert.step(1.0)
            self.steps.append(time.perf_counter() - start)

    def predict(self) -> None:
        """All slices of the shortest orientation."""
        token = CancelToken()
        with torch_threads(self.threads):
            start = time.perf_counter()
            self.expert.predict(Request.whole(self.expert.problem, quick=True), token)
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
    recipe = PRESETS["fast"].experts[0]
    assert isinstance(recipe, SliceUNetRecipe)
    problem = make_problem(volume, annotate(truth, volume, budget), 0.1, PRESETS["fast"].most_voxels)
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


def all_variants(problem: Problem, recipe: SliceUNetRecipe) -> list[Variant]:
    """The preset as it is first."""
    usual = torch.get_num_threads()

    def expert() -> SliceUNetExpert:
        made = recipe.make(problem, 0, torch.device("cpu"))
        made.set_annotation(problem, frozenset())
        return made

    other = 1 if usual > 1 else 2
    variants = [
        Variant(USUAL, expert(), usual),
        Variant(f"{other} thread{'s' * (other > 1)} instead of {usual}", expert(), other),
        Variant("channels first", _channels_first(expert()), usual),
    ]
    try:
        variants.append(Variant("compiled (torch.compile)", _compiled(expert()), usual))
    except Exception as error:  # whatever a machine without a compiler raises
        reason = next(iter(str(error).strip().splitlines()), "")
        print(f"torch.compile is left out: {type(error).__name__}: {reason}", file=sys.stderr)
    return variants


def _channels_first(expert: SliceUNetExpert) -> SliceUNetExpert:
    """Weights in PyTorch's usual order; every input is brought to it too."""
    for network in (expert.network, expert.averaged.network):
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        network.register_forward_pre_hook(lambda _module, inputs: tuple(one.contiguous() for one in inputs))
    return expert


def _compiled(expert: SliceUNetExpert) -> SliceUNetExpert:
    """Network and averaged network compiled for each size that comes; raises where that is not possible."""
    torch.compiler.reset()  # else what was compiled for the volumes before uses up the number that is allowed
    for network in (expert.network, expert.averaged.network):
        network.compile(dynamic=False)
    expert.step(1.0)
    return expert

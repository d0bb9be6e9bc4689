"""An expert of one's own in the ensemble: here one that knows nothing but how bright each class is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gallery import Panel, Sample, save_panels, tumor

from SparseSegLib.annotation import sparsify
from SparseSegLib.densify import DensifyResult, DensifySettings, densify
from SparseSegLib.densify.experts import Expert, ExpertRecipe, Request


@dataclass(frozen=True)
class BrightnessRecipe:
    """Configuration: what an ensemble needs to know of an expert, and what makes one."""

    name: str = "brightness"
    prior_weight: float = 0.2  # before held-out slices say what it is worth
    warmup: int = 0  # training steps after which its scores count

    def suits(self, problem, seconds, device) -> bool:
        return True

    def make(self, problem, seed, device) -> Expert:
        return BrightnessExpert()


class BrightnessExpert(Expert):
    """Predicts the class whose mean gray value is nearest."""

    def set_annotation(self, problem, hidden) -> None:
        self.problem = problem
        labels = problem.without(hidden).array  # (Z, Y, X); hidden slices are unlabeled here
        image = problem.image.part(Request.whole(problem).box)[0]
        known = [image[torch.as_tensor(labels == number)] for number in range(problem.classes)]
        self.means = torch.stack([values.mean() if len(values) else image.mean() for values in known])

    def predict(self, request: Request, token) -> torch.Tensor:
        token.check()  # whoever asked may not want it any longer
        image = self.problem.image.part(request.box)[0][request.within_box]
        distance = (image - self.means[:, None, None, None]).abs()
        return torch.softmax(-4 * distance, 0).float()  # (K, z, y, x)


def main(sample: Sample, folder: Path, settings: Mapping) -> DensifyResult:
    recipe: ExpertRecipe = BrightnessRecipe()
    labels = sparsify(sample.truth, sample.geometry, (2, 2, 2), names=("tumor",))
    chosen = DensifySettings(experts=(recipe, "extra-trees", "random-walk"), **settings)
    result = densify(sample.volume, labels, chosen)
    print(f"{int(np.count_nonzero(result.labels))} voxels, IoU about {result.estimate}")

    z = sample.middle + 2
    outlines = {"lime": sample.truth[z] == 1, "red": result.labels[z] == 1}
    save_panels(folder / "custom_expert.jpg", [Panel("three experts (red)", sample.volume.array[0, z], outlines)])
    return result


if __name__ == "__main__":
    main(tumor(), Path(), {"budget_seconds": 10})

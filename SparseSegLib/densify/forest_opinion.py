"""The say of a forest on gray values (see ``voxel_forest``) beside the network."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.first_guess import fading_share
from SparseSegLib.densify.held_out import mean_iou
from SparseSegLib.densify.pretrained import Opinions
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.voxel_forest import VoxelForest
from SparseSegLib.prior import SliceView

FAR_WORSE, WORSE, BETTER, FAR_BETTER = 0.2, 0.4, 0.5, 0.8  # share in a prediction, by what it finds of held-out slices
FAR_FEWER_ERRORS = 0.75  # of what is missing from the network's IoU to 1
FAR_LESS = 0.85  # of the network's IoU
LEADS = 200  # steps of the network, during which the forest has more than that where much is labeled


class ForestOpinion:
    """What a forest says of a whole volume once it is asked, until the annotation changes, and how much that counts.

    Parameters
    ----------
    seed : int

    Attributes
    ----------
    share : as held-out slices judge it
    first_share : the same as long as the network has nothing to say; None if they have not judged that
    everywhere : what it says ``(K, Z, Y, X)``, half precision; None until it is asked
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.share = WORSE  # as long as nothing tells
        self.first_share: float | None = None
        self.everywhere: torch.Tensor | None = None

    @property
    def is_better(self) -> bool:
        """Whether gray values alone say more of held-out slices than the network did."""
        return self.share >= BETTER

    def meet(self, problem: Problem) -> None:
        """Speak of another annotation from now on."""
        self._problem = problem
        self.first_share = None
        self._forest: VoxelForest | None = None
        self._hidden: frozenset[Plane] = frozenset()  # the planes that it did not learn from
        self.everywhere = None

    def ask(self, hidden: Iterable[Plane], token: CancelToken, most_seconds: float = math.inf) -> None:
        """Have it say what it knows of the whole volume, without knowing the planes ``hidden``.

        Takes about a second for a million voxels; nothing, if it was asked before. If learning takes more than
        ``most_seconds``, a forest that knows a little less is not taught anew.
        """
        if self.everywhere is None:
            self.everywhere = self.taught(hidden, most_seconds).everywhere(token)

    def forget(self) -> None:
        """What it said holds no longer: other planes are hidden now."""
        self.everywhere = None

    def taught(self, hidden: Iterable[Plane], most_seconds: float = math.inf) -> VoxelForest:
        """A forest that knows all but the planes ``hidden``, or a little less; see :meth:`ask`."""
        wanted, forest = frozenset(hidden), self._forest
        if forest is None:
            problem = self._problem
            forest = VoxelForest(problem.image, problem.spacing, problem.classes, self.seed)
        elif self._hidden == wanted or (self._hidden > wanted and forest.seconds > most_seconds):
            return forest
        known = self._problem.labels
        for plane in wanted:
            known = known.without(plane)
        forest.learn(known)
        self._forest, self._hidden = forest, wanted
        return forest

    def of_slice(self, view: SliceView, hidden: Iterable[Plane]) -> torch.Tensor:
        """Class probabilities ``(K, U, V)`` of one slice, the planes ``hidden`` not known."""
        found = self.taught(hidden).slices(view.axis, range(view.index, view.index + 1))
        return found.squeeze(1 + view.axis)

    def weigh(self, opinions: Opinions) -> None:
        """Let held-out slices decide how much it has to say from now on; ``opinions`` are the network's and its."""
        fitting = _fitting_share(opinions)
        self.share = self.share if fitting is None else fitting

    def weigh_first(self, opinions: Opinions) -> None:
        """The same for as long as the network has nothing to say; ``opinions`` are of what speaks then, and its."""
        self.first_share = _fitting_share(opinions)

    def share_after(self, steps: int, *, much_is_labeled: bool) -> float:
        """How much it counts beside a network of so many steps, in what is shown."""
        if self.first_share is not None:
            return self.share + fading_share(steps) * (self.first_share - self.share)
        leads = much_is_labeled and self._problem.classes == 2  # of several structures it knows less than the prior
        return max(self.share, fading_share(steps, LEADS)) if leads else self.share

    def blend(self, probabilities: torch.Tensor, share: float) -> torch.Tensor:
        """Give it this share in ``probabilities`` ``(K, Z, Y, X)``, in place, if it was asked."""
        if self.everywhere is None:
            return probabilities
        return probabilities.lerp_(self.everywhere.to(probabilities), share)


def _fitting_share(opinions: Opinions) -> float | None:
    """Its share by what others and it find of held-out slices; None if nothing is drawn on them."""
    if not opinions:
        return None
    classes = len(opinions[0][0])
    others, own = (mean_iou([(one[which].argmax(0), one[2]) for one in opinions], classes) for which in (0, 1))
    if others is None or own is None:
        return None
    if own > others:
        return FAR_BETTER if 1 - own < FAR_FEWER_ERRORS * (1 - others) else BETTER
    return FAR_WORSE if own < FAR_LESS * others else WORSE

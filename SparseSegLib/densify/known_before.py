"""What can be said of a slice before the network has learned anything, and how much that counts afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from SparseSegLib.densify.first_guess import FirstGuess, fading_share, guess_one_by_one
from SparseSegLib.densify.gray_guess import GrayGuess, is_clearly_better
from SparseSegLib.densify.pretrained import (
    ALIKE,
    FEW_PLANES,
    PARALLEL,
    PARALLEL_OF_SEVERAL,
    Opinions,
    fitting_share,
    load_pretrained,
)
from SparseSegLib.densify.settings import SliceRecipe
from SparseSegLib.densify.slice_bank import SliceBank
from SparseSegLib.prior import AnnotationPrior, PlaneSource

NOTHING_YET = 0.95
"""Share of what was known before, above which the network need not be asked."""

Seen = Iterable[tuple[torch.Tensor, torch.Tensor]]
"""Inputs ``(1, C, U, V)`` of slices, and what is drawn on them ``(U, V)``."""


class KnownBefore:
    """The pretrained network, or else a linear guess; and what gray values say, where that is clearly better.

    Parameters
    ----------
    recipe : SliceRecipe
    subjects : of each of the network's input channels, the class that it speaks of; 0 for all
    gray_channels : how many of them are gray values; they come first
    classes : background included
    seed : int
    device : torch.device

    Attributes
    ----------
    network : the pretrained network; None where there is none for such channels
    share : how much it has to say to the end, as held-out slices judge it
    gray_guess : what gray values alone say, if :meth:`try_gray_values` found it worth showing
    """

    def __init__(
        self,
        recipe: SliceRecipe,
        subjects: Sequence[int],
        gray_channels: int,
        classes: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.subjects = subjects
        self.gray_channels = gray_channels
        self.classes = classes
        self.balance = recipe.balance
        self.seed = seed
        network = load_pretrained(subjects, classes) if recipe.pretrained else None
        if network is not None:
            network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network
        self.share = ALIKE

    def meet(self, prior: AnnotationPrior, bank: SliceBank, weights: torch.Tensor, *, much_is_labeled: bool) -> None:
        """Speak of another annotation from now on: its slices to learn from, with the classes' ``weights`` ``(K,)``."""
        self._bank = bank
        self._weights = weights
        self._much_is_labeled = much_is_labeled
        self._few_parallel = _few_parallel(prior)
        self._speaks: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.gray_guess: GrayGuess | None = None

    @staticmethod
    def is_all(steps: int) -> bool:
        """Whether a network of so many steps has nothing to add yet."""
        return fading_share(steps) > NOTHING_YET

    def share_after(self, steps: int) -> float:
        """How much this counts beside a network of so many steps, in what is shown."""
        return max(fading_share(steps), self.lasting_share)

    @property
    def lasting_share(self) -> float:
        """How much this counts in the end."""
        if self.network is None:
            return 0.0
        if self._few_parallel:
            several = self.classes > 2 and not self._much_is_labeled
            return max(self.share, PARALLEL_OF_SEVERAL if several else PARALLEL)
        return 0.0 if self._much_is_labeled else self.share

    def probabilities(self, inputs: torch.Tensor) -> torch.Tensor:
        """Class probabilities ``(N, K, U, V)`` of ``inputs`` ``(N, C, U, V)``."""
        if self._speaks is None:
            with torch.inference_mode(False):
                self._speaks = self._who_speaks()
        return self._speaks(inputs).softmax(1)

    def _who_speaks(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """From inputs to logits: the pretrained network if there is one, but for several structures much of labels."""
        one_by_one = self.classes > 2 and any(self.subjects)
        if self.network is not None and not (one_by_one and self._much_is_labeled):
            return self.network
        inputs, drawn = self._bank.inputs, self._bank.drawn
        if one_by_one:
            return guess_one_by_one(inputs, drawn, self.subjects, self.balance)
        return FirstGuess.of(inputs, drawn, self._weights).logits

    def weigh(self, opinions: Opinions) -> None:
        """Let held-out slices decide on the pretrained network's share, unless it has none."""
        if self.network is not None and not self._much_is_labeled:
            self.share = fitting_share(opinions)

    @torch.inference_mode()
    def try_gray_values(self, held_out: Seen) -> None:
        """Where much is labeled, let slices that are not learned from tell whether gray values alone find more."""
        seen = list(held_out)
        if not (self._much_is_labeled and seen):
            return
        with torch.inference_mode(False):
            gray = [inputs[: self.gray_channels] for inputs in self._bank.inputs]
            guess = GrayGuess.of(gray, self._bank.drawn, self._weights, self.seed)
        ours = [(guess.probabilities(inputs[:, : self.gray_channels])[0].cpu(), drawn) for inputs, drawn in seen]
        others = [(self.probabilities(inputs)[0].cpu(), drawn) for inputs, drawn in seen]
        if is_clearly_better(ours, others, self.classes):
            self.gray_guess = guess


def _few_parallel(prior: AnnotationPrior) -> bool:
    """Whether little more is known than a few slices of one orientation."""
    planes = [source for source in prior.sources if isinstance(source, PlaneSource)]
    return len(prior.sources) == len(planes) < FEW_PLANES and len({plane.axis for plane in planes}) == 1

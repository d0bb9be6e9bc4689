"""Cases together with everything that trainings on some of them have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from SparseSegLib.cohort.card import About, make_card
from SparseSegLib.cohort.dataset import Dataset
from SparseSegLib.cohort.files import CaseFiles
from SparseSegLib.cohort.folds import hold_out
from SparseSegLib.cohort.scoring import FoldScores, score_case
from SparseSegLib.cohort.settings import TrainSettings
from SparseSegLib.cohort.trainer import Files, TrainedModel, train
from SparseSegLib.control import Control
from SparseSegLib.devices import choose_device
from SparseSegLib.models import ModelCard, save_bundle
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.training.distributed import current_process_group


@dataclass(frozen=True)
class Cohort:
    """The data and settings of one or several trainings.

    Attributes
    ----------
    files, dataset : the cases as files and as examples, in one order
    settings : of each training
    about : for the models' cards
    held_out : how many of a training's cases choose its weights, and are not learned from
    validation : cases of their own that choose the weights instead
    """

    files: Sequence[CaseFiles]
    dataset: Dataset
    settings: TrainSettings
    about: About
    held_out: int = 0
    validation: Dataset | None = None

    def split(self, numbers: Sequence[int]) -> tuple[Dataset, Dataset | None]:
        """Of some of the cases those to learn from, and the volumes that choose the weights, if there are any.

        Raises AnnotationError if there would be nothing to learn.
        """
        if not self.held_out:
            dataset, validation = self.dataset.only(numbers), self.validation
        else:
            names = [self.files[number].name for number in numbers]
            kept, held = hold_out(names, self.held_out, self.settings.seed)
            dataset = self.dataset.only([numbers[place] for place in kept])
            validation = self.dataset.only([numbers[place] for place in held])
        dataset.check()
        return dataset, validation

    def train_on(
        self, numbers: Sequence[int], bundle: Path, files: Files, control: Control, name: str = ""
    ) -> tuple[ModelCard, TrainedModel]:
        """Train on some of the cases and save the bundle (rank 0 does); its card and the model."""
        dataset, validation = self.split(numbers)
        about = replace(self.about, name=name) if name else self.about
        about.check(dataset)
        model = train(dataset, self.settings, control, validation=validation, files=files)
        card = make_card(dataset, self.settings, model, about)
        if current_process_group().first:
            card = save_bundle(bundle, card, model.weights)
        return card, model

    def score(
        self, fold: int, numbers: Sequence[int], card: ModelCard, model: TrainedModel, control: Control
    ) -> list[FoldScores]:
        """Segment the cases that a fold left out with its model, and compare."""
        network = create_network(card.network, self.dataset.channels, card.classes, **model.arguments).eval()
        network.load_state_dict(model.weights)
        predictor = Predictor(card, network, choose_device(self.settings.device), events=control.events)
        rows = []
        for number in numbers:
            control.token.check()
            case = self.files[number].read()
            rows.append(FoldScores(fold, case.name, score_case(predictor, case, self.dataset.names)))
            dices = ", ".join(f"{score.name} {score.dice:.3f}" for score in rows[-1].scores)
            found = f"Dice {dices}" if dices else "no structure there, and none found"
            control.events.message(f"Fold {fold}, {case.name}: {found}.")
        return rows

"""Fine-tuning: training goes on from a model's network, weights and grid with other annotated volumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from SparseSegLib.cohort.dataset import Dataset, make_dataset
from SparseSegLib.cohort.learner import CohortLearner
from SparseSegLib.cohort.settings import TrainSettings
from SparseSegLib.errors import UsageError
from SparseSegLib.models.bundle import load_card, load_weights
from SparseSegLib.models.fields import LONGEST_TEXT

AVERAGED_STEPS = 100  # steps that the averaged weights count for, so that new ones soon matter


def adapted(settings: TrainSettings) -> TrainSettings:
    """The settings completed from the card of the model ``settings.start``.

    Raises
    ------
    UsageError
        If another network was chosen, or the model is several.
    ModelError
        If the card cannot be read.
    """
    card = load_card(settings.start)
    if settings.network not in (None, card.network):
        raise UsageError(
            f"The network of the model {card.name} is {card.network}, not {settings.network}.",
            "Leave the network out, or do without the model.",
        )
    if card.members > 1:
        raise UsageError(f"The model {card.name} is {card.members} models.", "Start from one of them.")
    arguments = dict(card.arguments)
    regions = arguments.pop("regions", None)
    return replace(
        settings,
        network=card.network,
        arguments=arguments,
        regions=regions if settings.regions is None else settings.regions,
        spacing=settings.spacing or card.preprocessing.spacing,
        patch=settings.patch or card.window,
        normalization=settings.normalization or card.preprocessing.normalization,
        bias_field=settings.bias_field or card.preprocessing.bias_field,
    )


def inherited(bundle: str) -> dict[str, str]:
    """Fields of ``About`` that a fine-tuned model's card takes over from the first one's."""
    card = load_card(bundle)
    data = f"Adapted from {card.name}: {card.data}" if card.data else f"Adapted from {card.name}."
    return {
        "data": data[:LONGEST_TEXT],
        "intended_use": card.intended_use,
        "license": card.license,
        "modality": card.modality,
    }


def in_order_of(bundle: str, dataset: Dataset) -> Dataset:
    """The dataset with its classes in the order, and with the values, that a model has them in.

    Where they are others than the model's, the dataset is returned as it is.
    """
    card = load_card(bundle)
    names, known = tuple(label.name.strip() for label in card.labels), {name.casefold() for name in dataset.names}
    if {name.casefold() for name in names} != known or len(names) != len(known):
        return dataset
    return replace(make_dataset(dataset.examples, dataset.spacing, names), values=card.values)


def begin_with(learner: CohortLearner, dataset: Dataset, bundle: Path) -> None:
    """Give a learner the weights of a model.

    Raises UsageError if the model has other structures, channels or another network.
    """
    card, weights = load_weights(bundle)
    known = [label.name.strip().casefold() for label in card.labels]
    if known != [name.strip().casefold() for name in dataset.names]:
        raise UsageError(
            f"The model {card.name} knows {', '.join(label.name for label in card.labels)}; annotated are "
            f"{', '.join(dataset.names)}.",
            "Annotate the same structures under the same names, or train a new model.",
        )
    if len(card.preprocessing.channels) != dataset.channels:
        raise UsageError(
            f"The model {card.name} takes {len(card.preprocessing.channels)} channels; the volumes have "
            f"{dataset.channels}.",
            "Give the same channels, in the same order.",
        )
    try:
        learner.warm_start({"network": weights, "averaged": weights, "averaged_steps": AVERAGED_STEPS})
    except ValueError as error:
        raise UsageError(
            f"The weights of the model {card.name} do not fit the network: {error}",
            "Choose neither regions nor arguments of the network, or do without the model.",
        ) from error

"""The card of a model that was trained on a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import isfinite

from SparseSegLib.cohort.dataset import Dataset
from SparseSegLib.cohort.settings import TrainSettings
from SparseSegLib.cohort.trainer import TrainedModel
from SparseSegLib.errors import UsageError
from SparseSegLib.io import default_color
from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing
from SparseSegLib.models.describing import DESCRIBED, check_description, check_length

Color = tuple[float, float, float]


@dataclass(frozen=True)
class About:
    """The texts of a card.

    Attributes
    ----------
    name, summary, intended_use, data, license, modality : see :class:`ModelCard`
    channels : names of the image's channels; none for "channel 1" and so on
    terminologies : 3D Slicer's terminology entries, by the structure's name
    colors : of the structures, by their names in lower case

    Raises
    ------
    UsageError
        If a text is longer than a card may have it, the name is empty, or the modality is not known.
    """

    name: str = "Model"
    summary: str = ""
    intended_use: str = ""
    data: str = ""
    license: str = ""
    modality: str = ""
    channels: Sequence[str] = ()
    terminologies: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, Color] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_description({name: getattr(self, name) for name in DESCRIBED})
        for structure, entry in self.terminologies.items():
            check_length(f"The terminology of {structure}", entry)

    def check(self, dataset: Dataset) -> None:
        """Raise UsageError if a model of ``dataset`` cannot have such a card: to be called before it is trained."""
        if self.channels and len(self.channels) != dataset.channels:
            raise UsageError(
                f"{len(self.channels)} names of channels were given, and there are {dataset.channels}.", "Name each."
            )
        for name in dataset.names:
            check_length("A structure's name", name)


def make_card(dataset: Dataset, settings: TrainSettings, model: TrainedModel, about: About) -> ModelCard:
    """The card of ``model``, which was trained on ``dataset``; figures that are not finite are left out.

    Raises
    ------
    UsageError
        As :meth:`About.check` does.
    """
    about.check(dataset)
    count = len(dataset.examples)
    figures: dict[str, float | int | str] = {
        "steps": model.steps,
        "seconds": round(model.seconds, 2),
        "cases": count,
    }
    if model.loss is not None and isfinite(model.loss):
        figures["loss"] = round(model.loss, 5)
    if model.validation is not None:
        figures |= {"validation_dice": round(model.validation, 5), "best_step": model.best_step}
    return ModelCard(
        name=about.name,
        network=settings.plan.network,
        arguments=model.arguments,
        preprocessing=Preprocessing(
            dataset.spacing,
            tuple(about.channels) or tuple(f"channel {number}" for number in range(1, dataset.channels + 1)),
            normalization=settings.plan.normalization,
            bias_field=settings.plan.bias_field,
        ),
        window=model.window,
        labels=tuple(
            ModelLabel(
                value,
                name,
                about.colors.get(name.casefold(), default_color(value)),
                str(about.terminologies.get(name, "")),
            )
            for value, name in zip(dataset.values or range(1, len(dataset.names) + 1), dataset.names, strict=True)
        ),
        summary=about.summary,
        intended_use=about.intended_use,
        data=about.data or f"{count} annotated volume{'s' if count > 1 else ''}",
        license=about.license,
        modality=about.modality,
        date=date.today().isoformat(),
        mirrored=settings.plan.mirror,
        figures=figures,
    )

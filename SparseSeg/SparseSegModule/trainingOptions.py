"""Options of a training; those that the model to start from fixes cannot be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SparseSegLib.models import ModelCard, ModelEntry
from SparseSegModule.modelChoice import ModelChoice
from SparseSegModule.networks import Network, showTips
from SparseSegModule.trainingChannels import TrainingChannels

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode


class TrainingOptions:
    """Keeps the panel's *Training options* in step with the parameter node and the library."""

    def __init__(self, panel) -> None:
        self.panel = panel
        ui = panel.ui
        self.channels = TrainingChannels(ui.trainingChannelsTable)
        self.start = ModelChoice(panel, ui.startSelector, "startModel", _("none: a new model"))
        decided = (ui.networkSelector, ui.channelNamesEdit, ui.nestedCheckBox)
        self._decided = [(widget, widget.toolTip) for widget in decided]

    def showModels(self, entries: Sequence[ModelEntry]) -> None:
        """Offer the models that may be fine-tuned."""
        self.start.offer(entry for entry in entries if _mayBeAdapted(entry))
        self.refresh()

    def refresh(self) -> None:
        """Follow the parameter node."""
        showTips(self.panel.ui.networkSelector, [network.tip() for network in Network])
        if self.panel.parameterNode is None:
            return
        self.start.refresh()
        card = self._card
        for widget, tip in self._decided:
            widget.enabled = card is None
            widget.toolTip = tip if card is None else _reason(card)
        if card is not None:
            self._follow(card)

    def showCases(self, volumeNodes: Sequence[vtkMRMLScalarVolumeNode]) -> None:
        """Ask for the further channels of these volumes, if there are several channels."""
        node = self.panel.parameterNode
        if node is None:
            self.channels.show((), (), {})
        else:
            known = {} if node.inputVolume is None else {node.inputVolume: self.panel.channels()}
            self.channels.show(self._channelNames(), volumeNodes, known)

    def chosen(self) -> dict[str, Any]:
        """What was chosen, as ``SparseSegLogic.trainModel`` takes it."""
        node = self.panel.parameterNode
        options: dict[str, Any] = {"noisyLabels": node.noisyLabels, "seed": node.seed, "device": node.device}
        if node.startModel:
            known = self.start.entry
            options["start"] = node.startModel if known is None else str(known.path)
        else:
            options |= {"network": node.network.value, "regions": "nested" if node.nested else None}
        return {**options, "channels": self._channelNames()}

    @property
    def _card(self) -> ModelCard | None:
        """The card of the model to start from."""
        return None if self.start.entry is None else self.start.entry.card

    def _channelNames(self) -> tuple[str, ...]:
        if self._card is not None:
            return self._card.preprocessing.channels
        names = [name.strip() for name in self.panel.parameterNode.channelNames.split(",")]
        return tuple(name for name in names if name)

    def _follow(self, card: ModelCard) -> None:
        """Show the model's network, channels and regions."""
        node = self.panel.parameterNode
        shown: dict[str, Any] = {
            "channelNames": ", ".join(card.preprocessing.channels),
            "nested": card.arguments.get("regions") == "nested",
        }
        if card.network in {network.value for network in Network}:
            shown["network"] = Network(card.network)
        for name, value in shown.items():
            if getattr(node, name) != value:
                setattr(node, name, value)


def _mayBeAdapted(entry: ModelEntry) -> bool:
    """Whether a training can begin with a model: a single network."""
    return entry.card is not None and entry.card.members == 1


def _reason(card: ModelCard) -> str:
    return _("Decided by the model {name}: its weights are those of a {network} and fit nothing else.").format(
        name=card.name, network=card.network
    )

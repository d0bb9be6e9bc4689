"""Options of a training; those that the model to start from fixes cannot be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SparseSegLib.models import ModelCard, ModelEntry
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
        self._entries: dict[str, ModelEntry] = {}
        self._names: list[str] = []
        decided = (ui.networkSelector, ui.channelNamesEdit, ui.nestedCheckBox)
        self._decided = [(widget, widget.toolTip) for widget in decided]
        ui.startSelector.connect("currentIndexChanged(int)", self._onStart)

    def showModels(self, entries: Sequence[ModelEntry]) -> None:
        """Offer the models that may be fine-tuned; of one name, the user's own."""
        self._entries = {}
        for entry in entries:
            if _mayBeAdapted(entry):
                self._entries.setdefault(entry.name, entry)
        self.refresh()

    def refresh(self) -> None:
        """Follow the parameter node."""
        showTips(self.panel.ui.networkSelector, [network.tip() for network in Network])
        if self.panel.parameterNode is None:
            return
        self._showStart(self.panel.parameterNode.startModel)
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
            known = self._entries.get(node.startModel)
            options["start"] = node.startModel if known is None else str(known.path)
        else:
            options |= {"network": node.network.value, "regions": "nested" if node.nested else None}
        return {**options, "channels": self._channelNames()}

    @property
    def _card(self) -> ModelCard | None:
        """The card of the model to start from."""
        entry = self._entries.get(self.panel.parameterNode.startModel)
        return None if entry is None else entry.card

    def _channelNames(self) -> tuple[str, ...]:
        if self._card is not None:
            return self._card.preprocessing.channels
        names = [name.strip() for name in self.panel.parameterNode.channelNames.split(",")]
        return tuple(name for name in names if name)

    def _showStart(self, chosen: str) -> None:
        """List the models, with the one that was chosen even if the library has lost it."""
        names = ["", *self._entries]
        if chosen not in names:
            names.append(chosen)
        selector = self.panel.ui.startSelector
        selector.blockSignals(True)
        if names != self._names:
            self._names = names
            selector.clear()
            for name in names:
                selector.addItem(name or _("none: a new model"))
        selector.setCurrentIndex(names.index(chosen))
        selector.blockSignals(False)

    def _onStart(self, index: int) -> None:
        if self.panel.parameterNode is not None and 0 <= index < len(self._names):
            self.panel.parameterNode.startModel = self._names[index]

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

"""Choosing a model to begin with, or none."""

from __future__ import annotations

from collections.abc import Iterable

from SparseSegLib.models import ModelEntry


class ModelChoice:
    """Keeps a selector in step with a parameter and the library; of one name, the user's own model is offered.

    A model that was chosen stays listed, even if the library has lost it.

    Parameters
    ----------
    panel : the widget of the module
    selector : QComboBox
    parameter : name of the parameter that has the model's name, "" for none
    nothing : what to show for none
    """

    def __init__(self, panel, selector, parameter: str, nothing: str) -> None:
        self._panel = panel
        self._selector = selector
        self._parameter = parameter
        self._nothing = nothing
        self._entries: dict[str, ModelEntry] = {}
        self._names: list[str] = []
        selector.connect("currentIndexChanged(int)", self._onChosen)

    @property
    def entry(self) -> ModelEntry | None:
        """The model that is chosen, if the library has it."""
        return self._entries.get(getattr(self._panel.parameterNode, self._parameter))

    def offer(self, entries: Iterable[ModelEntry]) -> None:
        """Offer these models."""
        self._entries = {}
        for entry in entries:
            self._entries.setdefault(entry.name, entry)
        self.refresh()

    def refresh(self) -> None:
        """Follow the parameter node."""
        if self._panel.parameterNode is None:
            return
        chosen = getattr(self._panel.parameterNode, self._parameter)
        names = ["", *self._entries]
        if chosen not in names:
            names.append(chosen)
        self._selector.blockSignals(True)
        if names != self._names:
            self._names = names
            self._selector.clear()
            for name in names:
                self._selector.addItem(name or self._nothing)
        self._selector.setCurrentIndex(names.index(chosen))
        self._selector.blockSignals(False)

    def _onChosen(self, index: int) -> None:
        if self._panel.parameterNode is not None and 0 <= index < len(self._names):
            setattr(self._panel.parameterNode, self._parameter, self._names[index])

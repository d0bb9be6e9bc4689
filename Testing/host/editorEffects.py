"""The effects of a Segment Editor's widget: its copies of them, their buttons, and its keys."""

from typing import Any

import shiboken6
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QPushButton, QWidget

from .effects import qSlicerSegmentEditorEffectFactory

SEGMENT_KEYS = ("Q", "W", "/", "*", ",", ".", ">", "<")
"""Pairs of keys for the segment before and the next one."""


class EditorEffects:
    """What a qMRMLSegmentEditorWidget has of effects and keys."""

    def availableEffectNames(self) -> tuple[str, ...]:
        """Return the names of the effects; lists of strings come as tuples out of PythonQt."""
        return tuple(effect.name for effect in self._registered)

    def effectByName(self, name: str) -> Any:
        """Return an effect, or None."""
        return next((effect for effect in self._registered if effect.name == name), None)

    def activeEffect(self) -> Any:
        """Return the effect in use, or None."""
        return self._active

    def setActiveEffect(self, effect: Any) -> None:
        """Use another effect, or none."""
        if self.mrmlSegmentEditorNode():
            self.mrmlSegmentEditorNode().SetActiveEffectName(effect.name if effect else "")

    def setActiveEffectByName(self, name: str) -> None:
        """Use the effect of that name; an unknown one is none."""
        self.setActiveEffect(self.effectByName(name))

    def effectNameOrder(self) -> tuple[str, ...]:
        """Return the order of the effects."""
        return tuple(self._order)

    def setEffectNameOrder(self, names: list[str]) -> None:
        """Set which effects come first."""
        self._order = list(names)
        self.updateEffectList()

    def updateEffectList(self) -> None:
        """Take over the effects that are new, and make the buttons."""
        for effect in qSlicerSegmentEditorEffectFactory.instance().copyEffects(self._registered):
            effect._undo.connect(self.saveStateForUndo)
            effect._select.connect(self.setActiveEffectByName)
            if self.mrmlSegmentEditorNode() is not None:
                effect.setParameterSetNode(self.mrmlSegmentEditorNode())
                effect.setMRMLDefaults()
            effect.setupOptionsFrame()
            effect.optionsFrame().setVisible(False)
            self._options.layout().addWidget(effect.optionsFrame())
        known = self.availableEffectNames()
        for button in self._buttons.values():
            button.setParent(None)
        rest = [name for name in known if name not in self._order] if self.unorderedEffectsVisible else []
        names = [name for name in self._order if name in known] + rest
        self._buttons = {name: QPushButton(name) for name in names}
        for index, (name, button) in enumerate(self._buttons.items()):
            button.setCheckable(True)
            button.clicked.connect(lambda _checked, name=name: self.setActiveEffectByName(name))
            self._effects.layout().addWidget(button, *divmod(index, self.effectColumnCount))

    def installKeyboardShortcuts(self, parent: QWidget | None = None) -> None:
        """Take the keys of the editor in a window, by default the one that it is in."""
        self.uninstallKeyboardShortcuts()
        keys: list[tuple[Any, Any]] = []
        for number in range(1, 11):
            keys.append((f"{number % 10}", lambda number=number: self._toggleEffect(number)))
            keys.append((f"Shift+{number % 10}", lambda number=number: self._toggleEffect(number + 10)))
        keys.append(("Esc", lambda: self.setActiveEffect(None)))
        keys.append(("Space", lambda: self.setActiveEffect(self._lastActive)))
        keys += [(key, self.undo) for key in ("Z", QKeySequence.StandardKey.Undo)]
        keys += [(key, self.redo) for key in ("Y", QKeySequence.StandardKey.Redo)]
        for place, key in enumerate(SEGMENT_KEYS):
            keys.append((key, lambda offset=place % 2 * 2 - 1: self.selectSegmentAtOffset(offset)))
        keys.append(("I", lambda: None))  # whether the volume's intensity masks, which no stand-in effect asks
        for key, function in keys:
            shortcut = QShortcut(QKeySequence(key), parent or self.window())
            shortcut.activated.connect(function)
            self._shortcuts.append(shortcut)

    def uninstallKeyboardShortcuts(self) -> None:
        """Give the keys of the editor back."""
        for shortcut in self._shortcuts:
            if shiboken6.isValid(shortcut):
                shortcut.setParent(None)
                shiboken6.delete(shortcut)
        self._shortcuts = []

    def _toggleEffect(self, number: int) -> None:
        """Use the effect of that number, counted from 1, or none if it is in use or there is none."""
        name = next(iter(list(self._buttons)[number - 1 : number]), "")
        active = self.activeEffect()
        self.setActiveEffectByName("" if active is not None and active.name == name else name)

    def _useEffect(self) -> None:
        """Change to the effect that the node names."""
        node = self.mrmlSegmentEditorNode()
        effect = self.effectByName(node.GetActiveEffectName() or "") if node is not None else None
        if effect is self._active or self.__dict__.get("_changesEffect"):  # Slicer's editor hears of no new nodes
            return
        self._changesEffect = True
        try:
            if self._active is not None:
                self._active.deactivate()
            if effect is not None:
                self.setupViewObservations()
                effect.activate()
            else:
                self.removeViewObservations()
        finally:
            self._changesEffect = False
        self._lastActive, self._active = self._active, effect

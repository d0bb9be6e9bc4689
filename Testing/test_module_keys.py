"""The keys of the panel, of the Segment Editor in it, and of Slicer's main window: none has two meanings."""

from collections import Counter
from collections.abc import Iterator

import pytest
from host import Host
from module_helpers import add_phantom
from PySide6 import QtGui, QtWidgets

MAIN_WINDOW = tuple(f"Ctrl+{key}" for key in "0123456CFGHOSVWX`")
MAIN_WINDOW += tuple(f"Ctrl+Shift+{key}" for key in ("A", "T", "Down", "Left", "Right", "Space"))
MAIN_WINDOW += ("Ctrl+Left", "Alt+Left", "Ctrl+Right", "Alt+Right")  # the module before and the next one
EDITOR = (*"1234567890ZYQW/*,.><I", *(f"Shift+{number}" for number in range(10)), "Esc", "Space", "Ctrl+Z")
"""Slicer's qMRMLSegmentEditorWidget::installKeyboardShortcuts, but for Redo, which differs between systems."""


def _keys(widget) -> Iterator[str]:
    """The keys that a window's parts wait for."""
    for shortcut in widget.findChildren(QtGui.QShortcut):
        yield shortcut.key.toString()
    for action in widget.findChildren(QtGui.QAction):
        yield from (key.toString() for key in action.shortcuts())
    for button in widget.findChildren(QtWidgets.QAbstractButton):
        if not button.shortcut.isEmpty():
            yield button.shortcut.toString()


def test_the_editor_has_its_keys_while_the_panel_is_shown(panel):
    window = panel.parent.window()
    assert set(EDITOR) <= set(_keys(window))
    panel.exit()
    assert not set(EDITOR) & set(_keys(window))
    panel.enter()
    assert set(EDITOR) <= set(_keys(window))


def test_no_key_has_two_meanings(panel):
    keys = Counter(_keys(panel.parent.window()))
    assert {"O", "C", "N"} <= set(keys)
    keys.update(MAIN_WINDOW)
    assert [key for key, count in keys.items() if count > 1] == []


def test_tips_name_the_keys(panel):
    for name, part in vars(panel.ui).items():
        if isinstance(part, QtWidgets.QPushButton) and not part.shortcut.isEmpty():
            key = part.shortcut.toString()
            assert f"({key})" in part.text or f"key: {key}" in part.toolTip, name


@pytest.mark.parametrize(
    ("keys", "effect"),
    [
        (["2"], "Paint"),
        (["2", "2"], ""),
        (["2", "Esc"], ""),
        (["2", "Esc", "Space"], "Paint"),
        (["4", "2", "Space"], "Erase"),
        (["Shift+1"], "Scissors"),
    ],
)
def test_keys_choose_the_editors_effects(panel, keys, effect):
    _phantom, volume_node = add_phantom()
    panel.parameterNode.inputVolume = volume_node
    editor = panel.ui.segmentEditorWidget
    editor.unorderedEffectsVisible = True
    editor.setEffectNameOrder(["Threshold", "Paint", "Draw", "Erase"])
    _press(panel, *keys)
    active = editor.activeEffect()
    assert (active.name if active is not None else "") == effect


def test_keys_choose_visible_segments(panel):
    _phantom, volume_node = add_phantom()
    panel.parameterNode.inputVolume = volume_node
    node, editor = panel.parameterNode.segmentation, panel.ui.segmentEditorWidget
    for name in ("second", "third"):
        node.GetSegmentation().AddEmptySegment(name, name)
    first = node.GetSegmentation().GetNthSegmentID(0)
    editor.setCurrentSegmentID(first)
    node.GetDisplayNode().SetSegmentVisibility("second", False)
    seen = []
    for key in ("Q", "W", "W", "."):
        _press(panel, key)
        seen.append(editor.currentSegmentID())
    assert seen == [first, "third", first, "third"]


def _press(panel, *keys: str) -> None:
    shortcuts = {each.key.toString(): each for each in panel.parent.window().findChildren(QtGui.QShortcut)}
    for key in keys:
        shortcuts[key].activated.emit()
        Host.instance().processEvents()

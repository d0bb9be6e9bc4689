"""The panel on small screens, in dark themes and in other languages."""

import re

import pytest
from host import Host
from module_helpers import MODULE, add_phantom, middle, paint_plane

SMALL_SCREEN = (471, 445)
"""Pixels that Slicer leaves for a module on a screen of 1366 x 768, and on one of twice that at 200 %."""


@pytest.fixture
def small_screen(panel):
    """The panel as Slicer shows it: in an area that scrolls what is too high."""
    import qt

    area = qt.QScrollArea()
    area.setWidgetResizable(True)
    parent = panel.parent.parentWidget()
    area.setWidget(panel.parent)
    area.resize(*SMALL_SCREEN)
    area.show()
    Host.instance().processEvents(0.1)
    yield area
    area.takeWidget()
    panel.parent.setParent(parent)
    area.close()


def test_the_bar_of_the_loop_stays_on_a_small_screen(panel, small_screen):
    import qt

    ui, host = panel.ui, Host.instance()
    phantom, volume_node = add_phantom()
    panel.parameterNode.inputVolume = volume_node
    paint_plane(panel.parameterNode.segmentation, volume_node, phantom.labels, middle(phantom.labels, 0))
    for section in (ui.inputsButton, ui.slicesButton, ui.advancedButton):
        section.collapsed = False
    ui.statusLabel.text = "Computes on: CPU, 2 threads. PyTorch 2.13. " * 3
    ui.progressLabel.text = "12 s left, IoU about 0.91 on held-out slices"
    host.processEvents(0.1)
    assert small_screen.verticalScrollBar().maximum == 0
    for button in (ui.densifyButton, ui.confirmButton, ui.suggestButton, ui.applyButton):
        corner = button.mapTo(small_screen, qt.QPoint(button.width, button.height))
        assert corner.x() <= SMALL_SCREEN[0]
        assert corner.y() <= SMALL_SCREEN[1]


def test_the_tables_show_at_400_pixels_what_matters(panel):
    ui, host = panel.ui, Host.instance()
    phantom, volume_node = add_phantom()
    panel.parameterNode.inputVolume = volume_node
    paint_plane(panel.parameterNode.segmentation, volume_node, phantom.labels, middle(phantom.labels, 0))
    ui.slicesButton.collapsed = False
    panel.parent.resize(400, 900)
    panel.parent.show()
    for tab, table, columns in ((0, ui.planeTable, 4), (2, ui.sliceTable, 4)):
        ui.tabs.setCurrentIndex(tab)
        host.processEvents(0.1)
        assert sum(table.columnWidth(column) for column in range(columns)) <= table.viewport().width
    assert ui.planeTable.item(0, 3).text() == "being edited"


def test_colors_come_from_the_theme():
    folder = MODULE.parent
    for path in [*folder.rglob("*.py"), *folder.rglob("*.ui")]:
        source = path.read_text("utf-8")
        assert not re.search(r"#[0-9a-fA-F]{6}\b|color\s*[=:]\s*['\"\w]*(red|gray|white|black)|QColor\(", source), path
        assert not re.search(r"styleSheet|setStyleSheet|<palette>", source), path


def test_choices_are_shown_in_the_users_language_and_kept_in_english(panel, monkeypatch):
    from SparseSegModule import networks

    german = {"thorough": "gründlich", "both": "beides", "auto": "automatisch"}
    monkeypatch.setattr(networks, "_", lambda text: german.get(text, text))
    panel.refresh()
    ui, node = panel.ui, panel.parameterNode
    assert ui.deviceSelector.itemText(0) == "automatisch"
    assert ui.outputSelector.itemText(0) == "beides"
    ui.presetSelector.currentIndex = 2
    assert ui.presetSelector.currentText == "gründlich"
    Host.instance().processEvents(0.05)
    assert node.preset == "thorough"
    panel.refresh()
    assert ui.presetSelector.currentIndex == 2

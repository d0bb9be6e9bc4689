"""The stand-in host has PythonQt's manners, so that what passes here has a chance in Slicer."""

import pytest


def test_properties_are_attributes(qt):
    button, table, timer = qt.QPushButton("one"), qt.QTableWidget(3, 2), qt.QTimer()
    button.text, button.enabled, table.rowCount, timer.singleShot = "two", False, 5, True
    assert (button.text, button.isEnabled(), table.rowCount, timer.singleShot) == ("two", False, 5, True)
    assert button.name == button.objectName == ""
    header = table.horizontalHeader()
    header.setSectionResizeMode(qt.QHeaderView.Stretch)
    table.selectionBehavior = qt.QAbstractItemView.SelectRows
    assert table.selectionBehavior == qt.QAbstractItemView.SelectRows


def test_unknown_attributes_are_refused(qt):
    button = qt.QPushButton()
    for name in ("txt", "setText", "clicked"):
        with pytest.raises(AttributeError):
            setattr(button, name, "x")
    with pytest.raises(AttributeError):
        _ = button.txt
    with pytest.raises(AttributeError):
        button.width = 3  # PythonQt cannot set a property without a setter
    with pytest.raises(TypeError):
        button.enabled = button

    class Own(qt.QWidget):
        pass

    own = Own()
    own.anything = 3
    assert own.anything == 3


def test_both_connect_styles(qt):
    calls = []
    button, combo = qt.QPushButton(), qt.QComboBox()
    button.connect("clicked(bool)", lambda checked: calls.append(("with", checked)))
    button.connect("clicked()", lambda *arguments: calls.append(("without", arguments)))
    button.clicked.connect(lambda: calls.append("attribute"))
    button.click()
    assert calls == [("with", False), ("without", ()), "attribute"]
    combo.addItems(["a", "b"])
    slot = calls.append
    combo.connect("currentIndexChanged(int)", slot)
    combo.currentIndex = 1
    assert combo.disconnect("currentIndexChanged(int)", slot)
    combo.currentIndex = 0
    assert calls[3:] == [1]


@pytest.mark.parametrize("signature", ["pushed()", "clicked(int)", "clicked"])
def test_unknown_signal_raises(qt, signature):
    with pytest.raises(ValueError, match="QPushButton has no signal"):
        qt.QPushButton().connect(signature, print)


def test_timers_and_wait(host, qt):
    ticks, timer = [], qt.QTimer()
    timer.setInterval(1)
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    assert host.wait(lambda: len(ticks) >= 2, 5)
    timer.stop()
    assert not host.wait(lambda: False, 0.01)


def test_errors_in_slots_are_recorded(host, qt):
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert len(host.errors) == 1 and "ZeroDivisionError" in host.errors[0]


def test_dialogs_are_recorded(host, slicer, qt):
    slicer.util.errorDisplay("bad", detailedText="x")
    assert slicer.util.confirmOkCancelDisplay("sure?")
    host.answers.append(False)
    assert not slicer.util.confirmYesNoDisplay("really?")
    host.answers.append("/tmp/a.nrrd")
    assert qt.QFileDialog.getOpenFileName(None, "Open") == "/tmp/a.nrrd"
    assert qt.QMessageBox.question(None, "title", "go on?") == qt.QMessageBox.Yes
    host.testing = False
    with pytest.raises(RuntimeError, match="inner"), slicer.util.tryWithErrorDisplay("outer"):
        raise RuntimeError("inner")
    kinds = ["error", "confirmOkCancel", "confirmYesNo", "getOpenFileName", "question", "error"]
    assert [kind for kind, _ in host.dialogs] == kinds and host.dialogs[-1][1] == "outer\n\ninner"

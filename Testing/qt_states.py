"""Qt's check states, by the stand-in host's ``qt`` module."""


def checked():
    """The state of a ticked box."""
    import qt

    return qt.Qt.Checked


def unchecked():
    """The state of an empty box."""
    import qt

    return qt.Qt.Unchecked

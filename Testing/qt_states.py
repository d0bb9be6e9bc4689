"""Qt's check states and roles, by the stand-in host's ``qt`` module."""


def checked():
    """The state of a ticked box."""
    import qt

    return qt.Qt.Checked


def unchecked():
    """The state of an empty box."""
    import qt

    return qt.Qt.Unchecked


def tip_role():
    """The role of an entry's tooltip."""
    import qt

    return qt.Qt.ToolTipRole

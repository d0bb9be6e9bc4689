"""Stand-ins of the CTK widgets that scripted modules use."""

from typing import Any

from PySide6.QtCore import Property, QRect, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import (
    QAbstractButton,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QSlider,
    QTextBrowser,
    QToolButton,
    QWidget,
)

from .standin import standIn, stored

HEADER_HEIGHT = 24
SLIDER_TICKS = 1000


class _Collapsible:
    """Hides the children of a widget while it is collapsed, and brings back those that were shown."""

    def _showContents(self) -> None:
        if self._collapsed:
            self._hidden = [child for child in self.children() if child.isWidgetType() and not child.isHidden()]
        for child in self._hidden:
            child.setVisible(not self._collapsed)
        if not self._collapsed:
            self._hidden = []

    def _setCollapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setChecked(not collapsed)
        self._showContents()

    def showEvent(self, event: Any) -> None:
        if self._collapsed and not self._hidden:
            self._showContents()
        super().showEvent(event)


@standIn("ctk")
class ctkCollapsibleButton(_Collapsible, QAbstractButton):
    """A section with a heading that opens and closes."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments: Any) -> None:
        strings = [each for each in arguments if isinstance(each, str)]
        super().__init__(next((each for each in arguments if isinstance(each, QWidget)), None))
        self.setText(strings[0] if strings else "")
        self._collapsed, self._hidden = False, []
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, HEADER_HEIGHT, 0, 0)
        self.toggled.connect(lambda checked: self._toggle(not checked))

    def _toggle(self, collapsed: bool) -> None:
        self._setCollapsed(collapsed)
        self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, lambda self, value: self._setCollapsed(value))
    flat = stored(bool, "flat", False)
    contentsFrameShape = stored(int, "contentsFrameShape", 0)
    collapsedHeight = stored(int, "collapsedHeight", 0)

    def hitButton(self, position: Any) -> bool:
        """Return whether a click lies on the heading."""
        return position.y() < HEADER_HEIGHT

    def paintEvent(self, _event: Any) -> None:
        """Draw the heading."""
        painter = QPainter(self)
        bar = QRect(0, 0, self.width, HEADER_HEIGHT)
        painter.fillRect(bar, self.palette.color(self.palette.ColorRole.Midlight))
        arrow = "▸" if self._collapsed else "▾"
        painter.drawText(
            bar.adjusted(6, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, f"{arrow} {QAbstractButton.text(self)}"
        )
        painter.end()


@standIn("ctk")
class ctkCollapsibleGroupBox(_Collapsible, QGroupBox):
    """A group box that opens and closes with its check mark."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._collapsed, self._hidden = False, []
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda checked: self._setCollapsed(not checked))

    collapsed = Property(bool, lambda self: self._collapsed, lambda self, value: self._setCollapsed(value))
    collapsedHeight = stored(int, "collapsedHeight", 0)


@standIn("ctk")
class ctkSliderWidget(QWidget):
    """A slider beside a spin box, for real numbers."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider, self._spinBox = QSlider(Qt.Orientation.Horizontal), QDoubleSpinBox()
        self._slider.setRange(0, SLIDER_TICKS)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._spinBox)
        self._spinBox.setRange(0, 100)
        self._spinBox.valueChanged.connect(self._follow)
        self._slider.sliderMoved.connect(self._drag)

    spinBoxVisible = Property(
        bool, lambda self: not self._spinBox.isHidden(), lambda self, visible: self._spinBox.setVisible(visible)
    )

    def _follow(self, value: float) -> None:
        low, high = self.minimum, self.maximum
        self._slider.setValue(round(SLIDER_TICKS * (value - low) / (high - low)) if high > low else 0)
        self.valueChanged.emit(value)

    def _drag(self, tick: int) -> None:
        self._spinBox.setValue(self.minimum + (self.maximum - self.minimum) * tick / SLIDER_TICKS)

    def _inner(qtType: type, name: str) -> Property:
        def write(self: QWidget, value: Any) -> None:
            setattr(self._spinBox, name, value)

        return Property(qtType, lambda self: getattr(self._spinBox, name), write)

    value = _inner(float, "value")
    minimum = _inner(float, "minimum")
    maximum = _inner(float, "maximum")
    singleStep = _inner(float, "singleStep")
    decimals = _inner(int, "decimals")
    suffix = _inner(str, "suffix")
    prefix = _inner(str, "prefix")
    pageStep = stored(float, "pageStep", 10.0)
    tracking = stored(bool, "tracking", True)
    spinBoxVisible = stored(bool, "spinBoxVisible", True)

    def setRange(self, low: float, high: float) -> None:
        """Set the smallest and the largest value."""
        self._spinBox.setRange(low, high)


@standIn("ctk")
class ctkDoubleSpinBox(QDoubleSpinBox):
    """A spin box for real numbers."""


@standIn("ctk")
class ctkComboBox(QComboBox):
    """A combo box with a text for no choice."""

    defaultText = stored(str, "defaultText", "")


@standIn("ctk")
class ctkCheckBox(QCheckBox):
    """A check box."""


@standIn("ctk")
class ctkMenuButton(QPushButton):
    """A push button with a menu at its side."""


@standIn("ctk")
class ctkSearchBox(QLineEdit):
    """A line to search with."""


@standIn("ctk")
class ctkMessageBox(QMessageBox):
    """A message box that can be told not to come again."""

    dontShowAgainSettingsKey = stored(str, "dontShowAgainSettingsKey", "")
    dontShowAgainVisible = stored(bool, "dontShowAgainVisible", False)


@standIn("ctk")
class ctkFittedTextBrowser(QTextBrowser):
    """A text browser as high as its text."""

    collapsed = stored(bool, "collapsed", False)
    collapsible = stored(bool, "collapsible", False)


class _PathWidget(QWidget):
    """A line for a path with a button to browse."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._edit, self._button = QLineEdit(), QToolButton()
        self._button.setText("...")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._edit)
        layout.addWidget(self._button)

    def _path(self) -> str:
        return self._edit.text

    def _setPath(self, path: str) -> None:
        self._edit.text = path


@standIn("ctk")
class ctkPathLineEdit(_PathWidget):
    """A line to enter or browse for a file or folder."""

    Files, Dirs, Readable, Writable, Executable = 0x002, 0x001, 0x010, 0x020, 0x040
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._edit.textChanged.connect(self.currentPathChanged)

    currentPath = Property(str, _PathWidget._path, _PathWidget._setPath)
    filters = stored(int, "filters", 0)
    nameFilters = stored("QStringList", "nameFilters", [])
    settingKey = stored(str, "settingKey", "")
    label = stored(str, "label", "")
    showHistoryButton = stored(bool, "showHistoryButton", True)

    def addCurrentPathToHistory(self) -> None:
        """Remember the path for the next time."""


@standIn("ctk")
class ctkDirectoryButton(_PathWidget):
    """A button that shows and chooses a folder."""

    directoryChanged = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._edit.textChanged.connect(self.directoryChanged)

    directory = Property(str, _PathWidget._path, _PathWidget._setPath)
    caption = stored(str, "caption", "")

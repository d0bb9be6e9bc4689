"""Stand-ins of the base classes of a scripted module: `slicer.ScriptedLoadableModule`."""

import logging
import os
import sys
import unittest
from pathlib import Path
from typing import Any

import slicer
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QFormLayout, QPushButton, QVBoxLayout

from .ctkWidgets import ctkCollapsibleButton


def _resource(modulePath: str, name: str) -> str:
    """Return a path in the Resources folder beside a module."""
    return os.path.join(os.path.dirname(modulePath), "Resources", name)


class ScriptedLoadableModule:
    """What Slicer knows of a module before its panel is made."""

    def __init__(self, parent: Any) -> None:
        super().__init__()
        self.parent, self.moduleName = parent, type(self).__name__
        parent.title, parent.categories, parent.dependencies, parent.contributors = "", [], [], []
        for suffix in (".svg", ".png"):
            icon = self.resourcePath(f"Icons/{self.moduleName}{suffix}")
            if Path(icon).is_file():
                parent.icon = QIcon(icon)
                break
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        """Return the path of a resource file."""
        return _resource(self.parent.path, filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        """Return a sentence with a link to the documentation."""
        return f'<p>For more information, see the <a href="{docPage or self.moduleName}">online documentation</a>.</p>'

    def runTest(self, msec: int = 100, **arguments: Any) -> None:
        """Run the module's self test."""
        test = getattr(sys.modules[type(self).__module__], self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**arguments)


class ScriptedLoadableModuleWidget:
    """The panel of a module."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        alone = parent is None
        if alone:
            parent = slicer.qMRMLWidget()
            parent.setLayout(QVBoxLayout())
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent, self.layout = parent, parent.layout()
        if alone:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        """Return the path of a resource file."""
        return _resource(slicer.util.modulePath(self.moduleName), filename)

    def setup(self) -> None:
        """Make the panel; here only the section for developers."""
        if self.developerMode:
            section = ctkCollapsibleButton()
            section.text = "Reload && Test"
            self.layout.addWidget(section)
            button = QPushButton("Reload")
            button.clicked.connect(self.onReload)
            QFormLayout(section).addRow(button)

    def cleanup(self) -> None:
        """Let go of everything; modules override it."""

    def onReload(self) -> None:
        """Load the module again."""
        slicer.util.reloadScriptedModule(self.moduleName)

    def onTest(self, **arguments: Any) -> None:
        """Run the self test."""
        slicer.selfTests[self.moduleName](**arguments)

    def onReloadAndTest(self, **arguments: Any) -> None:
        """Load the module again and run the self test."""
        self.onReload()
        self.onTest(**arguments)

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            manager = slicer.app.moduleManager()
            manager.disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """The work of a module, and its parameter node."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """Return the module's parameter node, a new one if the scene has none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                node.SetAttribute("ModuleName", self.moduleName)
                return node
        else:
            nodes = self.getAllParameterNodes()
            if nodes:
                return nodes[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list:
        """Return all parameter nodes of this module."""
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        """Return a new parameter node, not yet in the scene."""
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The self test of a module."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.messageDelay = 0
        self.enableScreenshots = False
        self.screenshotScaleFactor = 1.0
        self.moduleTestNames = [name for name in dir(self) if "test" in name and callable(getattr(self, name))]

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Say what the test is doing."""
        slicer.util.delayDisplay(message, msec or requestedDelay or self.messageDelay)

    def takeScreenshot(self, name: str, description: str, type: int = -1) -> None:
        """Take no screenshot."""
        logging.info("%s: %s", name, description)

    def runTest(self, **_arguments: Any) -> None:
        """Run all tests; modules override it."""
        for name in self.moduleTestNames:
            self.setUp()
            getattr(self, name)()
            self.tearDown()

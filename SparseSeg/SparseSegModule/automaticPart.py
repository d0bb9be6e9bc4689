"""Panel, part 4: models of the library, on volumes of the scene, a folder or patients; and training new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SparseSegLib.errors import Canceled, SparseSegError
from SparseSegLib.models import ModelEntry, ModelLibrary
from SparseSegModule.compare import CompareView
from SparseSegModule.dicomPatients import hasDatabase, patients
from SparseSegModule.inputsPart import drawnOn
from SparseSegModule.jobHandle import JobHandle, Listener
from SparseSegModule.labelWeights import lightCases
from SparseSegModule.modelChannels import ModelChannels
from SparseSegModule.modelChoice import ModelChoice
from SparseSegModule.modelFiles import FolderResult
from SparseSegModule.modelJobs import cardText
from SparseSegModule.modelMenu import ModelMenu
from SparseSegModule.modelResults import inWords, openResults, whereResultsAre
from SparseSegModule.patientChooser import PatientChooser
from SparseSegModule.selectors import NewNodes, hideMade, isMade
from SparseSegModule.trainingOptions import TrainingOptions
from SparseSegModule.translation import errorText

PROSTATE = "prostate-vnet"


class AutomaticPart(Listener):
    """Runs one model at a time, or trains one."""

    def __init__(self, panel) -> None:
        self.panel = panel
        self.handle: JobHandle | None = None
        self.compare = CompareView(panel.ui, panel.correct)
        self.channels = ModelChannels(panel.ui.modelChannelsFrame, self._updateButtons)
        self.training = TrainingOptions(panel)
        self.start = ModelChoice(panel, panel.ui.densifyStartSelector, "start", _("no model"))
        self.menu = ModelMenu(panel.ui.modelMenuButton, self._chosen, self.showModels)
        self._entries: list[ModelEntry] = []
        ui = panel.ui
        ui.folderSelector.filters = ui.resultsSelector.filters = ctk.ctkPathLineEdit.Dirs
        ui.modelSelector.connect("currentIndexChanged(int)", self._onModel)
        ui.runButton.connect("clicked()", self.onRun)
        ui.patientsButton.connect("clicked()", self.onPatients)
        ui.prostateButton.connect("clicked()", self.onProstate)
        ui.trainButton.connect("clicked()", self.onTrain)
        ui.caseSelector.connect("checkedNodesChanged()", self._updateButtons)
        ui.folderSelector.connect("currentPathChanged(QString)", self._updateButtons)
        self._newNodes = NewNodes(self._hideMade)
        self._hideMade()
        self.showModels()

    def refresh(self) -> None:
        """Follow the parameter node."""
        if self.handle is not None and self.handle.ended:  # it was abandoned with its scene
            self.handle = None
        self.training.refresh()
        self.start.refresh()
        self._updateButtons()

    def cleanup(self) -> None:
        """The panel goes; its job with it."""
        self.compare.stop()
        self._newNodes.stop()
        self.menu.cleanup()
        if self.handle is not None:
            self.handle.abandon()
            self.handle = None

    def selectors(self) -> list:
        """The selectors of volumes that are there now."""
        return [*self.channels.selectors(), *self.training.channels.selectors()]

    def showModels(self, chosen: str = "") -> None:
        """List the library's models."""
        selector = self.panel.ui.modelSelector
        self._entries = list(ModelLibrary().entries())
        selector.clear()
        for entry in self._entries:
            selector.addItem(entry.name)
        names = [entry.name for entry in self._entries]
        if chosen in names:
            selector.setCurrentIndex(names.index(chosen))
        self.training.showModels(self._entries)
        self.start.offer(entry for entry in self._entries if entry.card is not None)
        self._onModel()

    def onRun(self) -> None:
        """Segment the checked volumes, or the folder; a second press cancels."""
        if self.handle is not None:
            self.handle.cancel()
            return
        entry = self._chosen()
        if entry is None or not self.panel.requireTorch():
            return
        cases = self._cases()
        folder = self.panel.ui.folderSelector.currentPath
        options, allFrames = self._options(), self.panel.parameterNode.allFrames
        if cases:
            self._start(
                lambda: self.panel.logic.applyModel(str(entry.path), cases, wait=False, allFrames=allFrames, **options)
            )
        elif folder and (results := self._resultsFolder()) is not None:
            logic, name = self.panel.logic, str(entry.path)
            self._start(lambda: logic.applyModelToFolder(name, folder, results, wait=False, **options))

    def onPatients(self) -> None:
        """Ask for patients of the DICOM database, and segment their series."""
        entry = self._chosen()
        if entry is None or entry.card is None or not self.panel.requireTorch():
            return
        chooser = PatientChooser(patients(), entry.card.scans)
        if not chooser.exec_() or not chooser.chosen() or (results := self._resultsFolder()) is None:
            return
        logic, name, series = self.panel.logic, str(entry.path), chooser.chosen()
        self._start(lambda: logic.applyModelToSeries(name, series, results, wait=False, **self._options()))

    def onProstate(self) -> None:
        """Segment the prostate on the volume chosen under Inputs."""
        if self.handle is not None or not self.panel.requireTorch():
            return
        volumeNode, options = self.panel.parameterNode.inputVolume, self._options()
        self._start(lambda: self.panel.logic.applyModel(PROSTATE, volumeNode, wait=False, **options))

    def onTrain(self) -> None:
        """Train a model from the checked volumes and the segmentations that belong to them."""
        if self.handle is not None or not self.panel.requireTorch():
            return
        pairs = annotatedCases(self.panel.ui.caseSelector.checkedNodes())
        seconds = self.panel.parameterNode.budgetSeconds or 600

        def start() -> JobHandle:
            self.training.showCases([node for node, _drawn in pairs])  # one may have been drawn on since
            cases = [(self.training.channels.channelsOf(node), drawn) for node, drawn in pairs]
            options = self.training.chosen()
            return self.panel.logic.trainModel(cases, _freeName(), seconds, wait=False, listener=self, **options)

        self._start(start)

    def onProgress(self, event: dict[str, Any]) -> None:
        """Show how far it is."""
        text = _("{percent} %").format(percent=round(100 * event["fraction"]))
        if event.get("seconds_left") is not None:
            text += ", " + _("{seconds} s left").format(seconds=round(event["seconds_left"]))
        self.panel.ui.automaticLabel.text = text

    def onMessage(self, text: str) -> None:
        """Show a message of the worker."""
        self.panel.ui.automaticLabel.text = text

    def onEnded(self, handle: JobHandle) -> None:
        """Show the results, with the error of each case that has none."""
        self.handle = None
        label = self.panel.ui.automaticLabel
        if handle.error is not None:
            canceled = isinstance(handle.error, Canceled)
            label.text = _("Canceled.") if canceled else errorText(handle.error)
            if not canceled:
                slicer.util.errorDisplay(errorText(handle.error))
        elif isinstance(handle.result, str):
            label.text = _trained(handle)
            self.showModels(handle.result)
        elif isinstance(handle.result, FolderResult):
            label.text = "\n".join([*inWords(handle.result.results), whereResultsAre(handle.result)])
            openResults(handle.result)
        else:
            label.text = "\n".join(inWords(handle.result))
            good = [result for result in handle.result if result.volumeNode is not None]
            self.compare.show(good)
            if good and good[0].segmentationNode is not None:
                self.panel.parameterNode.shown = good[0].segmentationNode
        self._updateButtons()

    def _hideMade(self, _nodes: object = None) -> None:
        hideMade([self.panel.ui.caseSelector, *self.selectors()])

    def _options(self) -> dict[str, Any]:
        """How a model runs, as chosen in the panel."""
        node = self.panel.parameterNode
        return {"device": node.device, "flips": node.flips, "force": node.force, "listener": self}

    def _resultsFolder(self) -> Path | None:
        """Where results of files go, as chosen or asked for now; None if the user does not say."""
        selector = self.panel.ui.resultsSelector
        if not selector.currentPath:
            selector.currentPath = qt.QFileDialog.getExistingDirectory(
                slicer.util.mainWindow(), _("Where shall the results go?"), str(slicer.app.defaultScenePath)
            )
        return Path(selector.currentPath) if selector.currentPath else None

    def _start(self, start) -> None:
        try:
            self.handle = start()
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))
            return
        self.panel.ui.automaticLabel.text = _("Starting...")
        self._updateButtons()

    def _chosen(self) -> ModelEntry | None:
        index = self.panel.ui.modelSelector.currentIndex
        return self._entries[index] if 0 <= index < len(self._entries) else None

    def _onModel(self, _index: int = 0) -> None:
        entry = self._chosen()
        if entry is None:
            text = _("There is no model yet: train one from annotated volumes.")
        else:
            text = cardText(entry.card) if entry.card is not None else entry.problem
        self.panel.ui.modelCardLabel.text = text
        self._askForChannels(entry)
        self.menu.refresh()
        self._updateButtons()

    def _askForChannels(self, entry: ModelEntry | None) -> None:
        """Offer a choice for each channel of a model with several, at first those chosen under Inputs."""
        names = entry.card.preprocessing.channels if entry is not None and entry.card is not None else ()
        node = self.panel.parameterNode
        chosen = [] if node is None or node.inputVolume is None else [node.inputVolume, *self.panel.channels()]
        self.channels.show(names, chosen)

    def _cases(self) -> list:
        """What to segment: the checked volumes, or the channels of one case."""
        if self.channels.several:
            volumes = self.channels.volumes()
            return [volumes] if volumes else []
        return [node for node in self.panel.ui.caseSelector.checkedNodes() if not isMade(node)]

    def _updateButtons(self, _changed: object = None) -> None:
        ui, node = self.panel.ui, self.panel.parameterNode
        runs = self.handle is not None
        nodes = ui.caseSelector.checkedNodes()
        entry = self._chosen()
        ui.runButton.text = _("Cancel") if runs else _("Run")
        usable = entry is not None and entry.card is not None
        ui.runButton.enabled = runs or (usable and bool(self._cases() or ui.folderSelector.currentPath))
        ui.patientsButton.visible = hasDatabase()
        ui.patientsButton.enabled = usable and not runs and not self.channels.several
        annotated = [volumeNode for volumeNode, _segmentationNode in annotatedCases(nodes)]
        self.training.showCases(annotated)
        ui.trainButton.enabled = not runs and bool(annotated)
        hasProstate = any(known.card is not None and known.name == PROSTATE for known in self._entries)
        ui.prostateButton.visible = hasProstate
        ui.prostateButton.enabled = not runs and node is not None and node.inputVolume is not None


def annotatedCases(volumeNodes) -> list[tuple]:
    """Each volume with the first segmentation that was drawn on it and is not empty."""
    pairs = []
    for volumeNode in volumeNodes:
        segmentationNode = drawnOn(volumeNode)
        if segmentationNode is not None:
            pairs.append((volumeNode, segmentationNode))
    return pairs


def _trained(handle: JobHandle) -> str:
    """Where the new model is, and the cases whose labels had a low weight."""
    text = _("The model {name} is in the library now.").format(name=handle.result)
    light = lightCases(handle.figures)
    if light:
        named = ", ".join(f"{name} ({weight:.2f})" for name, weight in light)
        text += "\n" + _("Look at the labels of these: low weights (1 is the mean): {cases}").format(cases=named)
    return text


def _freeName() -> str:
    """A name that no model of the library has."""
    known = {entry.name for entry in ModelLibrary().entries()}
    number = 1
    while (name := _("My model {number}").format(number=number)) in known:
        number += 1
    return name

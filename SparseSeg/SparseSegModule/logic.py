"""The module's functions for the Python console, and the session that panel and Segment Editor effect share."""

from __future__ import annotations

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from SparseSegModule.engine import addEngineToPath
from SparseSegModule.parameterNode import SparseSegParameterNode


class SparseSegLogic(ScriptedLoadableModuleLogic):
    """The module's functions for the Python console: nodes in, nodes out."""

    _instance = None

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        addEngineToPath()
        from SparseSegModule.jobs import Jobs

        self._jobs = Jobs()
        self._session = None

    @classmethod
    def instance(cls):
        """The logic that panel and Segment Editor effect share, and with it their session."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    @property
    def session(self):
        """The loop on the drawing that is chosen in the scene, which panel and effect show: a Session."""
        if self._session is None:
            from SparseSegModule.session import Session

            self._session = Session(self)
        return self._session

    def end(self):
        """End session and jobs: the module is loaded again, or Slicer quits."""
        if self._session is not None:
            self._session.close()
        self.abandonJobs()
        type(self)._instance = None

    def getParameterNode(self):
        """The module's parameter node in the scene, with typed members."""
        return SparseSegParameterNode(super().getParameterNode())

    @property
    def jobs(self):
        """The jobs that run now."""
        return self._jobs.running

    @property
    def jobRunner(self):
        """The job runner, for the panel's parts."""
        return self._jobs

    @property
    def models(self):
        """The library of models (SparseSegLib.models.ModelLibrary): list, find, describe, add, export and remove."""
        from SparseSegLib.models import ModelLibrary

        return ModelLibrary()

    def abandonJobs(self):
        """End every job at once: the scene closes, or Slicer quits."""
        self._jobs.abandonAll()

    def densify(self, volumeNode, segmentationNode, budgetSeconds=None, *, wait=True, **options):
        """Train on the annotated slices of one volume and return its dense segmentation.

        :param volumeNode: the image (vtkMRMLScalarVolumeNode)
        :param segmentationNode: what is drawn on it (vtkMRMLSegmentationNode); each segment is a class
        :param budgetSeconds: how long it may take in all; None for the preset's
        :param wait: return the result, keeping Slicer alive meanwhile; else a job handle
        :param options: ``preset`` ("fast"), ``network`` (to train instead of the preset's), ``start`` (a model of the
          library, or the path of a bundle, whose network joins in and learns on), ``channels`` (further volume nodes),
          ``planes`` (a PlaneTable; by default those of the panel for this segmentation, else found from its shape),
          ``region`` (a vtkMRMLMarkupsROINode to work in), ``margin`` (0.1), ``seed`` (0), ``device`` ("auto"),
          ``output`` ("both", "labelmap" or "segmentation"), ``budgetSteps``, ``listener``,
          ``stay`` (seconds that the job waits for :meth:`learn` after each round; 0)
        :return: a DenseResult: ``labelmapNode``, ``segmentationNode``, ``uncertaintyNode``, ``estimatedIoU``,
          ``nextSlice``, ``seconds``, ``steps``
        :raises SparseSegError: with a message that says what is wrong and what to do
        """
        from SparseSegModule.densifier import startDensify

        handle = startDensify(self._jobs, volumeNode, segmentationNode, budgetSeconds, **options)
        return handle.wait() if wait else handle

    def annotation(self, volumeNode, segmentationNode, result=None):
        """The annotated slices of a drawing, to take over, confirm and remove: an AnnotationLoop.

        :param result: what :meth:`densify` returned; ``takeOver`` starts from it
        """
        from SparseSegModule.densifier import loopOn

        return loopOn(volumeNode, segmentationNode, result)

    def learn(self, handle, *, wait=True):
        """Have a densification that stays (``stay``) learn from what is drawn now, too: its next round.

        :param handle: what :meth:`densify` returned with ``wait=False``
        :return: the result, whose nodes are those of the last one, updated; or the handle
        """
        from SparseSegModule.densifier import learnMore

        learnMore(handle)
        return handle.wait() if wait else handle

    def suggestSlice(self, result, volumeNode=None):
        """The slice whose annotation promises most after a densification, as (axis, index) with axis 0, 1, 2 for
        z, y, x in voxels of the volume; None where nothing is unsure.

        :param result: what :meth:`densify` returned
        :param volumeNode: turn and move the right slice view of this volume there as well
        """
        from SparseSegModule.views import jumpTo

        plane = result.nextSlice
        if plane is None:
            return None
        if volumeNode is not None:
            jumpTo(volumeNode, plane)
        return plane.axis, plane.index

    def trainModel(self, cases, name, budgetSeconds=600, *, wait=True, **options):
        """Train a model from several annotated volumes; it joins the library.

        :param cases: pairs of a volume node and the segmentation node drawn on it; for a model of several channels, a
          list of volume nodes instead of one, in the same order for every case
        :param name: the model's name in the library
        :param budgetSeconds: how long to train
        :param options: ``start`` (a model of the library, or the path of a bundle, to begin with: it is fine-tuned on
          these volumes), ``network`` ("unet3d-half", or that of the model to begin with; see SparseSegModule.networks),
          ``channels`` (their names), ``noisyLabels`` (False; weight cases by how good their labels seem), ``regions``
          ("nested" where each segment lies inside the one before, or sums of segments' names), ``seed``, ``device``,
          ``budgetSteps``, ``listener``
        :return: the model's name, or a job handle, whose ``figures`` are those of the training
        """
        from SparseSegModule.modelJobs import startTraining

        handle = startTraining(self._jobs, cases, name, budgetSeconds, **options)
        return handle.wait() if wait else handle

    def applyModel(self, modelName, volumeNodes, *, wait=True, **options):
        """Segment volumes with a model of the library.

        :param modelName: its name, or the path of a bundle
        :param volumeNodes: one volume node, or a list of them; for a model of several channels a list of cases, each of
          them a list of volume nodes in the order of the model's channels
        :param options: ``device``, ``output``, ``flips``, ``force`` (also volumes that the model is not for; their
          result has ``warnings``), ``allFrames`` (of volumes that belong to a sequence; their results are a sequence of
          segmentations), ``listener``
        :return: one ModelResult for each volume (a list), with ``error`` set where one failed; or a job handle
        """
        from SparseSegModule.modelJobs import startSegmenting

        nodes = volumeNodes if isinstance(volumeNodes, (list, tuple)) else [volumeNodes]
        handle = startSegmenting(self._jobs, modelName, list(nodes), **options)
        return handle.wait() if wait else handle

    def applyModelToFolder(self, modelName, folder, resultsFolder, *, wait=True, **options):
        """Segment the images, or DICOM folders, in a folder; nothing is loaded into the scene.

        :param options: ``device``, ``flips``, ``force`` and ``listener``, as of :meth:`applyModel`
        :return: a FolderResult: its ``results`` have ``name``, ``file``, ``volumesMl``, ``error`` and ``warnings``; its
          ``report`` is the table with all of it, ``contactSheets`` are pictures; or a job handle
        """
        from SparseSegModule.modelFiles import startFolder

        handle = startFolder(self._jobs, modelName, folder, resultsFolder, **options)
        return handle.wait() if wait else handle

    def applyModelToSeries(self, modelName, series, resultsFolder, *, wait=True, **options):
        """Segment series of Slicer's DICOM database, as :meth:`applyModelToFolder` does with files.

        :param series: a list of those that :meth:`patients` have
        """
        from SparseSegModule.modelFiles import startSeries

        handle = startSeries(self._jobs, modelName, series, resultsFolder, **options)
        return handle.wait() if wait else handle

    def patients(self):
        """The patients of Slicer's DICOM database: each has ``name``, ``identifier``, ``studies`` and ``series``."""
        from SparseSegModule.dicomPatients import patients

        return patients()

    def segment(self, volumeNode, modelName, **options):
        """Segment one volume with a model of the library; its ModelResult, or the error is raised.

        :param volumeNode: the volume node, or a list of them for a model of several channels
        """
        (result,) = self.applyModel(modelName, [volumeNode], wait=True, **options)
        return result.orRaise()

    def compareSlices(self, segmentationNode, referenceNode, volumeNode=None):
        """Compare two segmentations on each slice of a volume, on any grids.

        :param volumeNode: by default the volume that the first was made from
        :return: a SliceComparison: its ``scores(axis, name)`` (axis 0, 1, 2 for z, y, x; of a segment, or of all) have
          ``plane``, ``dice``, and the voxels of ``first`` and ``second``; ``dice(name)`` is that of the whole volume
        """
        from SparseSegModule.sliceScores import prepareComparison

        return prepareComparison(segmentationNode, referenceNode, volumeNode)()

    def exportSegmentation(
        self, segmentationNode, path, format="", *, volumeNode=None, dicomFolder=None, overwrite=False
    ):
        """Write a segmentation as a file, whole or not at all.

        :param path: where to; .seg.nrrd and .nii.gz name the format. None for Slicer's DICOM database
        :param format: "seg.nrrd", "nifti", "dicom-seg" or "rtstruct"; the last two need it, and end in .dcm
        :param volumeNode: on whose grid; by default the volume that the segmentation was made from
        :param dicomFolder: where the slices of the volume's scan are, if Slicer's DICOM database does not have them
        :param overwrite: whether a file that is there may be replaced
        :return: the path
        """
        from pathlib import Path

        from SparseSegModule.databaseExport import DatabaseExport
        from SparseSegModule.exporter import prepareExport
        from SparseSegModule.exportFormats import formatOf

        if path is None:
            export = DatabaseExport(segmentationNode, formatOf(Path(), format or "dicom-seg"), volumeNode)
            export.write()
            return export.store()
        path = Path(path)
        folder = None if dicomFolder is None else Path(dicomFolder)
        return prepareExport(segmentationNode, path, formatOf(path, format), volumeNode, folder, overwrite=overwrite)()

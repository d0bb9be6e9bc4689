"""Reads and writes files of nodes and scenes with Slicer's own logics and storage nodes."""

from pathlib import Path
from typing import Any

import slicer

VOLUME_ENDINGS = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".tif", ".tiff")
LABELMAP_OPTION = 1


class CoreIOManager:
    """What slicer.util.loadVolume, loadSegmentation, saveNode and saveScene ask."""

    def fileType(self, path: str) -> str:
        """Return the type that a file's name tells of."""
        name = Path(path).name.lower()
        if name.endswith((".mrml", ".mrb")):
            return "SceneFile"
        if name.endswith((".seg.nrrd", ".seg.nhdr")):
            return "SegmentationFile"
        return "VolumeFile" if name.endswith(VOLUME_ENDINGS) else "TransformFile"

    def fileWriterFileType(self, node: Any, *_arguments: Any) -> str:
        """Return the type that a node is written as."""
        return node.GetClassName()

    def loadNodes(self, fileType: str, properties: dict, loaded: Any = None, messages: Any = None) -> bool:
        """Read a file into the scene; append its node to `loaded`."""
        path = Path(properties["fileName"])
        if fileType == "SceneFile":
            return loadScene(path, properties.get("clear", True))
        name = properties.get("name") or path.name.split(".")[0]
        readers = {"VolumeFile": _readVolume, "SegmentationFile": _readSegmentation, "TransformFile": _readTransform}
        reader = readers.get(fileType)  # Slicer, too, takes a type that it does not know for a file that it cannot read
        node = reader(path, name, properties) if reader is not None and path.exists() else None
        if node is None:
            if messages is not None:
                messages.AddMessage(0x10000, f"cannot read {path}")
            return False
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def saveNodes(self, fileType: str, properties: dict, _messages: Any = None) -> bool:
        """Write a node, or the scene with all its data."""
        path = Path(properties["fileName"])
        if fileType == "SceneFile":
            return saveScene(path) is not None
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(str(path))
        return bool(node.GetStorageNode().WriteData(node))


def _readVolume(path: Path, name: str, properties: dict) -> Any:
    options = LABELMAP_OPTION if properties.get("labelmap") else 0
    node = slicer.modules.volumes.logic().AddArchetypeVolume(str(path), name, options)
    if node is not None and properties.get("show", True):
        slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


def _readSegmentation(path: Path, name: str, _properties: dict) -> Any:
    return slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), True, name)


def _readTransform(path: Path, name: str, _properties: dict) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    return node if node.GetStorageNode().ReadData(node) else None


def saveScene(path: Path) -> Path | None:
    """Write the scene with its data, as an .mrb file or as a folder; return what to load, None in case of failure."""
    scene = slicer.mrmlScene
    if path.suffix == ".mrb":
        return path if scene.WriteToMRB(str(path), None) else None
    folder = path.with_suffix("") if path.suffix == ".mrml" else path
    folder.mkdir(parents=True, exist_ok=True)
    done = scene.SaveSceneToSlicerDataBundleDirectory(str(folder), None)
    return next(folder.glob("*.mrml"), None) if done else None


def loadScene(path: Path, clear: bool = True) -> bool:
    """Read a scene; the present one is closed first."""
    scene = slicer.mrmlScene
    if path.suffix == ".mrb":
        return bool(scene.ReadFromMRB(str(path), clear))
    scene.SetURL(str(path))
    return bool(scene.Connect() if clear else scene.Import())

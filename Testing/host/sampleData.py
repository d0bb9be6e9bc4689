"""A stand-in of the module SampleData, which loads only files of this machine."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlparse

import slicer
import vtk

LISTS = ("uris", "fileNames", "nodeNames", "loadFiles", "loadFileTypes", "checksums")
ATTEMPTS = 3


class SampleDataLogic:
    """The registry of sample data."""

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None:
        """Name a category."""
        vars(slicer.modules).setdefault("sampleDataSourceCategories", {})[category] = {"title": title}

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: dict | None = None,
        checksums: Any = None,
        loadFileType: Any = None,
    ) -> None:
        """Add a data set; one of the name that is there already stays."""
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType and loadFileTypes cannot be specified at the same time")
        values = (uris, fileNames, nodeNames, loadFiles, loadFileTypes or loadFileType, checksums)
        source = dict(zip(LISTS, values, strict=True))
        if isinstance(uris, str):
            source = {name: [value] for name, value in source.items()}
        made = SimpleNamespace(
            sampleName=sampleName,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            loadFileProperties=loadFileProperties or {},
            **source,
        )
        sources = vars(slicer.modules).setdefault("sampleDataSources", {}).setdefault(category, [])
        if made not in sources:
            sources.append(made)

    @staticmethod
    def sourceForSampleName(sampleName: str) -> Any:
        """Return the data set of that name."""
        every = vars(slicer.modules).get("sampleDataSources", {}).values()
        return next((each for sources in every for each in sources if each.sampleName == sampleName), None)

    def downloadSamples(self, sampleName: str) -> list:
        """Return the nodes loaded from a data set; a file that cannot be loaded is left out after some attempts."""
        source = self.sourceForSampleName(sampleName)
        if source is None:
            return []
        if source.customDownloader:
            return source.customDownloader(source)
        nodes = []
        for uri, name, kind in zip(source.uris, source.nodeNames, source.loadFileTypes, strict=True):
            for _attempt in range(ATTEMPTS):
                node = self.loadNode(_fileOf(uri), name, kind, dict(source.loadFileProperties))
                if node is not None:
                    nodes.append(node)
                    break
        return nodes

    def loadNode(self, uri: str, name: str | None, fileType: str | None, fileProperties: dict) -> Any:
        """Return the first node loaded from a file, or None."""
        fileProperties.update({"fileName": uri, **({"name": name} if name else {})})
        loaded = vtk.vtkCollection()
        manager = slicer.app.coreIOManager()
        if not manager.loadNodes(fileType or manager.fileType(uri), fileProperties, loaded):
            return None
        node = loaded.GetItemAsObject(0)
        if node.GetStorageNode() is not None:
            slicer.mrmlScene.RemoveNode(node.GetStorageNode())
        return node

    def downloadSample(self, sampleName: str) -> Any:
        """Return the first node loaded from a data set."""
        return self.downloadSamples(sampleName)[0]

    @classmethod
    def download(cls, sampleName: str) -> Any:
        """Return the first node loaded from a data set."""
        return cls().downloadSample(sampleName)


def _fileOf(uri: str) -> str:
    if urlparse(uri).scheme != "file":
        raise RuntimeError(f"the stand-in host does not download {uri}")
    return str(Path(unquote(urlparse(uri).path)))

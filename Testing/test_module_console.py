"""The examples of the page on the Python console, run as they stand, in a fraction of their seconds."""

import re
from pathlib import Path

import numpy as np
import slicer

from SparseSegLib.evaluation import iou

PAGE = Path(__file__).resolve().parents[1] / "Resources" / "Documentation" / "console.md"


MIDDLE = (slice(68, 100), slice(78, 126), slice(58, 106))
FRACTION = 8
MOST_SECONDS = 1.25


def _cropped(node):
    """Keep the middle of a volume, so that the examples take seconds."""
    from SparseSegModule.volumes import matrixFromGeometry, volumeGeometry, vtkFromMatrix

    geometry = volumeGeometry(node).crop(MIDDLE)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(slicer.util.arrayFromVolume(node)[MIDDLE]))
    node.SetIJKToRASMatrix(vtkFromMatrix(matrixFromGeometry(geometry)))
    return node


def _quicker(example: str) -> str:
    return re.sub(
        r"(?<=budgetSeconds=)\d+", lambda seconds: str(min(int(seconds[0]) / FRACTION, MOST_SECONDS)), example
    )


def test_the_examples_of_the_page_run(panel, capsys, monkeypatch):
    import SampleData  # the host's, which it has since the panel

    download = SampleData.downloadSample
    monkeypatch.setattr(SampleData, "downloadSample", lambda name: _cropped(download(name)))
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 10
    names: dict[str, object] = {}
    for number, example in enumerate(examples):
        exec(compile(_quicker(example), f"example {number + 1}", "exec"), names)
        if number == 2:
            dense = slicer.util.arrayFromVolume(names["result"].labelmapNode) > 0
            assert iou(dense, names["truth"]) > 0.7
            assert np.isfinite(names["result"].estimatedIoU)
    printed = capsys.readouterr().out
    assert "done" in printed
    assert "Nothing is drawn yet." in printed
    assert names["segmented"][0].error == ""
    assert names["segmented"][0].volumesMl["white matter"] > 0
    assert names["segmentationNode2"].GetSegmentation().GetNthSegment(0).GetName() == "white matter"
    assert names["adapted"] == "Adapted"
    assert [(one.error, one.file.is_file()) for one in names["found"].results] == [("", True)]
    assert names["axis"] in (0, 1, 2)
    assert names["plane"] in names["slices"].table.finished
    assert names["slices"].table.edited is None
    assert sum(case["patches"] for case in names["handle"].figures["label_weights"]) > 0
    assert names["segmentationNode3"].GetSegmentation().GetNthSegment(0).GetName() == "white matter"
    assert 0 <= names["worst"].dice <= names["comparison"].dice("white matter") < 1
    assert Path(names["path"]).is_file()

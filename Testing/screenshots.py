"""The pictures of panel and slice views in the README: the sample volume, densified in the stand-in host.

python Testing/screenshots.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]

import numpy as np
import slicer
from host import Host

SECONDS = 60
PANEL_AT = 0.6  # of the training


def main() -> None:
    """Tell the story once and take the pictures."""
    host = Host.instance()
    loaded = host.loadModule(ROOT / "SparseSeg" / "SparseSeg.py")
    loaded.enter()
    panel = loaded.widget
    from SparseSegModule.selfTest import annotate, loadSample
    from SparseSegModule.volumes import volumeArray

    volume, truth_node = loadSample()
    truth = (volumeArray(truth_node) > 0).astype(np.uint8)
    slicer.mrmlScene.RemoveNode(truth_node)
    panel.parameterNode.inputVolume = volume
    host.processEvents(0.1)
    empty = panel.parameterNode.segmentation
    drawn, table = annotate(volume, truth)
    panel.parameterNode.segmentation = drawn
    host.processEvents(0.1)
    slicer.mrmlScene.RemoveNode(empty)
    panel.session.loop.setTable(table)
    panel.parameterNode.budgetSeconds = SECONDS
    panel.ui.densifyButton.click()
    bar = panel.ui.progressBar
    host.wait(lambda: bar.value >= 100 * PANEL_AT, SECONDS + 60)
    pictures = ROOT / "Resources" / "Screenshots"
    host.screenshot(panel.parent, pictures / "panel.png")
    panel.parameterNode.resultOpacity = 1.0
    host.wait(lambda: panel.ui.densifyButton.enabled, SECONDS + 60)
    host.renderSlices(pictures / "slices.png", size=420, fit=True)
    print(panel.ui.progressLabel.text)
    host.quit()


if __name__ == "__main__":
    main()

"""What only the real application would otherwise show: names, signatures and imports of the module's files."""

import subprocess
import sys

import pytest
from host import Host, conventions
from module_helpers import MODULE, add_phantom, middle, paint_plane

FOLDER = MODULE.parent
CHECKS = ("unknownWidgets", "unknownSignals", "forbiddenImports", "formattedTranslations", "unconnectedScenes")
CHECKS += ("untranslatedTexts",)


@pytest.mark.parametrize("check", CHECKS)
def test_the_module_keeps_slicers_conventions(check):
    Host.instance()
    assert getattr(conventions, check)(FOLDER) == []


def test_every_parameter_name_in_the_panel_is_a_parameter(panel):
    from SparseSegModule.parameterNode import SparseSegParameterNode

    assert conventions.unknownParameters(FOLDER, SparseSegParameterNode) == []


def test_importing_the_module_imports_no_engine():
    code = (
        "import sys; sys.path[:0] = ['Testing', 'SparseSeg']\n"
        "from host import Host; Host.instance()\n"
        "import SparseSeg\n"
        "print([m for m in ('torch', 'SimpleITK', 'scipy', 'skimage') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    assert out.stdout.strip().splitlines()[-1] == "[]"


def test_the_panel_fits_400_pixels_whatever_names_are_in_it(panel):
    sections = ("inputs", "slices", "advanced")
    for name in (*(f"{section}Button" for section in sections), "trainingGroup"):
        getattr(panel.ui, name).collapsed = False
    panel.ui.prostateButton.visible = panel.ui.trainingChannelsTable.visible = True
    phantom, volume_node = add_phantom(name="a name of a volume that nobody reads to its end " * 3)
    panel.parameterNode.inputVolume = volume_node
    panel.parts[3].channels.show(("T1", "T1 with contrast", "T2", "FLAIR"), [volume_node])
    for label in ("setup", "modelCard", "progress", "automatic", "compare", "export", "status"):
        getattr(panel.ui, f"{label}Label").text = "a_name_without_blanks_" * 10
    panel.ui.setupFrame.visible = True
    panel.ui.segmentEditorWidget.setActiveEffectByName("Paint")
    paint_plane(panel.parameterNode.segmentation, volume_node, phantom.labels, middle(phantom.labels, 0))
    Host.instance().processEvents(0.05)
    assert panel.parent.minimumSizeHint().width() <= 400

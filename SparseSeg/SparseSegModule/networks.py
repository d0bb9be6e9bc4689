"""The networks that a model can be trained with, and descriptions of densify's presets."""

from __future__ import annotations

from enum import Enum

import qt
from slicer.i18n import tr as _


class Network(Enum):
    """Networks of the engine that learn from volumes of any size; the values are their names there."""

    UNET3D_HALF = "unet3d-half"
    UNET3D_SMALL = "unet3d-small"
    UNET3D_RESIDUAL = "unet3d-residual"
    UNET3D = "unet3d"
    VNET_SMALL = "vnet-small"
    VNET = "vnet"
    VNET_ANISOTROPIC = "vnet-anisotropic"
    RESUNET_SE_SMALL = "resunet-se-small"
    RESUNET_SE = "resunet_se"
    SEGRESNET_VAE_SMALL = "segresnet-vae-small"
    SEGRESNET_VAE = "segresnet_vae"
    UNET2D_SLICES = "unet2d-slices"

    def label(self) -> str:
        """Its name in the panel."""
        return _inWords()[self][0]

    def tip(self) -> str:
        """Its tooltip."""
        return _inWords()[self][1]


def presetTips() -> dict[str, str]:
    """Descriptions of densify's presets."""
    return {
        "fast": _("A 2.5D U-Net beside a prior from your outlines, in small regions a 3D one too; about a minute."),
        "balanced": _("The same with a wider network; three minutes."),
        "thorough": _("A wider one yet, with larger patches; a quarter of an hour."),
        "unet3d": _("A small 3D U-Net that sees the image only; three minutes."),
        "cicek2016": _("Exactly the 3D U-Net paper: network, loss and augmentation. Needs a GPU and hours."),
    }


def showNames(selector: qt.QComboBox, choices: list[str]) -> None:
    """Show choices of the parameter node in the user's language, in their order; names of methods are the same."""
    words = {
        "fast": _("fast"),
        "balanced": _("balanced"),
        "thorough": _("thorough"),
        "both": _("both"),
        "labelmap": _("labelmap"),
        "segmentation": _("segmentation"),
        "auto": _("auto"),
    }
    for number, choice in enumerate(choices):
        selector.setItemText(number, words.get(choice, choice))


def showTips(selector: qt.QComboBox, tips: list[str]) -> None:
    """Give each entry of a combo box its tooltip."""
    for number, tip in enumerate(tips):
        selector.setItemData(number, tip, qt.Qt.ToolTipRole)


def _inWords() -> dict[Network, tuple[str, str]]:
    return {
        Network.UNET3D_HALF: (
            _("3D U-Net at half resolution"),
            _("Learns most in minutes, on any computer: it works on a coarser grid, and sharpens outlines at the end."),
        ),
        Network.UNET3D_SMALL: (
            _("3D U-Net, small"),
            _("Works at full resolution, at a third of the speed. Çiçek et al. 2016, narrower and with group norm."),
        ),
        Network.UNET3D_RESIDUAL: (
            _("Residual 3D U-Net at half resolution"),
            _("Learns one small structure from few labels; densify trains it beside its slices. Kerfoot et al. 2018."),
        ),
        Network.UNET3D: (_("3D U-Net"), _("At its full width: for a GPU and hours. Çiçek et al. 2016.")),
        Network.VNET_SMALL: (
            _("V-Net, small"),
            _("Residual stages and a larger field of view, narrow enough for a CPU. Milletari et al. 2016."),
        ),
        Network.VNET: (_("V-Net"), _("As in the paper: for a GPU and hours. Milletari et al. 2016.")),
        Network.VNET_ANISOTROPIC: (
            _("V-Net for thick slices"),
            _("Residual stages; voxels that are longer along z become cubes on the way down. For a CPU and an hour."),
        ),
        Network.RESUNET_SE_SMALL: (
            _("Recurrent residual U-Net, small"),
            _("Refines its own first result (recurrent) and weights its channels (squeeze-and-excitation); for a CPU."),
        ),
        Network.RESUNET_SE: (
            _("Recurrent residual U-Net"),
            _("The network for radiotherapy targets on CT (Tsinghua 2019) at its full width: for a GPU and hours."),
        ),
        Network.SEGRESNET_VAE_SMALL: (
            _("Residual network with autoencoder, small"),
            _("While it trains it also learns to reconstruct the image, which helps with few volumes; for a CPU."),
        ),
        Network.SEGRESNET_VAE: (
            _("Residual network with autoencoder"),
            _("Myronenko's network for brain tumors (BraTS 2018) at its full width: for a GPU and hours."),
        ),
        Network.UNET2D_SLICES: (
            _("2D U-Net, slice by slice"),
            _("Sees every axial slice by itself: for scans with thick slices. Ronneberger et al. 2015."),
        ),
    }

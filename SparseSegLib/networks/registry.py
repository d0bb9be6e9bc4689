"""All networks by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from SparseSegLib.errors import UsageError
from SparseSegLib.networks.anisotropic_vnet import AnisotropicVNet
from SparseSegLib.networks.half_unet3d import HalfUNet3D
from SparseSegLib.networks.region_network import RegionNetwork
from SparseSegLib.networks.residual_unet3d import ResidualUNet3D
from SparseSegLib.networks.resunet_se import ResUNetSE
from SparseSegLib.networks.segresnet_vae import SegResNetVAE
from SparseSegLib.networks.slice_by_slice import SliceBySlice
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.networks.unet2d import UNet2D
from SparseSegLib.networks.unet3d import UNet3D
from SparseSegLib.networks.vnet import VNet

_NETWORKS: dict[str, tuple[Callable[..., nn.Module], dict[str, Any]]] = {
    "cicek2016": (UNet3D, {}),
    "unet3d": (UNet3D, {"padded": True}),
    "unet3d-small": (UNet3D, {"base": 8, "levels": 3, "padded": True, "norm": "group", "affine": True}),
    "unet3d-half": (HalfUNet3D, {}),
    "unet3d-residual": (ResidualUNet3D, {}),
    "ronneberger2015": (UNet2D, {}),
    "unet2d": (UNet2D, {"base": 16, "levels": 4, "padded": True, "norm": "batch", "dropout": 0.0}),
    "slice-unet": (SliceUNet, {}),
    "unet2d-slices": (SliceBySlice, {"base": 16, "levels": 4, "norm": "batch", "dropout": 0.0}),
    "vnet": (VNet, {}),
    "vnet-small": (VNet, {"base": 8, "kernel": 3, "norm": "group"}),
    "vnet-anisotropic": (AnisotropicVNet, {}),
    "segresnet_vae": (SegResNetVAE, {}),
    "segresnet-vae-small": (SegResNetVAE, {"base": 8, "blocks": (1, 1, 2), "grid": (4, 4, 4), "latent": 32}),
    "resunet_se": (ResUNetSE, {}),
    "resunet-se-small": (ResUNetSE, {"widths": (8, 16, 32), "passes": 2, "reduction": 4}),
}


def network_names() -> list[str]:
    """The names for :func:`create_network`."""
    return sorted(_NETWORKS)


def create_network(name: str, in_channels: int, classes: int, **arguments: Any) -> nn.Module:
    """A new network.

    Parameters
    ----------
    name : one of :func:`network_names`
    in_channels, classes : int
    arguments : what the network's class takes, instead of what the name stands for; and for every network ``regions``,
        to have a sigmoid for each region instead of a softmax over the classes, see
        :class:`~SparseSegLib.networks.region_network.RegionNetwork`

    Raises
    ------
    UsageError
        For a name that is not there, or regions that cannot be.
    """
    if name not in _NETWORKS:
        raise UsageError(f"There is no network called {name}.", f"Use one of {', '.join(network_names())}.")
    make, defaults = _NETWORKS[name]
    chosen = {**defaults, **arguments}
    if "regions" not in chosen or getattr(make, "has_regions", False):
        return make(in_channels, classes, **chosen)
    regions = chosen.pop("regions")
    return RegionNetwork(lambda channels, outputs: make(channels, outputs, **chosen), in_channels, classes, regions)

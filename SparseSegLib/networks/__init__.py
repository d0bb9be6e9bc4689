"""Networks: tensors in, logits out. One file each, one registry."""

from SparseSegLib.networks.registry import create_network, network_names

__all__ = ["create_network", "network_names"]

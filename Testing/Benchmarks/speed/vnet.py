"""The full-width V-Net forward, here and in MONAI, on the same input in the same run.

    python Testing/Benchmarks vnet
    python Testing/Benchmarks vnet --device cuda --bf16

Printed are milliseconds (the best of several runs, in turns) and the ratio. MONAI's network has fewer convolutions than
the paper's: 1, 1, 2, 3, 2 on the left and 2, 2, 1, 1 on the right, instead of 1, 2, 3, 3, 3 and 3, 3, 2, 1.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn

from SparseSegLib.devices import choose_device
from SparseSegLib.networks import create_network

try:
    from monai.networks.nets import VNet as MonaiVNet
except ImportError:
    MonaiVNet = None


def main() -> None:
    """Time both networks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(64, 128, 128), metavar=("Z", "Y", "X"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--bf16", action="store_true", help="weights and input in bfloat16")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device, kind = choose_device(arguments.device), torch.bfloat16 if arguments.bf16 else torch.float32
    image = torch.randn(1, 1, *arguments.size, device=device, dtype=kind)
    networks: dict[str, nn.Module] = {name: create_network(name, 1, 2) for name in ("vnet", "vnet-small")}
    if MonaiVNet is None:
        print("MONAI is not installed: its row is left out.")
    else:
        networks["MONAI VNet"] = MonaiVNet(spatial_dims=3, in_channels=1, out_channels=2)
    networks = {name: network.to(device, kind).eval() for name, network in networks.items()}
    best = {name: forward(network, image) for name, network in networks.items()}  # the first run warms up
    best = dict.fromkeys(best, float("inf"))
    for _ in range(arguments.repeats):
        for name, network in networks.items():
            best[name] = min(best[name], forward(network, image))
    print("| network | parameters | ms | of vnet |\n| --- | --- | --- | --- |")
    for name, network in networks.items():
        count = sum(parameter.numel() for parameter in network.parameters())
        print(f"| {name} | {count:,} | {1000 * best[name]:.1f} | {best[name] / best['vnet']:.2f} |")


@torch.inference_mode()
def forward(network: nn.Module, image: torch.Tensor) -> float:
    """Seconds of one pass."""
    begin = time.perf_counter()
    network(image)
    if image.device.type == "cuda":
        torch.cuda.synchronize(image.device)
    return time.perf_counter() - begin

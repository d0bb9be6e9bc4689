"""Training steps per second of SparseSeg's 3D networks and of MONAI's, in one run on one device."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from Benchmarks.shared.rows import Row
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.networks import create_network, network_names
from SparseSegLib.training.losses import weighted_cross_entropy

OWN = ("unet3d", "cicek2016", "vnet")
CLASSES = 2
WARM_UP = 3  # steps in which cuDNN looks for its fastest algorithms
LABELED_SHARE = 0.05


@dataclass(frozen=True)
class Contender:
    """A network and what it is trained on: batches of ``size`` (z, y, x)."""

    name: str
    make: Callable[[], nn.Module]
    batch: int
    size: tuple[int, int, int]


def contenders(*, quick: bool) -> list[Contender]:
    """SparseSeg's networks that exist in this version, and MONAI's if it is installed.

    Networks that keep the size see 2 × 64×128×128 voxels, as in the V-Net paper; ``cicek2016``, which does not, the
    patch of its preset. MONAI's ``VNet`` has fewer convolutions than the paper's: compare operations per second rather
    than steps. With ``quick`` all are tiny.
    """
    batch, size = (2, (16, 32, 32)) if quick else (2, (64, 128, 128))
    found = []
    for name in OWN:
        if name not in network_names():
            print(f"Left out: {name} is not in this version.")
        elif name == "cicek2016":
            network = _maker(name, {"base": 2, "levels": 3} if quick else {})
            found.append(Contender(name, network, 1, (44, 52, 52) if quick else (116, 132, 132)))
        else:
            found.append(Contender(name, _maker(name, {"base": 2} if quick else {}), batch, size))
    if importlib.util.find_spec("monai") is None:
        print("Left out: MONAI is not installed (pip install monai).")
    else:
        found += _monai_contenders(batch, size, quick=quick)
    return found


def _maker(name: str, arguments: dict[str, int]) -> Callable[[], nn.Module]:
    return lambda: create_network(name, 1, CLASSES, **arguments)


def _monai_contenders(batch: int, size: tuple[int, int, int], *, quick: bool) -> list[Contender]:
    """``UNet`` with the channels of the 3D U-Net's levels, ``BasicUNet`` (the same shape of network), and ``VNet``."""
    from monai.networks.nets import BasicUNet, UNet, VNet

    widths = (2, 4, 8, 16) if quick else (64, 128, 256, 512)
    features = (2, 4, 8, 16, 32, 2) if quick else (32, 64, 128, 256, 512, 32)
    return [
        Contender("MONAI UNet", lambda: UNet(3, 1, CLASSES, widths, (2, 2, 2), num_res_units=2), batch, size),
        Contender("MONAI BasicUNet", lambda: BasicUNet(3, 1, CLASSES, features), batch, size),
        Contender("MONAI VNet", lambda: VNet(spatial_dims=3, in_channels=1, out_channels=CLASSES), batch, size),
    ]


def measure_all(device: torch.device, seconds: float, *, quick: bool) -> list[Row]:
    """Every network in float32 and bf16, in both memory formats, for about ``seconds`` each."""
    torch.backends.cudnn.benchmark = True
    rows = []
    for contender in contenders(quick=quick):
        for bf16 in (False, True):
            for channels_last in (False, True):
                row: Row = {"network": contender.name, "precision": "bf16" if bf16 else "float32"}
                row["format"] = "channels last" if channels_last else "channels first"
                try:
                    row |= measure(contender, device, seconds, bf16=bf16, channels_last=channels_last)
                except torch.OutOfMemoryError:
                    torch.cuda.empty_cache()
                    row["steps_per_second"] = None
                rows.append(row)
                print(row, flush=True)
    return rows


def measure(contender: Contender, device: torch.device, seconds: float, *, bf16: bool, channels_last: bool) -> Row:
    """Steps per second of one network; forward, loss on sparse labels, backward and SGD, without any data loading."""
    torch.manual_seed(0)
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    network = contender.make().to(device).to(memory_format=layout)  # type: ignore[call-overload]
    image = torch.randn(contender.batch, 1, *contender.size, device=device).to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)
    with torch.no_grad():
        size = network(image).shape[2:]
    target = torch.randint(0, CLASSES, (contender.batch, *size), device=device)
    target = target.masked_fill(torch.rand(target.shape, device=device) > LABELED_SHARE, UNLABELED)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = weighted_cross_entropy(network(image), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    rate = 1 / seconds_per_call(step, device, seconds)
    row: Row = {"batch": contender.batch, "size": list(contender.size), "steps_per_second": round(rate, 3)}
    row["parameters"] = sum(values.numel() for values in network.parameters())
    row["tflop_per_second"] = round(rate * counter.get_total_flops() / 1e12, 3)
    if device.type == "cuda":
        row["memory_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
    return row


def seconds_per_call(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The mean time of a call over about ``seconds``, after a warm-up; on a GPU by its own clock."""
    for _ in range(WARM_UP):
        call()
    count = max(WARM_UP, math.ceil(seconds / elapsed(call, device, 1)))
    return elapsed(call, device, count) / count


def elapsed(call: Callable[[], object], device: torch.device, count: int) -> float:
    """Seconds that ``count`` calls take until their work on the device is done."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record(torch.cuda.current_stream(device))
        for _ in range(count):
            call()
        end.record(torch.cuda.current_stream(device))
        end.synchronize()
        return start.elapsed_time(end) / 1000
    began = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - began

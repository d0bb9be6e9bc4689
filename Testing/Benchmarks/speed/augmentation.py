"""B-spline deformation and histogram matching here, in SimpleITK and in MONAI: the same work on the same volumes.

    python Testing/Benchmarks augmentation
    python Testing/Benchmarks augmentation --device cuda --batch 2

Image and labels are deformed by one random B-spline of 2×2×2 cells with a standard deviation of 15 voxels. SimpleITK
evaluates the same control points. MONAI has no such transform: it gets the finished displacements, and only its
``Warp`` is timed. It has no histogram matching either. Printed are milliseconds per volume (the best of several runs)
and how far the peers' deformed images lie from ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
import torch

from SparseSegLib.augmentation import bspline_displacements, match_histograms, quantile_tables, read
from SparseSegLib.devices import choose_device

try:
    from monai.networks.blocks import Warp
except ImportError:
    Warp = None

KNOTS = 5
DEVIATION = 15.0
Size = tuple[int, int, int]
Row = dict[str, float]


def main() -> None:
    """Time both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(64, 128, 128), metavar=("Z", "Y", "X"))
    parser.add_argument("--batch", type=int, default=2, help="volumes at a time; SimpleITK takes one after the other")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="where torch computes")
    parser.add_argument("--threads", type=int, help="of torch and SimpleITK")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(arguments.threads)
    if Warp is None:
        print("MONAI is not installed: its column is left out.")
    case = Case(tuple(arguments.size), arguments.batch, arguments.repeats, choose_device(arguments.device))
    write_table({"deformation": case.deformation(), "histogram matching": case.histogram_matching()})


class Case:
    """One batch of random volumes with labels, its control points and the scans whose gray values it shall get."""

    def __init__(self, size: Size, batch: int, repeats: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (batch, *size)
        self.size, self.batch, self.repeats, self.device = size, batch, repeats, device
        self.images = torch.rand(shape, generator=generator).cumsum(-1).to(device)[:, None]
        self.others = torch.randn(shape, generator=generator).exp().to(device)[:, None]
        self.labels = torch.randint(0, 2, shape, generator=generator, dtype=torch.uint8).to(device)
        self.vectors = DEVIATION * torch.randn(batch, 3, *(KNOTS,) * 3, generator=generator).to(device)
        lines = [torch.arange(part, device=device) for part in size]
        self.still = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)
        places = self.places()
        last = torch.tensor(size, device=device) - 1
        self.inside = ((places >= 0) & (places <= last)).all(-1)  # outside, each has other gray values to offer

    def places(self) -> torch.Tensor:
        """Where each voxel of the batch is read."""
        return bspline_displacements(self.vectors, self.size).movedim(1, -1) + self.still

    def deformation(self) -> Row:
        """Milliseconds of each library; prints how far the images are apart."""

        def ours() -> torch.Tensor:
            return read(self.images, self.labels, self.places())[0][:, 0]

        row, expected = {"SparseSeg": self.time(ours)}, ours()
        row["SimpleITK"] = self.time(self._with_sitk)
        self._compare("SimpleITK", torch.stack(self._with_sitk()), expected)
        if Warp is not None:
            displacements = bspline_displacements(self.vectors, self.size)
            linear, nearest = (Warp(mode=mode, padding_mode="reflection") for mode in ("bilinear", "nearest"))

            def monai() -> torch.Tensor:
                nearest(self.labels[:, None].float(), displacements)
                return linear(self.images, displacements)[:, 0]

            row["MONAI"] = self.time(monai)
            self._compare("MONAI", monai(), expected)
        return row

    def histogram_matching(self) -> Row:
        """Milliseconds of each library that has it; the tables of the other scans are made beforehand."""
        tables = quantile_tables(self.others)
        images, others = ([sitk.GetImageFromArray(v[0].cpu().numpy()) for v in b] for b in (self.images, self.others))

        def with_sitk() -> list[sitk.Image]:
            return [sitk.HistogramMatching(a, b, 512, 64, False) for a, b in zip(images, others, strict=True)]

        return {
            "SparseSeg": self.time(lambda: match_histograms(self.images, tables)),
            "SimpleITK": self.time(with_sitk),
        }

    def time(self, work: Callable[[], object]) -> float:
        """Milliseconds per volume of the fastest of several runs, the first one left out."""
        seconds = []
        for _ in range(self.repeats + 1):
            begin = time.perf_counter()
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - begin)
        return 1000 * min(seconds[1:]) / self.batch

    def _with_sitk(self) -> list[torch.Tensor]:
        moved = []
        for image, labels, vectors in zip(self.images, self.labels, self.vectors, strict=True):
            transform = bspline_transform(vectors.cpu().numpy(), self.size)
            picture, mask = (sitk.GetImageFromArray(array.cpu().numpy()) for array in (image[0], labels))
            sitk.Resample(mask, mask, transform, sitk.sitkNearestNeighbor, 255.0)
            result = sitk.Resample(picture, picture, transform, sitk.sitkLinear)
            moved.append(torch.from_numpy(sitk.GetArrayFromImage(result)))
        return moved

    def _compare(self, name: str, found: torch.Tensor, expected: torch.Tensor) -> None:
        apart = (found.to(expected) - expected).abs()[self.inside].max() / expected.std()
        print(f"{name}: deformed images {float(apart):.0e} of a standard deviation from ours at most")


def bspline_transform(vectors: np.ndarray, size: Size) -> sitk.BSplineTransform:
    """SimpleITK's transform with the control points' ``vectors`` (3, kz, ky, kx) over a volume of ``size``."""
    transform = sitk.BSplineTransform(3, 3)
    transform.SetTransformDomainOrigin((-0.5,) * 3)
    transform.SetTransformDomainPhysicalDimensions([float(part) for part in reversed(size)])
    transform.SetTransformDomainMeshSize([knots - 3 for knots in reversed(vectors.shape[1:])])
    transform.SetParameters(vectors[::-1].astype(float).ravel().tolist())
    return transform


def write_table(rows: dict[str, Row]) -> None:
    """Print the rows as Markdown; a library without a figure gets a dash."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    print("| ms per volume | " + " | ".join(names) + " |\n" + "| --- " * (len(names) + 1) + "|")
    for title, row in rows.items():
        cells = (f"{row[name]:.1f} ({row[name] / row['SparseSeg']:.1f}×)" if name in row else "–" for name in names)
        print(f"| {title} | " + " | ".join(cells) + " |")

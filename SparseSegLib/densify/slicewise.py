"""Prediction of volumes with a 2D network, slice by slice, from every orientation that was annotated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Request
from SparseSegLib.densify.parts import divided
from SparseSegLib.densify.slice_features import SliceFeatures
from SparseSegLib.prior import SliceView

PIXELS_AT_ONCE = 300_000
FEW_SLICES = 3  # that are predicted to estimate how long all of them will take
FEW_PIXELS = 256  # along each side of a slice of a large region that is predicted for that

Side = TypeVar("Side")
Network = Callable[[torch.Tensor], torch.Tensor]
"""From channels ``(N, C, U, V)`` to logits ``(N, K, U, V)``."""


class SlicewisePredictor:
    """Class probabilities of a working grid, the mean over its orientations.

    Parameters
    ----------
    features : the network's input
    network : from channels ``(N, C, U, V)`` on ``device`` to logits ``(N, K, U, V)``
    classes : background included
    device : torch.device
    """

    def __init__(self, features: SliceFeatures, network: Network, classes: int, device: torch.device) -> None:
        self.features = features
        self.network = network
        self.classes = classes
        self.device = device
        self._seconds_per_pixel: float | None = None

    @torch.inference_mode()
    def predict(self, request: Request, keep: tuple[int, ...], token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` of the request's places, with the prior from the sources ``keep``.

        A quick request uses the orientation with the fewest slices alone.
        """
        total = torch.zeros(self.classes, *request.shape)
        axes = self._axes(request)
        part = self.features.part_around(request.box)
        for axis in axes:
            views = [self.features.view(axis, index, part) for index in request.places[axis][:: request.stride]]
            rows, columns = (
                slice(places.start - side.start, places.stop - side.start, places.step)
                for places, side in zip(_but(axis, request.places), views[0].window, strict=True)
            )
            known: torch.Tensor | None = None
            filled, depth = 0, request.shape[axis]
            for group in _groups(views):
                token.check()
                slices = _fill(known, self._probabilities(group, keep)[:, :, rows, columns], request.stride)
                known = slices[-1]
                total.narrow(1 + axis, filled, len(slices)).add_(slices.transpose(0, 1).movedim(1, 1 + axis))
                filled += len(slices)
            if known is not None and filled < depth:
                total.narrow(1 + axis, filled, depth - filled).add_(known.unsqueeze(1 + axis))
        return total.div_(len(axes))

    @torch.inference_mode()
    def predict_planes(self, planes: Sequence[Plane], keep: tuple[int, ...], token: CancelToken) -> list[torch.Tensor]:
        """Class probabilities ``(K, U, V)`` of some slices, each seen from its own orientation."""
        found = []
        for plane in planes:
            if self.features.in_parts:
                found.append(self._in_parts(plane, keep, token))
                continue
            token.check()
            found.append(self._probabilities([self.features.view(plane.axis, plane.index)], keep)[0])
        return found

    def _in_parts(self, plane: Plane, keep: tuple[int, ...], token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, U, V)`` of a slice of a large region."""
        shape = self.features.prior.shape
        whole = Request.of_plane(shape, plane)
        out = torch.empty(self.classes, *self.features.view(plane.axis, plane.index).size)
        for request in divided(whole):
            token.check()
            view = self.features.view(plane.axis, plane.index, self.features.part_around(request.box))
            rows, columns = (
                slice(side.start - seen.start, side.stop - seen.start)
                for side, seen in zip(_but(plane.axis, request.box), view.window, strict=True)
            )
            out[(slice(None), *_but(plane.axis, request.box))] = self._probabilities([view], keep)[0][:, rows, columns]
        return out

    def seconds(self, request: Request, keep: tuple[int, ...]) -> float:
        """Seconds that :meth:`predict` would take, from the shortest of slices before, or of a few slices now."""
        if self._seconds_per_pixel is None:
            axis = self._axes(request)[0]
            few = [slice(side.start, min(side.stop, side.start + FEW_PIXELS)) for side in request.box]
            part = self.features.part_around((few[0], few[1], few[2]))
            with torch.inference_mode():
                indices = range(request.box[axis].start, request.box[axis].stop)[:FEW_SLICES]
                for _ in range(2):  # the first time takes longer
                    self._probabilities([self.features.view(axis, index, part) for index in indices], keep)
        assert self._seconds_per_pixel is not None
        pixels, part = 0, self.features.part_around(request.box)
        for axis in self._axes(request):
            height, width = self.features.view(axis, 0, part).size
            pixels += len(request.places[axis][:: request.stride]) * height * width
        return pixels * self._seconds_per_pixel

    def _axes(self, request: Request) -> list[int]:
        return [min(self.features.axes, key=lambda axis: request.shape[axis])] if request.quick else self.features.axes

    def _probabilities(self, views: list[SliceView], keep: tuple[int, ...]) -> torch.Tensor:
        """``(N, K, U, V)`` of slices of one orientation."""
        started = time.monotonic()
        inputs = torch.stack([self.features.of(view, keep) for view in views]).to(self.device)
        found = self.network(inputs.contiguous(memory_format=torch.channels_last)).softmax(1).cpu()
        height, width = views[0].size
        took = (time.monotonic() - started) / (len(views) * height * width)
        self._seconds_per_pixel = took if self._seconds_per_pixel is None else min(took, self._seconds_per_pixel)
        return found


def _but(axis: int, sides: Sequence[Side]) -> list[Side]:
    """Those along the other two axes."""
    return [side for other, side in enumerate(sides) if other != axis]


def interpolated(slices: torch.Tensor, stride: int, depth: int) -> torch.Tensor:
    """``(K, depth, y, x)`` from every ``stride``-th slice ``(K, z, y, x)``; beyond the last one it is repeated."""
    if stride == 1:
        return slices
    filled = _fill(None, slices.transpose(0, 1), stride).transpose(0, 1)
    beyond = filled[:, -1:].expand(-1, depth - filled.shape[1], -1, -1)
    return torch.cat([filled, beyond], 1)


def _fill(known: torch.Tensor | None, slices: torch.Tensor, stride: int) -> torch.Tensor:
    """Every ``stride``-th slice ``(N, K, U, V)`` with those between them, and between them and the one before."""
    steps = torch.arange(1, stride + 1).view(1, -1, 1, 1, 1) / stride
    first, before = (slices[:1], slices[:-1]) if known is None else (slices[:0], torch.cat([known[None], slices[:-1]]))
    after = slices[len(slices) - len(before) :]
    return torch.cat([first, torch.lerp(before[:, None], after[:, None], steps).flatten(0, 1)])


def _groups(views: list[SliceView]) -> list[list[SliceView]]:
    """Slices of one orientation in groups that fit into memory together."""
    height, width = views[0].size
    count = max(1, PIXELS_AT_ONCE // (height * width))
    return [views[start : start + count] for start in range(0, len(views), count)]

"""Shape-based interpolation between the annotated planes, as a prior.

Within each orientation the signed distance functions of the two neighboring planes are interpolated linearly
(Raya & Udupa, IEEE TMI 1990); the three orientations come as channels of their own, ordered from the slice's own point
of view, and once more combined by nearness.
"""

from __future__ import annotations

import torch

from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import PlaneSource, Source


class InterpolationPrior:
    """Channels from interpolating the outlines on the annotated planes."""

    def __init__(self, sources: list[Source], classes: int, fine: float, coarse: float, least: float = 0.0) -> None:
        self.sources = sources
        self.classes = classes
        self.fine = fine
        self.coarse = coarse
        self.least = least

    @property
    def channel_classes(self) -> list[int]:
        """The class of each channel; 0 for those of all classes."""
        own = [*range(1, self.classes)]
        return [*own, 0] * 3 + own * 2

    def channels(self, view: SliceView, keep: tuple[int, ...]) -> list[torch.Tensor]:
        """Channels for ``view`` from the planes among the sources ``keep``; each ``(U, V)``, values within ±1."""
        size = view.size
        channels: list[torch.Tensor] = []
        total = torch.zeros(self.classes - 1, *size)
        weight = torch.full(size, 1e-6)
        for axis in (view.axis, *view.axes):
            planes = [source for number in keep if isinstance(source := self.sources[number], PlaneSource)]
            planes = sorted((plane for plane in planes if plane.axis == axis), key=lambda plane: plane.index)
            if not planes:
                channels += [torch.zeros(size)] * self.classes
                continue
            signed, gap, outside = self._between(planes, view, axis)
            channels += [*torch.tanh(signed / (2 * self.fine))]
            channels.append(torch.exp(-gap / self.coarse) * torch.where(outside, -1.0, 1.0))
            nearness = torch.where(outside, 0.25, 1.0) / (gap + 0.5 * min(view.spacing)) ** 1.5
            total, weight = total + nearness * signed, weight + nearness
        combined = total / weight
        return [*channels, *torch.tanh(combined / self.fine), *torch.tanh(combined / self.coarse)]

    def _between(
        self, planes: list[PlaneSource], view: SliceView, axis: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Interpolated signed distances ``(K - 1, U, V)``, mm to the nearest plane, and what lies beyond the last."""
        step = view.spacing[axis]
        places = torch.tensor([plane.index * step for plane in planes])
        size, limit = view.size, 2 * self.coarse
        known = torch.stack(
            [view.see_plane(plane.signed[1:].clamp(-limit, limit), axis).expand(-1, *size) for plane in planes]
        )
        here = (view.positions(axis) * step).contiguous()
        upper = torch.searchsorted(places, here)
        lower = (upper - 1).clamp(min=0)
        upper = upper.clamp(max=len(planes) - 1)
        below, above = here - places[lower], places[upper] - here
        blend = (below / (below + above).clamp(min=1e-6)).clamp(0, 1)
        gap = torch.minimum(below.abs(), above.abs()).expand(size)
        if axis == view.axis:
            gap = gap.clamp(min=self.least)
        outside = ((here < places[0]) | (here > places[-1])).expand(size)
        signed = _pick(known, lower, size) * (1 - blend) + _pick(known, upper, size) * blend
        return signed - 0.5 * gap * outside, gap, outside


def _pick(stack: torch.Tensor, number: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """From ``(N, K, U, V)`` take, at each pixel, the entry that ``number`` names; ``(K, U, V)``."""
    index = number.expand(size)[None, None].expand(1, stack.shape[1], *size)
    return torch.gather(stack, 0, index)[0]

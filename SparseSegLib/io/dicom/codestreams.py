"""Headers of compressed frames (JPEG, JPEG-LS, JPEG 2000), checked before a decoder trusts them."""

from __future__ import annotations

import struct

_JPEG = b"\xff\xd8"
_JPEG_2000 = b"\xff\x4f\xff\x51"
_NO_FRAME_HEADERS = {0xC4, 0xC8, 0xCC}  # tables among the markers of frame headers
_JPEG_LS = 0xF7


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Return (rows, columns, components) from a frame's own header, or None if that is not known."""
    start = frame[:64].find(_JPEG_2000)
    if start >= 0 and len(frame) >= start + 42:
        right, bottom, left, top = struct.unpack(">4L", frame[start + 8 : start + 24])
        return bottom - top, right - left, struct.unpack(">H", frame[start + 40 : start + 42])[0]
    return _jpeg_size(frame) if frame[:2] == _JPEG else None


def _jpeg_size(frame: bytes) -> tuple[int, int, int] | None:
    place = 2
    while place + 10 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], struct.unpack(">H", frame[place + 2 : place + 4])[0]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == _JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADERS):
            rows, columns, components = struct.unpack(">HHB", frame[place + 5 : place + 10])
            return rows, columns, components
        place += 2 + length
    return None

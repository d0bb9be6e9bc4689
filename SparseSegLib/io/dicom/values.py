"""Values of a DICOM data set, whatever a scanner or a damaged disk wrote there.

A data set here is pydicom's, or a dictionary of values by their names.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def whole(dataset: Any, name: str, default: int) -> int:
    """Return a whole number, or the default where there is none; raises ValueError or TypeError if it is no number."""
    value = dataset.get(name)
    return default if value is None or value == "" else int(value)


def numbers(dataset: Any, name: str, count: int) -> tuple[float, ...] | None:
    """Return ``count`` finite numbers, or None where there are none; raises ValueError if it is something else."""
    value = dataset.get(name)
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return None
    array = np.atleast_1d(np.array(value, dtype=float))
    if array.shape != (count,) or not np.isfinite(array).all():
        raise ValueError(f"{name} is not {count} numbers")
    return tuple(array.tolist())


def text(dataset: Any, name: str) -> str:
    """Return a text as one line, several values joined by backslashes; "" where there is none.

    What the file's character set cannot decode becomes question marks or Latin-1.
    """
    value = dataset.get(name)
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
    joined = "\\".join(str(part) for part in parts).replace("\0", " ")
    return " ".join(joined.encode("utf-8", "replace").decode().split())


def transfer_syntax(dataset: Any) -> str:
    """Return the UID of the way in which a file is encoded; "" where it does not say."""
    return text(_meta(dataset), "TransferSyntaxUID")


def media_class(dataset: Any) -> str:
    """Return the UID of what a file is, by its meta information; "" where it does not say."""
    return text(_meta(dataset), "MediaStorageSOPClassUID")


def sop_class(dataset: Any) -> str:
    """Return the UID of what a file is (an image of CT, a structure set …); "" where it does not say."""
    return text(dataset, "SOPClassUID") or media_class(dataset)


def _meta(dataset: Any) -> Any:
    return getattr(dataset, "file_meta", dataset)


def by_name(dataset: Any) -> dict[str, Any]:
    """Return the values of a data set and its meta information by their names: looking them up again is fast."""
    elements = (*getattr(dataset, "file_meta", ()), *dataset)
    return {element.keyword: element.value for element in elements if element.keyword}

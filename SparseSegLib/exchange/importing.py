"""Models in formats of other programs, into the user's library."""

from __future__ import annotations

from pathlib import Path

from SparseSegLib.exchange.monai_files import METADATA, read_monai
from SparseSegLib.exchange.onnx_files import read_onnx
from SparseSegLib.files import PathLike, TemporaryFolder
from SparseSegLib.models import ModelEntry, ModelLibrary, save_bundle


def import_model(library: ModelLibrary, source: PathLike, *, overwrite: bool = False) -> ModelEntry:
    """Put a model into the user's library: a bundle, an ONNX file or a MONAI bundle whose network is known here.

    Raises as :meth:`ModelLibrary.add`, :func:`read_onnx` and :func:`read_monai`.
    """
    source = Path(source)
    if source.suffix.lower() == ".onnx":
        read = read_onnx
    elif (source / METADATA).is_file():
        read = read_monai
    else:
        return library.add(source, overwrite=overwrite)
    card, weights = read(source)
    with TemporaryFolder() as folder:
        bundle = folder.path / "model.zip"
        save_bundle(bundle, card, weights)
        return library.add(bundle, overwrite=overwrite)

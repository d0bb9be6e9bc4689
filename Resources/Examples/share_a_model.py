"""A model for other programs, as ONNX and as a bundle of MONAI, and back; a line that segments, and one that draws."""

from pathlib import Path

import numpy as np
from gallery import Sample, tumor

from SparseSegLib.exchange import import_model, read_monai, read_onnx, write_monai, write_onnx
from SparseSegLib.models import ModelLibrary
from SparseSegLib.notebook import plot, progress_bar
from SparseSegLib.prediction import segment


def main(sample: Sample, folder: Path, model: Path) -> np.ndarray:
    write_onnx(model, folder / "tumor.onnx")  # and tumor.json: what is done before and after
    write_monai(model, folder / "tumor-monai")  # runs without SparseSeg

    card, weights = read_onnx(folder / "tumor.onnx")  # what SparseSeg wrote comes back; nothing of it is run
    print(card.name, card.network, sum(values.numel() for values in weights.values()), "numbers")
    assert read_monai(folder / "tumor-monai")[0].labels == card.labels

    library = ModelLibrary(folder / "models-of-others")  # without a folder: where the panel and the command keep theirs
    path = import_model(library, folder / "tumor.onnx", overwrite=True).path
    found = segment(sample.volume, path, control=progress_bar())  # also images of nibabel, SimpleITK and NumPy
    plot(sample.volume, found, slices=3).savefig(folder / "share_a_model.jpg", dpi=80)
    return np.asarray(found.array[0])


if __name__ == "__main__":
    main(tumor(), Path(), Path("tumor.zip"))  # which train_and_apply.py leaves here

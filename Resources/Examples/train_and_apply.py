"""Train a model on sparsely annotated volumes, keep it as a bundle, and segment a volume that nobody annotated."""

from pathlib import Path

import torch
from gallery import Panel, Sample, save_panels, tumor

from SparseSegLib.annotation import sparsify
from SparseSegLib.cohort import About, Case, TrainSettings, make_card, make_dataset, make_example, train
from SparseSegLib.evaluation import dice
from SparseSegLib.image import Volume
from SparseSegLib.models import ModelCard, ModelLibrary, load_card, load_network, save_bundle
from SparseSegLib.prediction.predictor import Predictor


def main(samples: list[Sample], new: Sample, folder: Path, settings: TrainSettings) -> float:
    cases = []
    for number, sample in enumerate(samples):
        labels = sparsify(sample.truth, sample.geometry, (3, 3, 3), names=("tumor",))
        cases.append(Case(f"case {number}", sample.volume, labels))
    spacing = samples[0].geometry.spacing  # (z, y, x) mm: the grid that the network works on
    dataset = make_dataset([make_example(case, spacing) for case in cases], spacing)

    model = train(dataset, settings)
    card: ModelCard = make_card(dataset, settings, model, About(name="Tumor", modality="MR"))
    save_bundle(folder / "tumor.zip", card, model.weights)  # a card and weights; no code

    library = ModelLibrary(folder / "models")  # without a folder: where the panel and the command keep theirs
    path = library.add(folder / "tumor.zip").path
    print(load_card(path).name, [label.name for label in load_card(path).labels])  # quick: no weights are read
    predictor = Predictor(*load_network(path), torch.device("cpu"))
    found = predictor.segment(new.volume)
    score = dice(found == 1, new.truth == 1)
    print(f"Dice {score:.3f} on a volume that was not learned from")

    z = new.middle
    outlines = {"lime": new.truth[z] == 1, "red": found[z] == 1}
    save_panels(folder / "train_and_apply.jpg", [Panel("truth (green), model (red)", new.volume.array[0, z], outlines)])
    return score


def mirrored(sample: Sample) -> Sample:
    """The sample's other leg, as it were: one volume alone makes no cohort."""
    return Sample(Volume(sample.volume.array[..., ::-1].copy(), sample.geometry), sample.truth[..., ::-1].copy())


if __name__ == "__main__":
    thigh = tumor()
    main([thigh], mirrored(thigh), Path(), TrainSettings(network="unet3d-small", budget_seconds=120))

"""Make a network by its name, refuse a name that is none, and compare how large the networks are."""

from pathlib import Path

import torch

from SparseSegLib.errors import SparseSegError
from SparseSegLib.networks import create_network, network_names


def main(folder: Path) -> dict[str, int]:
    network = create_network("unet3d-small", in_channels=1, classes=3)
    logits = network(torch.zeros(1, 1, 20, 24, 28))  # (B, C, Z, Y, X), of any size
    print(tuple(logits.shape))

    try:
        create_network("unet4d", in_channels=1, classes=3)
    except SparseSegError as error:  # every error that a user can mend is one
        print(error)

    with torch.device("meta"):  # no memory is taken
        made = {name: create_network(name, 1, 2) for name in network_names()}
    sizes = {name: sum(weights.numel() for weights in one.parameters()) for name, one in made.items()}
    _draw(sizes, folder / "networks.jpg")
    return sizes


def _draw(sizes: dict[str, int], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), dpi=90, layout="constrained")
    axes = figure.subplots()
    axes.barh(sorted(sizes, key=sizes.get), sorted(sizes.values()))
    axes.set(xscale="log", xlabel="parameters")
    axes.tick_params(labelsize=7)
    figure.savefig(path, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main(Path())

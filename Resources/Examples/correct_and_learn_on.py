"""Round after round: correct the slice that is suggested, learn on from the last weights. The user is simulated."""

from pathlib import Path

from gallery import Sample, save_curve, tumor

from SparseSegLib.annotation import keep_planes
from SparseSegLib.densify import Densifier, DensifySettings
from SparseSegLib.evaluation import SimulatedUser, iou


def main(sample: Sample, folder: Path, settings: DensifySettings, rounds: int) -> list[float]:
    densifier = Densifier(sample.volume, settings)  # keeps weights, optimizers and features from round to round
    user = SimulatedUser(sample.truth, sample.geometry, names=("tumor",))
    drawn, scores = [], []
    for done in user.rounds(densifier.learn, most=rounds):
        unseen = ~done.labels.labeled
        drawn.append(len(done.labels.planes))
        scores.append(iou((done.result.labels == 1) & unseen, (sample.truth == 1) & unseen))
        print(f"{drawn[-1]} slices, {done.voxels} voxels on the last one: IoU {scores[-1]:.3f} off the slices")

    assert keep_planes(sample.truth, sample.geometry, done.labels.planes).planes == done.labels.planes
    save_curve(folder / "correct_and_learn_on.jpg", drawn, scores, ("annotated slices", "IoU off them"))
    return scores


if __name__ == "__main__":
    main(tumor(), Path(), DensifySettings(budget_seconds=20), rounds=6)

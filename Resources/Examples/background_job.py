"""In a process of its own: a window or a server stays responsive, and a crash stays there."""

import time
from pathlib import Path

from gallery import Sample, save_curve, tumor

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.io import read_labels, write_image
from SparseSegLib.jobs import Job, write_job


def main(sample: Sample, folder: Path, settings: dict) -> list[float]:
    job_folder = folder / "job"
    write_job(job_folder, "densify", {"volumes": ["volume.nrrd"], "labels": "drawn.seg.nrrd"}, settings)
    write_image(sample.volume.array, sample.geometry, job_folder / "volume.nrrd")
    write_sparse_labels(sparsify(sample.truth, sample.geometry, (2, 2, 2), ("tumor",)), job_folder / "drawn.seg.nrrd")

    seconds, fractions, started = [], [], time.monotonic()
    with Job(job_folder) as job:  # the process ends with the block, whatever happens
        while job.ending is None:
            for event in job.poll():  # never blocks: call it from a timer
                if event["event"] == "progress":
                    seconds.append(time.monotonic() - started)
                    fractions.append(event["fraction"])
            time.sleep(0.05)
        print(job.ending["event"], job.ending.get("figures"))

    labels, _, segments = read_labels(job_folder / job.ending["files"]["dense"])
    print([segment.name for segment in segments], int((labels == 1).sum()), "voxels")
    save_curve(folder / "background_job.jpg", seconds, fractions, ("seconds", "done"))
    return fractions


if __name__ == "__main__":
    main(tumor(), Path(), {"budget_seconds": 20})

"""Damaged files of every kind: each is read rightly or refused in words, without a crash, a hang or gigabytes.

A few of each kind run with every test; ``-m slow`` runs 250 of each. Every run has a new seed, which a failure names;
``SPARSESEG_SEED`` repeats it.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_helpers import enhanced, save_all, slices
from mutations import mutate, new_seed
from phantoms import blob

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.io.dicom.export import export_dicom
from SparseSegLib.io.tiff_writing import write_tiff

HERE = Path(__file__).resolve().parent
FEW, MANY = 6, 250
MEGABYTES, SECONDS = 2048, 30
GEOMETRY = Geometry((12, 14, 16), (2.0, 1.0, 1.0))
PHANTOM = blob(GEOMETRY)
DENSE = PHANTOM.labels
IMAGE = (1000 * PHANTOM.volume.array[0]).astype(np.int16)
SPARSE = sparsify(DENSE, GEOMETRY, (2, 2, 2), names=("blob",))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each case is a fork")


@dataclass(frozen=True)
class Sample:
    """A good file: ``damaged`` is the path of what is damaged and ``read`` of what is read in a copy of ``room``."""

    check: str
    room: Path
    damaged: str
    read: str


def volume_samples(folder: Path) -> list[Sample]:
    """Volumes of all formats, some in two files."""
    samples = []
    for name in ("v.nrrd", "v.nii.gz", "v.nii", "v.mha", "v.tif"):
        write_image(IMAGE, GEOMETRY, new_room(folder, name) / name)
        samples.append(Sample("volume", folder / name, name, name))
    for name in ("v.nhdr", "v.mhd", "v.hdr"):
        sitk.WriteImage(GEOMETRY.to_sitk(IMAGE), str(new_room(folder, name) / name))
        samples.append(Sample("volume", folder / name, name, name))
    raw = new_room(folder, "raw")
    sitk.WriteImage(GEOMETRY.to_sitk(IMAGE), str(raw / "v.nrrd"), useCompression=False)
    write_tiff(new_room(folder, "ome") / "v.ome.tif", IMAGE[None].astype(np.int32), GEOMETRY)
    return [
        *samples,
        Sample("volume", raw, "v.nrrd", "v.nrrd"),
        Sample("volume", folder / "ome", "v.ome.tif", "v.ome.tif"),
    ]


def dicom_samples(folder: Path) -> list[Sample]:
    """Two slices of a series, and a file of several frames."""
    save_all(slices(GEOMETRY, IMAGE), new_room(folder, "series") / "scan")
    enhanced(IMAGE, GEOMETRY).save_as(new_room(folder, "frames") / "v.dcm", enforce_file_format=True)
    series = [Sample("volume", folder / "series", f"scan/IM000{number}.dcm", "scan") for number in (0, 5)]
    return [*series, Sample("volume", folder / "frames", "v.dcm", "v.dcm")]


def label_samples(folder: Path) -> list[Sample]:
    """Sparse labels in all formats, and DICOM segmentations."""
    samples = []
    for name in ("l.seg.nrrd", "l.nrrd", "l.nii.gz", "l.mha", "l.tif"):
        array = np.where(SPARSE.labeled, SPARSE.array, 0 if "seg" in name else 255)
        write_labels(array, GEOMETRY, new_room(folder, name) / name)
        samples.append(Sample("labels", folder / name, name, name))
    scan = folder / "scan"
    save_all(slices(GEOMETRY, IMAGE), scan)
    for kind, check in (("seg", "labels"), ("rtstruct", "structures")):
        export_dicom(folder / "l.seg.nrrd/l.seg.nrrd", scan, new_room(folder, kind) / "l.dcm", kind)
        samples.append(Sample(check, folder / kind, "l.dcm", "l.dcm"))
    return samples


def plane_samples(folder: Path) -> list[Sample]:
    """Lists of planes beside labels."""
    samples = []
    for name in ("l.seg.nrrd", "l.nrrd"):
        write_sparse_labels(SPARSE, new_room(folder, name) / name)
        samples.append(Sample("planes", folder / name, f"{name}.planes.json", f"{name}.planes.json"))
    return samples


def dataset_samples(folder: Path) -> list[Sample]:
    """Descriptions of data sets: the Decathlon's, and nnU-Net's with an ignored label."""
    study = new_room(folder, "decathlon")
    for number in range(2):
        write_image(IMAGE, GEOMETRY, study / f"i{number}.nii.gz")
        write_labels(DENSE, GEOMETRY, study / f"l{number}.nii.gz")
    decathlon = {
        "name": "blobs",
        "modality": {"0": "MR"},
        "labels": {"0": "background", "1": "blob"},
        "training": [{"image": f"./i{n}.nii.gz", "label": f"./l{n}.nii.gz"} for n in range(2)],
    }
    (study / "dataset.json").write_text(json.dumps(decathlon), encoding="utf-8")
    nnunet = new_room(folder, "nnunet")
    write_image(IMAGE, GEOMETRY, new_room(nnunet, "imagesTr") / "case_0_0000.nii.gz")
    write_labels(np.where(SPARSE.labeled, SPARSE.array, 2), GEOMETRY, new_room(nnunet, "labelsTr") / "case_0.nii.gz")
    described = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "blob": 1, "ignore": 2},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (nnunet / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return [Sample("dataset", folder / name, "dataset.json", "dataset.json") for name in ("decathlon", "nnunet")]


def new_room(folder: Path, name: str) -> Path:
    """A new folder."""
    (folder / name).mkdir(parents=True)
    return folder / name


class Server:
    """Runs checks in `mutation_server`."""

    def __init__(self) -> None:
        paths = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "mutation_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )

    def run(self, check: str, path: Path) -> dict:
        """How a check ended."""
        self.process.stdin.write(json.dumps({"check": check, "path": str(path)}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def server():
    running = Server()
    yield running
    running.process.stdin.close()
    running.process.wait(10)


KINDS = {
    "volumes": volume_samples,
    "dicom": dicom_samples,
    "labels": label_samples,
    "planes": plane_samples,
    "datasets": dataset_samples,
}


def run_mutations(kind: str, count: int, server: Server, folder: Path) -> None:
    samples = KINDS[kind](folder / "good")
    for sample in samples:
        found = server.run(sample.check, sample.room / sample.read)
        assert found["outcome"] == "read", f"the good {sample.room.name}: {found}"
    seed = new_seed()
    rng = random.Random(seed)
    bad = []
    for number in range(count):
        sample = rng.choice(samples)
        copy = folder / "bad" / str(number)
        shutil.copytree(sample.room, copy)
        path = copy / sample.damaged
        path.write_bytes(mutate(path.read_bytes(), rng))
        before = _content(copy)
        found = server.run(sample.check, copy / sample.read)
        fine = found["outcome"] in ("read", "refused") and found["said"].isprintable()
        if not fine or found["seconds"] > SECONDS or found["megabytes"] > MEGABYTES or _content(copy) != before:
            bad.append(f"{number} {path}: {json.dumps(found)[:3000]}")
        else:
            shutil.rmtree(copy)
    assert not bad, f"{len(bad)} of {count} with SPARSESEG_SEED={seed}:\n" + "\n".join(bad[:10])


def _content(folder: Path) -> dict:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_damaged_files(kind, server, tmp_path):
    run_mutations(kind, FEW, server, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(kind, server, tmp_path):
    run_mutations(kind, MANY, server, tmp_path)

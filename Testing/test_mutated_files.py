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
from mutations import mutate, new_seed
from phantoms import blob
from test_io_dicom import write_series

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.geometry import Geometry
from SparseSegLib.io import write_image, write_labels

HERE = Path(__file__).resolve().parent
FEW, MANY = 6, 250
MEGABYTES, SECONDS = 2048, 30
GEOMETRY = Geometry((12, 14, 16), (2.0, 1.0, 1.0))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each case is a fork")


@dataclass(frozen=True)
class Sample:
    """A good file: ``path`` is damaged in a copy of its folder, and ``check`` reads ``read`` (the same by default)."""

    check: str
    path: Path
    read: str = ""


def make_samples(kind: str, folder: Path) -> list[Sample]:
    """Good files of a kind, each with what belongs to it in a folder of its own."""
    phantom = blob(GEOMETRY)
    image = (1000 * phantom.volume.array[0]).astype(np.int16)
    sparse = sparsify(phantom.labels, GEOMETRY, (2, 2, 2), names=("blob",))
    samples = []

    def room(name: str) -> Path:
        path = folder / name
        path.mkdir(parents=True)
        return path

    if kind == "volumes":
        for number, name in enumerate(("v.nrrd", "v.nii.gz", "v.nii", "v.mha", "v.tif")):
            path = room(str(number)) / name
            plain = Geometry.identity(image.shape) if name.endswith("tif") else GEOMETRY
            write_image(image, plain, path)
            samples.append(Sample("volume", path))
        path = room("raw") / "v.nrrd"
        path.write_bytes(_raw_nrrd(image))
        samples.append(Sample("volume", path))
    elif kind == "dicom":
        files = write_series(room("series") / "scan", GEOMETRY, image)
        samples += [Sample("volume", Path(file), "scan") for file in files[:2]]
    elif kind == "labels":
        for number, name in enumerate(("l.seg.nrrd", "l.nrrd", "l.nii.gz", "l.mha", "l.tif")):
            path = room(str(number)) / name
            plain = Geometry.identity(image.shape) if name.endswith("tif") else GEOMETRY
            write_labels(np.where(sparse.labeled, sparse.array, 0 if "seg" in name else 255), plain, path)
            samples.append(Sample("labels", path))
    elif kind == "planes":
        for number, name in enumerate(("l.seg.nrrd", "l.nrrd")):
            path = room(str(number)) / name
            write_sparse_labels(sparse, path)
            samples.append(Sample("planes", path.with_name(name + ".planes.json")))
    else:
        place = room("study")
        for number in range(2):
            write_image(image, GEOMETRY, place / f"i{number}.nii.gz")
            write_labels(phantom.labels, GEOMETRY, place / f"l{number}.nii.gz")
        path = place / "dataset.json"
        description = {
            "name": "blobs",
            "modality": {"0": "MR"},
            "labels": {"0": "background", "1": "blob"},
            "training": [{"image": f"./i{n}.nii.gz", "label": f"./l{n}.nii.gz"} for n in range(2)],
        }
        path.write_text(json.dumps(description), encoding="utf-8")
        samples.append(Sample("dataset", path))
    return samples


def _raw_nrrd(image: np.ndarray) -> bytes:
    z, y, x = image.shape
    lines = [
        "NRRD0004",
        "type: short",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {x} {y} {z}",
        "space directions: (1,0,0) (0,1,0) (0,0,2)",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        "space origin: (0,0,0)",
    ]
    return "\n".join(lines).encode() + b"\n\n" + image.astype("<i2").tobytes()


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


KINDS = ("volumes", "dicom", "labels", "planes", "dataset")


def run_mutations(kind: str, count: int, server: Server, folder: Path) -> None:
    samples = make_samples(kind, folder / "good")
    for sample in samples:
        found = server.run(sample.check, sample.path.parent / sample.read if sample.read else sample.path)
        assert found["outcome"] == "read", f"the good {sample.path.name}: {found}"
    seed = new_seed()
    rng = random.Random(seed)
    bad = []
    for number in range(count):
        sample = rng.choice(samples)
        top = sample.path.relative_to(folder / "good").parts[0]
        copy = folder / "bad" / str(number)
        shutil.copytree(folder / "good" / top, copy)
        path = copy / sample.path.relative_to(folder / "good" / top)
        path.write_bytes(mutate(path.read_bytes(), rng))
        before = _content(copy)
        found = server.run(sample.check, copy / sample.read if sample.read else path)
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

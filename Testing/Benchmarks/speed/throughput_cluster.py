"""Many cases: cases per second in one process and on two Dask workers, a worker that dies, and memory.

    python Testing/Benchmarks throughput_cluster
    python Testing/Benchmarks throughput_cluster --model BUNDLE --images FOLDER

Without a model and images, volumes are generated and segmented by a small 3D U-Net with random weights. Measured are

- the throughput of one process with one thread, and of ``local:2`` with one thread each (loading the model and starting
  the workers is timed separately); whether both write the same bytes; to reach: 1.8 times,
- the machine's limit: the throughput of two independent processes, with half of the cases
  each; two cores that share memory, caches or execution units do not give twice one,
- the same with one of the workers killed halfway: no case may be missing,
- the peak memory of a worker process over 10 and over 100 cases, which must not grow.

Leave the machine alone meanwhile. ``--only`` measures some of it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: one thread per process

import numpy as np
import torch

from SparseSegLib.batch import BatchCase, named_cases
from SparseSegLib.batch.cluster import Cluster, connect
from SparseSegLib.batch.finding import cases_of
from SparseSegLib.batch.pipeline import segment_here
from SparseSegLib.batch.remote import WorkPlan, segment_on
from SparseSegLib.control import CancelToken
from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image
from SparseSegLib.jobs import write_job
from SparseSegLib.memory import prepare_for_tensors
from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing, save_bundle
from SparseSegLib.networks import create_network

PARTS = ("throughput", "ceiling", "death", "memory")
TARGET = 1.8
MANY = (10, 100)
MEASURE = """
import json, resource, sys
from pathlib import Path
from SparseSegLib.control import Control
from SparseSegLib.worker.segment_task import segment_task

folder = Path(sys.argv[1])
_, figures = segment_task(folder, json.loads((folder / "job.json").read_text(encoding="utf-8")), Control())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sum("file" in case for case in figures["cases"]))
"""
"""The script of a process whose memory is measured."""
ALONE = """
import sys, time
from pathlib import Path

import torch

from SparseSegLib.batch import named_cases
from SparseSegLib.batch.pipeline import segment_here
from SparseSegLib.batch.remote import WorkPlan
from SparseSegLib.batch.finding import cases_of
from SparseSegLib.control import CancelToken
from SparseSegLib.memory import prepare_for_tensors

torch.set_num_threads(1)
prepare_for_tensors()
bundle, folder, *images = sys.argv[1:]
cases = named_cases([case for image in images for case in cases_of(image)], Path())
work = WorkPlan(Path(bundle), Path(folder), "cpu").begin()
print("ready", flush=True)
input()
begin = time.perf_counter()
for case, outcome in segment_here(work, cases, CancelToken(), lambda done: None):
    if isinstance(outcome, Exception):
        raise outcome
print(time.perf_counter() - begin, flush=True)
"""
"""The script of independent processes."""


def main() -> None:
    """Measure and print."""
    arguments = parse()
    prepare_for_tensors()  # as every worker does
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bundle = arguments.model or random_model(work / "model")
        images = arguments.images or generated_images(work / "images", arguments.cases, arguments.size)
        cases = named_cases(cases_of(str(images)), Path())[: arguments.cases]
        if "throughput" in arguments.only:
            throughput(bundle, cases, work)
        if "ceiling" in arguments.only:
            ceiling(bundle, cases, work)
        if "death" in arguments.only:
            death(bundle, cases, work)
        if "memory" in arguments.only:
            for count in MANY:
                print(f"{count} cases: at most {peak_memory(bundle, cases, count, work):.0f} MiB", flush=True)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="bundle")
    parser.add_argument("--images", type=Path, help="folder of volumes")
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--size", type=int, default=96, help="voxels along each side of a generated volume")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args()


def throughput(bundle: Path, cases: Sequence[BatchCase], work: Path) -> None:
    """One process against two."""
    torch.set_num_threads(1)
    begin = time.perf_counter()
    here = WorkPlan(bundle, made(work / "here"), "cpu").begin()
    started = time.perf_counter()
    for case, outcome in segment_here(here, cases, CancelToken(), lambda done: None):
        check(case, outcome)
    one = time.perf_counter() - started
    print(f"one process: model loaded in {started - begin:.1f} s, {len(cases) / one:.2f} cases a second", flush=True)
    begin = time.perf_counter()
    with connect("local:2") as cluster:
        ready = time.perf_counter()
        plan = WorkPlan(bundle, made(work / "there"), "cpu")
        for case, outcome in segment_on(cluster, plan, cases, CancelToken(), lambda done: None):
            check(case, outcome)
        two = time.perf_counter() - ready
    print(f"local:2: workers started in {ready - begin:.1f} s, {len(cases) / two:.2f} cases a second", flush=True)
    same = all((work / "here" / case.file).read_bytes() == (work / "there" / case.file).read_bytes() for case in cases)
    print(f"ratio {one / two:.2f} (to reach: {TARGET}); {'the same' if same else 'OTHER'} bytes", flush=True)


def ceiling(bundle: Path, cases: Sequence[BatchCase], work: Path) -> None:
    """One process that does half of the cases, and two at once that do half each."""
    half = len(cases) // 2
    alone = seconds_alone(bundle, [cases[:half]], work / "alone")
    both = seconds_alone(bundle, [cases[:half], cases[half : 2 * half]], work / "both")
    print(f"two processes that share nothing: {2 * alone / both:.2f} times the throughput of one", flush=True)


def seconds_alone(bundle: Path, parts: Sequence[Sequence[BatchCase]], folder: Path) -> float:
    """How long the slowest of as many processes takes, all of which begin when the last has loaded the model."""
    root = Path(__file__).resolve().parents[3]
    children = []
    for number, cases in enumerate(parts):
        command = [sys.executable, "-c", ALONE, str(bundle), str(folder / str(number))]
        (folder / str(number)).mkdir(parents=True)
        command += [str(case.volumes[0]) for case in cases]
        children.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, bufsize=1)
        )
    for child in children:
        child.stdout.readline()  # type: ignore[union-attr]
    for child in children:
        child.stdin.write("\n")  # type: ignore[union-attr]
    return max(float(child.communicate()[0]) for child in children)


def death(bundle: Path, cases: Sequence[BatchCase], work: Path) -> None:
    """Two workers, one of which is killed when half of the cases are done."""
    done = 0
    with connect("local:2") as cluster:
        plan = WorkPlan(bundle, made(work / "death"), "cpu")
        for case, outcome in segment_on(cluster, plan, cases, CancelToken(), lambda done: None):
            check(case, outcome)
            done += 1
            if done == max(1, len(cases) // 2):
                kill_a_worker(cluster)
    there = sum((work / "death" / case.file).is_file() for case in cases)
    print(f"one worker killed after {len(cases) // 2} cases: {there} of {len(cases)} results", flush=True)


def kill_a_worker(cluster: Cluster) -> None:
    """End one of the processes at once."""
    address, process = next(iter(cluster.client.run(os.getpid).items()))
    print(f"killing {address}", flush=True)
    os.kill(process, 9)


def peak_memory(bundle: Path, cases: Sequence[BatchCase], count: int, work: Path) -> float:
    """MiB that a process needs at most to segment ``count`` cases, the same ones again and again; not on Windows."""
    folder = work / f"memory-{count}"
    volumes = [[str(path.absolute()) for path in case.volumes] for case in cases]
    many = [{"volumes": volumes[number % len(volumes)], "name": f"case {number}"} for number in range(count)]
    settings = {"model": str(bundle.absolute()), "device": "cpu", "report": True}
    write_job(folder, "segment", {"cases": many}, settings)
    root = Path(__file__).resolve().parents[3]
    child = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder)], capture_output=True, text=True, check=True, cwd=root
    )
    peak, finished = map(int, child.stdout.splitlines()[-1].split())
    if finished != count:
        raise RuntimeError(f"{count - finished} of {count} cases failed.")
    return peak / (1024 if sys.platform != "darwin" else 1024**2)


def check(case: BatchCase, outcome: object) -> None:
    """Raise a case's exception."""
    if isinstance(outcome, Exception):
        raise RuntimeError(f"{case.name} failed.") from outcome


def made(folder: Path) -> Path:
    """The folder, which is made."""
    folder.mkdir()
    return folder


def random_model(path: Path) -> Path:
    """A bundle of a small, untrained 3D U-Net."""
    torch.manual_seed(0)
    network = create_network("unet3d-small", 1, 2)
    label = ModelLabel(1, "object", (1.0, 0.0, 0.0))
    card = ModelCard("Random", "unet3d-small", Preprocessing((1.0, 1.0, 1.0), ("image",)), (64, 64, 64), (label,))
    save_bundle(path, card, network.state_dict())
    return path


def generated_images(folder: Path, count: int, size: int) -> Path:
    """Volumes of smooth noise."""
    from scipy import ndimage

    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).standard_normal((size, size, size)).astype(np.float32)
        image = (1000 * ndimage.gaussian_filter(noise, 2)).astype(np.int16)
        write_image(image, Geometry.identity(image.shape), folder / f"volume-{number:03}.nii.gz")
    return folder

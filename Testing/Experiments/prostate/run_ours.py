"""Segments volumes with a bundle of ours, in a process of its own: run by prostate_taps.py.

Takes a device, a bundle, and pairs IMAGE OUTPUT; prints what run_taps.py prints. The seconds count everything from
the file to the file: reading, N4, the network (loaded anew each time, as the command does) and writing.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def run() -> None:
    """Segment all pairs."""
    sys.path[:0] = [str(Path(__file__).resolve().parents[3])]
    from SparseSegLib.devices import choose_device
    from SparseSegLib.errors import SparseSegError
    from SparseSegLib.io import read_volume, write_image
    from SparseSegLib.models import load_network
    from SparseSegLib.prediction.predictor import Predictor

    device, bundle = choose_device(sys.argv[1]), Path(sys.argv[2])
    pairs = sys.argv[3:]
    for image, output in zip(pairs[::2], pairs[1::2], strict=True):
        begin = time.perf_counter()
        problem = ""
        try:
            card, network = load_network(bundle, device)
            predictor = Predictor(card, network, device, force=True)
            volume = read_volume(image)
            write_image(predictor.segment(volume), volume.geometry, output)
            problem = "; ".join(predictor.warnings)
        except SparseSegError as error:
            problem = str(error)
        print(json.dumps({"seconds": time.perf_counter() - begin, "problem": problem}), flush=True)
    files = [bundle] if bundle.is_file() else [path for path in bundle.iterdir() if path.is_file()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(json.dumps({"model_mb": sum(path.stat().st_size for path in files) / 1e6, "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    run()

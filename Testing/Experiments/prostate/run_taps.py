"""Segments volumes with TAPS, in whatever Python has it: run by prostate_taps.py, and free of SparseSeg.

Takes pairs IMAGE OUTPUT (NIfTI) and prints one JSON line each: seconds, or what went wrong. The last line has the
largest memory of the process and the size of the model.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def run() -> None:
    """Segment all pairs on the CPU, unless the environment chooses otherwise."""
    import taps
    from taps.inference import BlankMaskError

    device, pairs = sys.argv[1], sys.argv[2:]
    for image, output in zip(pairs[::2], pairs[1::2], strict=True):
        begin = time.perf_counter()
        problem = ""
        try:
            taps.segment(image, output, None, device, True)
        except BlankMaskError:
            problem = "found nothing"
        except Exception as error:  # the other volumes shall be measured all the same
            problem = f"{type(error).__name__}: {error}"
        print(json.dumps({"seconds": time.perf_counter() - begin, "problem": problem}), flush=True)
    model = max(Path(taps.__file__).parent.rglob("*.onnx"), key=lambda path: path.stat().st_size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(json.dumps({"model_mb": model.stat().st_size / 1e6, "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    run()

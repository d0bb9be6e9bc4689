"""Bundles broken at random, folders and zips: read or refused in words, within 30 seconds and 2 GiB each.

A new seed every run, which the test prints; SPARSESEG_FUZZ_SEED=NUMBER repeats one, and SPARSESEG_FUZZ_COUNT=NUMBER
breaks more of them.
"""

import hashlib
import io
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle_mutations import mutate
from cohort_helpers import CARD, SMALL

from SparseSegLib.models import ModelLabel, load_card, save_bundle
from SparseSegLib.networks import create_network

HERE = Path(__file__).parent
SECONDS, GIBIBYTES = 30, 2.0
FEW = 20
MANY = int(os.environ.get("SPARSESEG_FUZZ_COUNT", "300"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """The files of small bundles by name: with safetensors, with an older state dict, and of another network."""
    folder = tmp_path_factory.mktemp("whole")
    labels = (*CARD.labels, ModelLabel(2, "rim", (0.0, 1.0, 0.0)))
    nested = {"base": 4, "blocks": (1, 1), "grid": (2, 2, 2), "latent": 4, "regions": "nested"}
    network = create_network(CARD.network, 1, 2, **SMALL)
    save_bundle(folder / "new", replace(CARD, arguments=SMALL), network.state_dict())
    other = create_network("segresnet-vae-small", 1, 3, **nested)
    card = replace(CARD, network="segresnet-vae-small", arguments=other.arguments, labels=labels)
    arguments = {name: value for name, value in other.arguments.items() if name not in ("in_channels", "classes")}
    save_bundle(folder / "other", replace(card, arguments=arguments), other.state_dict())
    found = [{file.name: file.read_bytes() for file in (folder / name).iterdir()} for name in ("new", "other")]
    return [*found, _older(found[0], network.state_dict())]


def _older(bundle, weights):
    """The same bundle as the first version of the format had it."""
    content = io.BytesIO()
    torch.save(weights, content)
    card = json.loads(bundle["model.json"])
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    card |= {"format": 1, "weights": {"file": "weights.pt", "members": 1, "sha256": digest}}
    return {"model.json": json.dumps(card).encode(), "weights.pt": content.getvalue()}


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_broken_bundles_are_read_or_refused_in_words(bundles, tmp_path, count):
    seed = int(os.environ.get("SPARSESEG_FUZZ_SEED") or random.SystemRandom().randrange(2**32))
    print(f"SPARSESEG_FUZZ_SEED={seed}")
    rng = random.Random(seed)
    folder = tmp_path / "bundles"
    folder.mkdir()
    for number, bundle in enumerate(bundles):
        (folder / f"whole {number}").mkdir()
        for name, content in bundle.items():
            (folder / f"whole {number}" / name).write_bytes(content)
    assert load_card(folder / "whole 2").weights_file == "weights.pt"
    for number in range(count):
        first, second = rng.sample(bundles, 2)
        mutate(first, second, rng, folder / f"{number:05}{rng.choice(('', '.zip'))}")
    outcomes = _read(folder, count)
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome not in ("read", "refused")}
    assert not wrong, f"SPARSESEG_FUZZ_SEED={seed}"
    assert len(outcomes) == count + len(bundles)
    assert {outcome for name, outcome in outcomes.items() if name.startswith("whole")} == {"read"}
    assert "refused" in outcomes.values()


def _read(folder, count):
    """What came of each bundle, by name; what was only begun ended the process."""
    command = [sys.executable, str(HERE / "read_bundles.py"), str(folder), str(SECONDS), str(GIBIBYTES)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120 + SECONDS * count, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    outcomes = {line["name"]: line["outcome"] for line in lines}
    assert outcomes.pop("", "") == "done", f"ended with {done.returncode} at {lines[-1:]}: {done.stderr[-2000:]}"
    return outcomes

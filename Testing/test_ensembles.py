"""Several networks in one bundle: their mean, the flips, what is refused, the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cohort_helpers import CARD, CPU, SMALL
from phantoms import blob

from SparseSegLib.cli import main
from SparseSegLib.errors import ModelError, UsageError
from SparseSegLib.image import Geometry
from SparseSegLib.inference import Mirrored
from SparseSegLib.models import ModelLabel, combine_bundles, copy_bundle, load_card, load_network, save_bundle
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.predictor import Predictor

KNOWN = replace(CARD, arguments=SMALL, mirrored=True, data="two volumes", figures={"steps": 3})


def _network(seed, **arguments):
    torch.manual_seed(seed)
    return create_network(CARD.network, 1, 2, **{**SMALL, **arguments}).eval()


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three bundles that differ in their weights, and one of all of them."""
    folder = tmp_path_factory.mktemp("ensembles ü")
    paths = [folder / "a", folder / "b.zip", folder / "c"]
    for seed, path in enumerate(paths):
        save_bundle(path, replace(KNOWN, data=f"volume {seed // 2}"), _network(seed).state_dict())
    combine_bundles(paths, folder / "all.zip", "All three")
    return paths, folder / "all.zip"


def test_an_ensemble_says_what_its_members_say_in_the_mean(three):
    card, network = load_network(three[1])
    assert (card.name, card.members, card.mirrored, card.figures) == ("All three", 3, True, {})
    assert card.data == "volume 0; volume 1"
    image = torch.randn(1, 1, 9, 12, 13)
    with torch.no_grad():
        mean = torch.stack([_network(seed)(image).softmax(1) for seed in range(3)]).mean(0)
        torch.testing.assert_close(network(image).softmax(1), mean)
        parts = [Mirrored(_network(seed), "zyx")(image).softmax(1) for seed in range(3)]
        torch.testing.assert_close(Mirrored(network, "zyx")(image).softmax(1), torch.stack(parts).mean(0))
    assert not any(weight.requires_grad for weight in network.parameters())


def test_an_ensemble_segments_volumes_with_flips_and_all(three):
    volume = blob(Geometry.identity((12, 20, 18))).volume
    predictor = Predictor(*load_network(three[1]), CPU, flips=True)
    labels = predictor.segment(volume)
    turned = predictor.segment(replace(volume, array=volume.array[:, ::-1].copy()))
    assert labels.shape == (12, 20, 18)
    assert (labels != turned[::-1]).mean() < 0.01


def test_ensembles_can_be_combined_again(three, tmp_path):
    paths, all_three = three
    assert combine_bundles([all_three, paths[0], all_three], tmp_path / "seven", "Seven").members == 7
    _, network = load_network(tmp_path / "seven")
    _, alone = load_network(paths[0])
    for place in (0, 3, 4):
        found = network.members[place].state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in alone.state_dict().items())


def test_old_cards_have_one_network_and_the_number_must_be_that_of_the_weights(three, tmp_path):
    copy_bundle(three[0][0], tmp_path / "old")
    path = tmp_path / "old" / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["weights"]["members"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert load_network(tmp_path / "old")[0].members == 1
    for members, words in ((2, "do not fit"), (0, "members"), (10**9, "members"), (True, "members")):
        content["weights"]["members"] = members
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ModelError, match=words):
            load_network(tmp_path / "old")


def test_models_of_other_kinds_and_damaged_ones_are_not_combined(three, tmp_path):
    first = three[0][0]
    others = {
        "arguments": replace(KNOWN, arguments={**SMALL, "base": 8}),
        "structures": replace(KNOWN, labels=(ModelLabel(1, "liver", (1, 0, 0)),)),
        "preprocessing": replace(KNOWN, preprocessing=replace(CARD.preprocessing, normalization="nonzero")),
    }
    for words, card in others.items():
        save_bundle(tmp_path / "other", card, _network(0, **card.arguments).state_dict())
        with pytest.raises(ModelError, match=words) as caught:
            combine_bundles([first, tmp_path / "other"], tmp_path / "both", "Both")
        assert caught.value.hint
    copy_bundle(first, tmp_path / "damaged")
    (tmp_path / "damaged" / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="SHA-256"):
        combine_bundles([first, tmp_path / "damaged"], tmp_path / "both", "Both")
    with pytest.raises(UsageError, match="single"):
        combine_bundles([first], tmp_path / "both", "Both")
    assert not (tmp_path / "both").exists()
    with pytest.raises(ModelError, match="SHA-256"):
        copy_bundle(three[1], tmp_path / "copy")
        content = (tmp_path / "copy" / "weights.safetensors").read_bytes()
        (tmp_path / "copy" / "weights.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        load_network(tmp_path / "copy")


def test_mirror_axes_and_flips_are_those_that_all_members_know(three, tmp_path):
    paths = [tmp_path / "x", tmp_path / "yx", tmp_path / "plain"]
    for path, axes, mirrored in zip(paths, ("x", "yx", "zyx"), (True, True, False), strict=True):
        save_bundle(path, replace(KNOWN, mirrored_axes=axes, mirrored=mirrored), _network(0).state_dict())
    both = combine_bundles(paths[:2], tmp_path / "both", "Both")
    assert (both.mirrored, both.mirrored_axes) == (True, "x")
    assert not combine_bundles(paths, tmp_path / "all", "All").mirrored


def test_the_command_line(three, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPARSESEG_MODELS", str(tmp_path / "library"))
    paths, _ = three
    command = ["models", "combine", *map(str, paths), "-o", str(tmp_path / "together.zip")]
    assert main([*command, "--add", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["members"] == 3
    assert load_card(tmp_path / "together.zip").name == "together"
    assert main(command) == 2
    assert main([*command, "--overwrite", "--name", "Chorus"]) == 0
    assert main(["models", "show", "together"]) == 0
    assert "3 networks unet3d-small" in capsys.readouterr().out
    assert main(["models", "show", "together", "Chorus"]) == 2
    assert main(["models", "combine", "together", "-o", str(tmp_path / "x")]) == 2
    assert main(["models", "combine", "together", "together"]) == 2
    np.testing.assert_equal(load_card(tmp_path / "together.zip").name, "Chorus")

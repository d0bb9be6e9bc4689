"""``sparseseg info --report``: what a bug report needs, and nothing of whose computer it is."""

import json
import platform

import pytest
import torch

from SparseSegLib.cli import main
from SparseSegLib.cli.report import PACKAGES, report
from SparseSegLib.models import ModelLibrary

HOST, USER, PATIENT = "radiology-pc7", "jdoe", "Doe^Jane"


@pytest.fixture
def private(monkeypatch, tmp_path):
    """Host, user and patient are in all that the system says, and the report is made in a folder called after them."""
    folder = tmp_path / USER / PATIENT
    (folder / "models").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name, value in (("HOME", folder), ("SPARSESEG_MODELS", folder / "models"), ("SLICER_HOME", folder)):
        monkeypatch.setenv(name, str(value))
    for name in ("USER", "LOGNAME", "USERNAME", "COMPUTERNAME", "HOSTNAME"):
        monkeypatch.setenv(name, HOST if "NAME" in name and "USER" not in name else USER)
    monkeypatch.setattr(platform, "release", lambda: f"6.1.0-{HOST}")
    monkeypatch.setattr(platform, "node", lambda: HOST)
    assert ModelLibrary().folder == folder / "models"
    return folder


def test_a_report_holds_no_path_and_no_name(private, capsys):
    for arguments in (["info", "--report"], ["info", "--report", "--json"]):
        assert main(arguments) == 0
        captured = capsys.readouterr()
        text = captured.out + captured.err
        for secret in (HOST, USER, PATIENT, "Doe", str(private), private.name, "/", "\\"):
            assert secret not in text


def test_a_report_says_what_a_bug_report_needs(private, capsys):
    assert main(["info", "--report", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values == report()
    assert values["system"].split()[1] == "6.1.0" or platform.mac_ver()[0]
    assert values["in Slicer"] == "yes"
    assert "CPU" in values["computes on"]
    assert f"torch {torch.__version__}" in values["packages"]
    assert {entry.split()[0] for entry in values["packages"].split(", ")} <= set(PACKAGES)


@pytest.mark.parametrize("more", [["a.nrrd"], ["--labels"], ["--series", "1.2"]])
def test_a_report_is_not_about_files(more, capsys):
    assert main(["info", "--report", *more]) == 2
    assert "installation alone" in capsys.readouterr().err

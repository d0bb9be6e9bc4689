"""The command lines of the benchmarks and of the experiments: what they list, what they run, and every --help."""

import subprocess
import sys
from pathlib import Path

import pytest
from Benchmarks.shared.launcher import find_programs, launch

ROOT = Path(__file__).resolve().parent
PROGRAMS = {name: folder for folder in ("Benchmarks", "Experiments") for name in find_programs(ROOT / folder)}
OPTIONS = {
    "densify": "--output",
    "next_slice": "--output",
    "ablation": "--output",
    "effort": "--output",
    "large": "--output",
    "gpu": "--output",
    "first_preview": "--budgets",
    "augmentation": "--device",
    "vnet": "--device",
    "slice_steps": "--steps",
    "event_loop": "--size",
    "loop": "--strokes",
    "throughput_cluster": "--only",
    "cicek2016": "--full",
    "prostate_experts": "--report",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_help(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(SystemExit) as ending:
        launch(ROOT / PROGRAMS[name], [name, "--help"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {PROGRAMS[name]} {name} ")
    assert OPTIONS.get(name, "-h, --help") in text
    assert f"python Testing/{PROGRAMS[name]} {name}" in text, "its docstring has another command line"


def test_all_known_programs_are_found():
    assert set(OPTIONS) <= set(PROGRAMS)
    both = [find_programs(ROOT / folder) for folder in ("Benchmarks", "Experiments")]
    assert len(PROGRAMS) == sum(map(len, both)), "a name is in both"


def test_every_program_has_its_line_in_the_list(capsys):
    assert launch(ROOT / "Experiments", []) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "usage: python Testing/Experiments NAME ..."
    for name in find_programs(ROOT / "Experiments"):
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert len(line.split(maxsplit=1)[1]) > 20, "it says nothing about itself"


def test_what_follows_the_name_is_handed_on(tmp_path, monkeypatch, capsys):
    group = tmp_path / "Made" / "group"
    group.mkdir(parents=True)
    (group / "helper.py").write_text('"""Helps."""\n')
    (group / "program.py").write_text('"""Runs."""\nimport sys\ndef main():\n    print(sys.argv)\n    return 3\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    assert launch(tmp_path / "Made", ["program", "--seconds", "5"]) == 3
    assert capsys.readouterr().out == "['Made program', '--seconds', '5']\n"
    assert launch(tmp_path / "Made", ["helper"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("There is no helper.")
    assert "  program  Runs." in error


def test_the_folder_runs_from_anywhere(tmp_path):
    command = [sys.executable, str(ROOT / "Benchmarks"), "ablation", "--list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "fast"

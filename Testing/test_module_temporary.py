"""Folders in Slicer's temporary folder: none stays when Slicer quits, and what a crash left goes at the next start."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slicer
from host import Host
from module_helpers import MODULE, add_phantom, middle, paint_plane

from SparseSegLib.errors import ResourceError

DAY = 86400
CRASH = """
import os, sys
sys.path[:0] = [{testing!r}, {module!r}]
import slicer, types
slicer.app = types.SimpleNamespace(temporaryPath={folder!r})
from SparseSegModule.temporary import temporaryFolder
temporary = temporaryFolder()
(temporary.make("job") / "image.nrrd").write_bytes(bytes(10))
print(temporary.path, flush=True)
sys.stdin.readline()
os._exit(1)
"""


@pytest.fixture
def other(panel, tmp_path):
    """Another Slicer with a folder in use, in the folder ``tmp_path``; the process, and the folder of an hour ago."""
    code = CRASH.format(testing=str(Path(__file__).parent), module=str(MODULE.parent), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    folder = Path(process.stdout.readline().strip())
    os.utime(folder / "in-use.lock", (time.time() - DAY, time.time() - DAY))
    yield process, folder
    process.kill()
    process.communicate()


def _clean(folder):
    from SparseSegLib.files import remove_abandoned

    remove_abandoned(folder)


def test_the_folder_of_a_slicer_that_runs_stays_and_that_of_one_that_crashed_goes(other, tmp_path):
    process, folder = other
    _clean(tmp_path)
    assert len(list(folder.glob("job-*/image.nrrd"))) == 1
    process.communicate("crash\n")
    assert folder.exists()
    _clean(tmp_path)
    assert not folder.exists()


def test_only_folders_that_are_surely_left_over_are_removed(panel, tmp_path):
    from SparseSegModule.temporary import temporaryFolder

    mine = temporaryFolder()
    others = [tmp_path / name for name in ("sparseseg-without-a-lock", "sparseseg-young", "another")]
    for folder in others:
        folder.mkdir()
        (folder / "kept.txt").touch()
    (tmp_path / "sparseseg-young" / "in-use.lock").touch()
    (tmp_path / "sparseseg-file").touch()
    (tmp_path / "another" / "in-use.lock").touch()
    for folder in (mine.path, tmp_path / "another"):
        os.utime(folder / "in-use.lock", (time.time() - DAY, time.time() - DAY))
    (tmp_path / "sparseseg-link").symlink_to(tmp_path / "another", target_is_directory=True)
    _clean(tmp_path)
    _clean(mine.path.parent)
    assert all((folder / "kept.txt").exists() for folder in others)
    assert mine.path.exists()
    mine.remove()
    assert not mine.path.exists()


def test_the_module_cleans_up_when_it_starts(panel, monkeypatch):
    from SparseSegModule import jobs

    cleaned = []
    monkeypatch.setattr(jobs, "remove_abandoned", cleaned.append)
    jobs.Jobs()
    assert Host.instance().wait(lambda: cleaned == [Path(slicer.app.temporaryPath), jobs.MEMORY], 5)


def test_a_logic_of_the_console_leaves_nothing_when_slicer_quits(panel):
    from SparseSeg import SparseSegLogic

    host, temporary = Host.instance(), Path(slicer.app.temporaryPath)
    phantom, volume_node = add_phantom()
    panel.parameterNode.inputVolume = volume_node
    segmentation = panel.parameterNode.segmentation
    host.processEvents(0.05)
    paint_plane(segmentation, volume_node, phantom.labels, middle(phantom.labels, 0))
    before = set(temporary.iterdir())
    handle = SparseSegLogic().densify(volume_node, segmentation, 60, wait=False)
    assert handle.folder.exists()
    host.app.aboutToQuit.emit()
    assert handle.ended
    assert set(temporary.iterdir()) == before


@pytest.fixture
def memory(panel, tmp_path, monkeypatch):
    """A folder that stands for memory, of which 1 GB is free."""
    from SparseSegModule import jobs, temporary

    folder = tmp_path / "memory"
    folder.mkdir()
    for module in (jobs, temporary):
        monkeypatch.setattr(module, "MEMORY", folder)
    monkeypatch.setattr(temporary, "MEMORY_INFORMATION", tmp_path / "meminfo")
    _set_free(tmp_path, 1_000_000)
    return folder


def _set_free(tmp_path, kilobytes):
    (tmp_path / "meminfo").write_text(f"MemTotal: 16000000 kB\nMemAvailable: {kilobytes} kB\n")


def _started():
    """A densification that stays, when its files are written; its images' paths."""
    from SparseSeg import SparseSegLogic

    phantom, volume_node = add_phantom()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    segmentation.GetSegmentation().AddEmptySegment("", "object")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    paint_plane(segmentation, volume_node, phantom.labels, middle(phantom.labels, 0))
    logic = SparseSegLogic()
    handle = logic.densify(volume_node, segmentation, channels=[volume_node], budgetSteps=2, stay=60, wait=False)
    assert Host.instance().wait(lambda: handle._job is not None, 20)
    job = json.loads((handle.folder / "job.json").read_text(encoding="utf-8"))
    return logic, handle, [handle.folder / path for path in job["inputs"]["volumes"]]


def test_images_are_in_memory_until_the_worker_has_read_them(memory):
    logic, handle, images = _started()
    assert [path.is_relative_to(memory) for path in images] == [True, True]
    assert Host.instance().wait(lambda: not any(path.exists() for path in images), 60)
    assert handle._job.ready
    handle.wait(60)
    logic.abandonJobs()
    assert list(memory.iterdir()) == []


def test_images_in_memory_go_with_a_job_that_is_canceled(memory):
    _logic, handle, images = _started()
    handle.abandon()
    assert not any(path.exists() for path in images)


@pytest.mark.parametrize("why", ["little memory", "no such folder", "unknown", "cannot be written"])
def test_without_room_in_memory_images_lie_in_the_jobs_folder(memory, tmp_path, monkeypatch, why):
    from SparseSegModule import densifyWork

    write = densifyWork.write_image

    def fails(array, geometry, path, **options):
        if path.is_relative_to(memory):
            raise ResourceError("The disk is full.")
        write(array, geometry, path, **options)

    if why == "little memory":
        _set_free(tmp_path, 100)
    elif why == "no such folder":
        memory.rmdir()
    elif why == "unknown":
        (tmp_path / "meminfo").unlink()
    else:
        monkeypatch.setattr(densifyWork, "write_image", fails)
    _logic, handle, images = _started()
    assert [path.parent == handle.folder and path.exists() for path in images] == [True, True]
    handle.wait(60)
    handle.abandon()


def test_the_button_shows_what_was_left_and_removes_it_when_told(panel, tmp_path, monkeypatch):
    host, left = Host.instance(), Path(slicer.app.temporaryPath) / "sparseseg-left"
    left.mkdir()
    (left / "image.nrrd").write_bytes(bytes(2_000_000))
    (left / "in-use.lock").touch()
    os.utime(left / "in-use.lock", (time.time() - DAY, time.time() - DAY))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "system"))
    monkeypatch.setattr("SparseSegLib.jobs.remains.MEMORY", tmp_path / "memory")
    monkeypatch.setattr("SparseSegLib.jobs.remains.log_folders", list)
    from SparseSegModule.temporary import temporaryFolder

    mine = temporaryFolder()
    button = panel.ui.cleanButton
    host.answers.append(False)
    button.click()
    assert host.wait(lambda: button.enabled, 20)
    assert left.exists()
    button.click()
    assert host.wait(lambda: button.enabled, 20)
    assert not left.exists()
    assert mine.path.exists()
    questions = [dialog for dialog in host.dialogs if "sparseseg-left" in str(dialog)]
    assert len(questions) == 2
    button.click()
    assert host.wait(lambda: button.enabled, 20)
    assert "nothing to remove" in str(host.dialogs[-1])
    mine.remove()

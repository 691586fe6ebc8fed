import os
import subprocess
import sys

import pytest
from small_archives import refused
from tiny_run import disk_full

from xnnlib.files import LOCK, locked, project_path, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_broken_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "file").write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", fail)
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


def test_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", disk_full)
    with refused(r"file cannot be written \(No space left on device\); free space"):
        write_atomically(tmp_path / "file", lambda file: file.write(b"new"))
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


def test_full_disk_while_locking_is_one_line_and_locks_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", disk_full)
        with refused(r"\(No space left on device\); free space"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    run = tmp_path / "file" / "run"
    with refused(r"run/x cannot be written \(Not a directory\)"):
        write_atomically(run / "x", lambda file: None)
    with refused(r"file/run cannot be written \(Not a directory\); choose another"), locked(run):
        pass


LOCK_AND_WAIT = """
import sys, time
from pathlib import Path
from xnnlib.files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_second_process_is_refused_until_the_first_ends_even_by_kill(tmp_path):
    command = [sys.executable, "-c", LOCK_AND_WAIT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "locked\n"
        with refused(f"is locked by process {first.pid}, since"), locked(tmp_path):
            pass
        first.kill()
        first.wait()
    (tmp_path / ".record.json.x7.partial").touch()
    with locked(tmp_path):
        assert names(tmp_path) == [LOCK, f"{LOCK}-owner"], "what the killed process half wrote is still there"


def test_relative_path_is_the_same_file_wherever_a_notebook_runs(tmp_path, monkeypatch):
    (tmp_path / "_toc.yml").touch()
    (tmp_path / "notebooks" / "deep").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "notebooks", tmp_path / "notebooks" / "deep"):
        monkeypatch.chdir(folder)
        assert project_path("results/quick") == tmp_path / "results" / "quick"


def test_absolute_path_and_folder_outside_a_checkout_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_path("results") == tmp_path / "results"
    assert project_path(tmp_path / "elsewhere") == tmp_path / "elsewhere"

import errno
import os
import subprocess
import sys

import pytest

from xnnlib.errors import UserError
from xnnlib.files import held, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_there(tmp_path):
    write_atomically(tmp_path / "new" / "file", lambda file: file.write(b"whole"))
    assert (tmp_path / "new" / "file").read_bytes() == b"whole"
    assert names(tmp_path / "new") == ["file"]


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "file").write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", fail)
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"file cannot be written \(No space left on device\); free space"):
        write_atomically(tmp_path / "file", lambda file: file.write(b"new"))
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"run/x cannot be written \(Not a directory\)"):
        write_atomically(tmp_path / "file" / "run" / "x", lambda file: None)
    with (
        pytest.raises(UserError, match=r"file/run cannot be written \(Not a directory\); choose another"),
        held(tmp_path / "file" / "run"),
    ):
        pass


HOLD = """
import sys, time
from pathlib import Path
from xnnlib.files import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_has_ended_even_by_kill(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"is in use by process {first.pid}, since"), held(tmp_path):
            pass
        first.kill()
        first.wait()
    (tmp_path / ".record.json.x7.partial").touch()
    with held(tmp_path):
        assert names(tmp_path) == [".lock"], "what the killed process left half written is still there"

import re
import subprocess
import sys

import torch

from xnnlib import runtime


def test_the_cpu_is_described_without_naming_the_machine():
    described = runtime.describe_device(torch.device("cpu"))
    assert described["type"] == "cpu"
    assert described["name"]
    assert described["threads"] == torch.get_num_threads()
    assert runtime.platform.node() not in described["name"]


def test_versions_are_those_that_run():
    found = runtime.versions()
    assert found["torch"] == torch.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_commit_is_git_s_and_says_when_the_code_differs(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(
            ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments),
            cwd=tmp_path,
            check=True,
        )

    monkeypatch.chdir(tmp_path)
    (tmp_path / "xnnlib").mkdir()
    (tmp_path / "xnnlib" / "a.py").write_text("a = 1\n")
    assert runtime.commit() == "unknown"
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "a")
    assert re.fullmatch("[0-9a-f]{40}", runtime.commit())
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "record.json").write_text("{}")
    assert re.fullmatch("[0-9a-f]{40}", runtime.commit())
    (tmp_path / "xnnlib" / "a.py").write_text("a = 2\n")
    assert re.fullmatch("[0-9a-f]{40}-dirty", runtime.commit())


def test_keeping_freed_memory_is_quiet_where_it_cannot_be_done(monkeypatch):
    monkeypatch.setattr(runtime.platform, "libc_ver", lambda: ("", ""))
    assert runtime.keep_freed_memory() is False

import subprocess

import pytest
import torch

from xnnlib import runtime


def test_cpu_is_described_without_naming_the_machine():
    described = runtime.describe_device(torch.device("cpu"))
    assert described["type"] == "cpu" and described["name"]
    assert described["threads"] == torch.get_num_threads() and "count" not in described
    assert runtime.platform.node() not in described["name"]
    assert runtime.describe_device(torch.device("cpu"), 2)["count"] == 2


@pytest.mark.parametrize("capability, fast", [((7, 5), False), ((8, 0), True), ((10, 0), True)])
def test_bfloat16_is_fast_from_ampere_on(capability, fast, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert runtime.has_bfloat16(torch.device("cuda")) is fast


@pytest.mark.parametrize("found, fast", [({"avx512_bf16": True}, True), ({"avx2": True}, False)])
def test_processor_has_bfloat16_by_its_instructions(found, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert runtime.has_bfloat16(torch.device("cpu")) is fast


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with the code in it, as far as `commit` looks."""
    package = tmp_path / "work" / "xnnlib"
    package.mkdir(parents=True)
    (package / "runtime.py").touch()
    monkeypatch.setattr(runtime, "PACKAGE", package)
    return package.parent


def git(folder, *arguments):
    name = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(("git", *name, *arguments), cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit_all(folder):
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all")
    return git(folder, "rev-parse", "HEAD")


def test_commit_is_that_of_the_code_wherever_training_starts(checkout, tmp_path, monkeypatch):
    """Whatever git is told of the folder or the environment; and it says when the code differs."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    commit_all(other)
    monkeypatch.chdir(other)
    assert runtime.commit() == "unknown"
    head = commit_all(checkout)
    (checkout / "results").mkdir()
    (checkout / "results" / "record.json").write_text("{}")
    assert runtime.commit() == head
    (checkout / "xnnlib" / "runtime.py").write_text("changed = True\n")
    assert runtime.commit() == f"{head}-dirty"
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # as in a hook of the other repository
    assert runtime.commit() == "unknown"


def test_repository_around_the_code_that_does_not_track_it_is_not_its_own(checkout):
    """As where xnnlib is installed into an environment inside somebody's project, ignored or not."""
    for ignored in ("", "xnnlib/\n"):
        (checkout / ".gitignore").write_text(ignored)
        git(checkout, "init", "-q")
        git(checkout, "add", ".gitignore")
        git(checkout, "commit", "-q", "-m", "theirs")
        assert runtime.commit() == "unknown"


def test_keeping_freed_memory_is_quiet_where_it_cannot_be_done(monkeypatch):
    monkeypatch.setattr(runtime.platform, "libc_ver", lambda: ("", ""))
    assert runtime.keep_freed_memory() is False

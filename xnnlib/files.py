"""Atomic writes, a lock for a folder, and paths relative to the project's root."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from xnnlib.errors import UserError

LOCK = ".lock"
_PARTIAL = ".partial"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to the disk and rename it to `path`.

    Raises UserError if the disk is full or the folder cannot be written; what stood at `path` is then
    as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); free space or make the folder writable, "
            "then give the same command again."
        ) from error


def write_json(path: Path, value: object, indent: int = 1) -> None:
    """Write a value as JSON, a line for each of its parts. Raises UserError as `write_atomically` does."""
    text = json.dumps(value, indent=indent) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`. Raises UserError, naming the other process, if it is locked.

    The system releases the lock when the process ends, however it ends; the file LOCK stays.
    """
    owner = folder / f"{LOCK}-owner"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, mode=0o644).acquire(blocking=False)
    except Timeout:
        name = owner.read_text(encoding="utf-8").strip() if owner.exists() else "another process"
        raise UserError(
            f"{folder} is locked by {name}; wait for it, end it, or choose another folder."
        ) from None
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); choose another folder or make it writable."
        ) from error
    with lock:
        text = f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n"
        write_atomically(owner, lambda file: file.write(text.encode()))
        for left in folder.glob(f".*{_PARTIAL}"):  # by a process that was killed while it wrote
            left.unlink()
        yield


def project_path(path: str | os.PathLike) -> Path:
    """Resolve `path` against the closest folder upwards of the working one that holds the project.

    Notebooks run in the project's root under papermill and in notebooks/ under nbval and Jupyter;
    the same relative path must mean the same file in both. Absolute paths are returned as they are;
    outside a checkout the working folder is the base.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").exists() and (folder / "notebooks").is_dir():
            return folder / path
    return here / path

"""Files that are never half written, and folders that one process works in at a time."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

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
        _flush_folder(path.parent)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); free space or make the folder writable, "
            "then give the same command again."
        ) from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Work in `folder` alone. Raises UserError, naming the other process, if one works there already.

    The system gives the folder free when the process ends, however it ends; the file LOCK stays. On a
    file system that knows no locks the folder is not held.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 (closing it is what frees the folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); choose another folder or make it writable."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"{folder} is in use by {lock.read().strip() or 'another process'}; "
                "wait for it, end it, or choose another folder."
            ) from None
        except OSError:
            pass
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
        lock.flush()
        for left in folder.glob(f".*{_PARTIAL}"):  # by a process that was killed while it wrote
            left.unlink()
        yield


def _flush_folder(folder: Path) -> None:
    """The rename itself reaches the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that do not do it for folders
            raise
    finally:
        os.close(descriptor)

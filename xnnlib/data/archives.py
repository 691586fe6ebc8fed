"""A folder or a zip file, read the same way."""

import os
import zipfile
from pathlib import Path

from xnnlib.errors import UserError

# What operating systems leave in folders and zips; never data.
_LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini")


def _visible(name: str) -> bool:
    return not any(part.startswith(".") or part in _LITTER for part in name.split("/") if part)


class Folder:
    """The files below a folder. Names are relative, with `/`; a name that ends in `/` is a folder."""

    def __init__(self, path: Path):
        self.path = path

    def _entries(self) -> list[tuple[str, os.stat_result | None]]:
        entries, pending = [], [""]
        try:
            while pending:
                folder = pending.pop()
                with os.scandir(self.path / folder) as found:
                    for entry in found:
                        name = folder + entry.name
                        if not _visible(name):
                            continue
                        if entry.is_dir():
                            pending.append(name + "/")
                            entries.append((name + "/", None))
                        else:
                            entries.append((name, entry.stat()))
        except OSError as error:
            raise UserError(
                f"{error.filename} cannot be read ({error.strerror}); remove it or make it readable."
            ) from error
        return sorted(entries, key=lambda entry: entry[0])

    def names(self) -> list[str]:
        return [name for name, _ in self._entries()]

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise UserError(
                f"{self.where(name)} cannot be read ({error.strerror}); check that it is there and readable."
            ) from error

    def where(self, name: str) -> str:
        """How a message names the file."""
        return str(self.path / name)

    def identity(self) -> list:
        """What changes when the files do, found without reading them."""
        return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in self._entries() if stat]


class Zip:
    """The members of a zip file, read by one thread at a time.

    Raises UserError where the file is not a zip, is cut short, or a member fails its checksum.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            size = path.stat().st_size
            raise UserError(
                f"{path} is not a whole zip file ({size:,} bytes; {error}); copy or download it again."
            ) from error

    def names(self) -> list[str]:
        return sorted({name for name in self._zip.namelist() if _visible(name)})

    def read(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except KeyError as error:
            raise UserError(f"{self.where(name)} is missing; copy or download the zip again.") from error
        except Exception as error:  # zlib, zipfile, EOF, struct, encryption: all mean an unreadable member
            raise UserError(
                f"{self.where(name)} cannot be read ({error}); copy or download the zip again."
            ) from error

    def where(self, name: str) -> str:
        """How a message names the member."""
        return f"{self.path}: {name}"

    def identity(self) -> list:
        """What changes when the file does, found without reading it."""
        stat = self.path.stat()
        return [stat.st_size, stat.st_mtime_ns]


def open_archive(path: str | os.PathLike) -> Folder | Zip:
    """Open `path`, a folder or a zip file. Raises UserError if it is neither."""
    path = Path(path).expanduser()
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return Zip(path)
    raise UserError(f"data_root {str(path)!r} does not exist; give the folder or the zip file of the images.")

"""The files of a folder or a zip, read the same way.

A zip is read member by member and never unpacked, so that nothing in it can reach the disk. Names are
relative, with `/`, and in Unicode's NFC; one that ends in `/` is a folder. Hidden files and what systems
leave in folders are left out.
"""

import os
import re
import stat
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from xnnlib.errors import UserError
from xnnlib.files import project_path

MAX_FILE_BYTES = 64 * 2**20  # a photograph of 50 megapixels keeps well below

# What macOS, Windows, Linux and storage boxes leave in folders; never data.
_LITTER = {"__macosx", "thumbs.db", "desktop.ini", "lost+found", "@eadir"}

# Control characters, line separators and bytes that are not UTF-8, which no line of text could show.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class File(NamedTuple):
    """A file or a zip's member; `where` is how a message names it, `mtime_ns` changes when it does."""

    name: str
    where: str
    open: Callable[[], BinaryIO]
    size: int = 0
    mtime_ns: int = 0

    def read(self) -> bytes:
        """Raises UserError if it is too large or cannot be read whole."""
        if self.size > MAX_FILE_BYTES:
            limit = f"a file may have at most {MAX_FILE_BYTES // 2**20} MiB"
            raise UserError(f"{self.where} has {self.size:,} bytes; {limit}: make it smaller.")
        try:
            with self.open() as file:
                content = file.read(self.size + 1)  # with a bound: the size in a zip could be a lie
            if len(content) != self.size:
                raise EOFError(f"expected {self.size:,} bytes, read {len(content):,}")
            return content
        except Exception as error:  # OSError; of a damaged zip zipfile and zlib raise nearly anything
            why = getattr(error, "strerror", None) or error
            raise UserError(f"{self.where} cannot be read ({why}); copy or download it again.") from error


Files = dict[str, File]


def find(data_root: str | os.PathLike) -> Path:
    """The folder or file that `data_root` names. Raises UserError if there is none."""
    given, path, why = str(data_root), data_root, "does not exist"
    if not given:
        raise UserError("data_root is empty; give the folder or the zip file of the images.")
    try:
        path = project_path(Path(data_root).expanduser())
        if path.is_dir() or path.is_file():
            return path
    except (OSError, RuntimeError) as error:  # no permission, a name too long, no such home folder
        why = f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    place = f" as {path} (a relative path starts at the project's root, as that of run_dir)"
    raise UserError(
        f"data_root {given!r} {why}{place if given != str(path) else ''}; "
        "give the folder or the zip file of the images."
    )


def identity(path: Path) -> list:
    """What changes when the files of a folder or a zip do, found without reading them."""
    if path.is_dir():
        return [(name, file.size, file.mtime_ns) for name, file in open_archive(path).items()]
    return [path.stat().st_size, path.stat().st_mtime_ns]


def open_archive(path: Path) -> Files:
    """The files by name, in sorted order. Raises UserError on one that cannot be read, or not safely."""
    files: Files = {}
    for file in _in_folder(path) if path.is_dir() else _in_zip(path):
        if _UNPRINTABLE.search(file.name):
            raise UserError(f"{path}: {file.name!r} is not a printable name; rename it.")
        name = unicodedata.normalize("NFC", file.name)
        if name in files:
            raise UserError(f"{file.where} is there twice, or in two Unicode spellings; remove one.")
        files[name] = file._replace(name=name)
    return dict(sorted(files.items()))


def _is_litter(name: str) -> bool:
    """Whether a part of the path `name` is litter, or hidden."""
    return any(part[:1] == "." or part in _LITTER for part in name.lower().split("/"))


def _in_folder(root: Path) -> Iterator[File]:
    """Links are followed: people make a subset of a data set of them."""

    def fail(error: OSError) -> None:
        raise error

    try:
        for folder, folders, files in os.walk(root, onerror=fail, followlinks=True):
            folders[:] = [name for name in folders if not _is_litter(name)]  # the others are not walked
            inner = os.path.relpath(folder, root)
            for name in [*folders, *(name for name in files if not _is_litter(name))]:
                path = os.path.join(folder, name)
                found, name = os.stat(path), name if inner == "." else f"{inner}/{name}"
                if stat.S_ISDIR(found.st_mode):
                    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(path)):
                        raise UserError(f"{path} is a link to a folder that it lies in; remove it.")
                    yield File(f"{name}/", path, partial(open, path, "rb"))
                elif stat.S_ISREG(found.st_mode):
                    yield File(name, path, partial(open, path, "rb"), found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}); remove it or make it readable."
        ) from error


def _in_zip(path: Path) -> Iterator[File]:
    try:
        with open(path, "rb") as file:
            start = file.read(2)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it readable.") from error
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a damaged directory makes zipfile raise nearly anything
        if start not in (b"PK", b""):
            raise UserError(f"{path} is not a zip file; unpack it yourself, and give the folder.") from error
        why = f"{path.stat().st_size:,} bytes; {str(error).rstrip('.')}"
        raise UserError(f"{path} is not a whole zip file ({why}); copy or download it again.") from error
    for member in archive.infolist():
        name = member.filename.replace("\\", "/")  # which some tools write between folders
        if _is_litter(name):
            continue
        where = f"{path}: {name}"
        # Only what is deflated does zipfile unpack with a bound on how much comes out.
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(
                f"{where!r} is encrypted, or compressed by another method than deflate; make the zip again "
                "without a password, with deflate."
            )
        yield File(name, where, partial(archive.open, member), member.file_size)

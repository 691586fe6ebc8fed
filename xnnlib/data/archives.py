"""A folder or a zip file, read the same way; what could harm the reader is refused before it is read.

Limits: one file has at most LARGEST_FILE bytes, which a photograph of 50 megapixels keeps well below
and ten workers can hold at once. A zip unpacks to at most LARGEST_RATIO times its own size, or to
LARGEST_FILE if that is more: images are compressed already (Tiny ImageNet unpacks to 1.03 times its zip),
while deflate, which packs zeros 1,032 to 1, can make a few kilobytes fill a disk.

Links: `data_root` itself may be a link. Below it a link to a file is followed if it stays below it; a link
that leaves it is refused, and so is a link to a folder, which could only lead to files that are there
already, or round in circles. Hard links are files like any other.
"""

import os
import re
import stat
import struct
import zipfile
from collections import Counter
from pathlib import Path

from xnnlib.errors import UserError

LARGEST_FILE = 64 * 2**20
LARGEST_RATIO = 100
_AT_MOST = f"an image may have at most {LARGEST_FILE // 2**20} MiB: make it smaller or remove it"

# What operating systems leave in folders and zips; never data.
_LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini")

# Control characters, line separators and bytes that are no UTF-8: no line of text could name such a file.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _visible(name: str) -> bool:
    return not any(part.startswith(".") or part in _LITTER for part in name.split("/") if part)


class Folder:
    """The files below a folder. Names are relative, with `/`; a name that ends in `/` is a folder."""

    def __init__(self, path: Path):
        self.path = path

    def _entries(self) -> list[tuple[str, os.stat_result | None]]:
        root = Path(os.path.realpath(self.path))
        entries, pending = [], [""]
        try:
            while pending:
                folder = pending.pop()
                with os.scandir(self.path / folder) as found:
                    for entry in found:
                        name = folder + entry.name
                        if not _visible(name):
                            continue
                        if _UNPRINTABLE.search(entry.name):
                            raise UserError(f"{entry.path!r} is no name that a line could show; rename it.")
                        if entry.is_symlink():
                            self._check_link(entry, root)
                        if entry.is_dir():
                            pending.append(name + "/")
                            entries.append((name + "/", None))
                        elif stat.S_ISREG(entry.stat().st_mode):
                            entries.append((name, entry.stat()))
                        else:
                            raise UserError(f"{entry.path} is a device or a pipe, not a file; remove it.")
        except OSError as error:
            raise UserError(
                f"{error.filename} cannot be read ({error.strerror}); remove it or make it readable."
            ) from error
        return sorted(entries, key=lambda entry: entry[0])

    def _check_link(self, entry: os.DirEntry, root: Path) -> None:
        target = Path(os.path.realpath(entry.path))
        if entry.is_dir():
            raise UserError(f"{entry.path} is a link to a folder ({target}); put the folder in its place.")
        if not target.is_relative_to(root):
            raise UserError(
                f"{entry.path} is a link that leaves {self.path} (to {target}); "
                "put the file in its place, or a hard link to it."
            )

    def names(self) -> list[str]:
        return [name for name, _ in self._entries()]

    def read(self, name: str) -> bytes:
        try:
            with open(self.path / name, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > LARGEST_FILE:
                    raise UserError(f"{self.where(name)} has {size:,} bytes; {_AT_MOST}.")
                return file.read()
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
    """The members of a zip file, read by one thread at a time; nothing is ever unpacked to the disk.

    Raises UserError where the file is not a zip or is cut short, and where a member has an odd path or
    a name that another has too, is a link, is encrypted, would unpack to too much or fails its checksum.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # a damaged directory makes zipfile raise nearly anything
            raise self._damaged(error) from error
        self._check_count()
        self._check_members()

    def _damaged(self, why: object) -> UserError:
        why = f"{self.path.stat().st_size:,} bytes; {str(why).rstrip('.')}"
        return UserError(f"{self.path} is not a whole zip file ({why}); copy or download it again.")

    def _check_count(self) -> None:
        # zipfile reads as many members as it finds: a damaged length can hide some. The count in the zip's
        # last record tells; it has 16 bits, which some tools let overflow and others set to all ones.
        with open(self.path, "rb") as file:
            file.seek(-22 - len(self._zip.comment), os.SEEK_END)
            signature, count = struct.unpack("<4s6xH10x", file.read(22))
        if signature != b"PK\5\6":
            raise self._damaged("bytes follow its end")
        found = len(self._zip.infolist())
        if count not in (0xFFFF, found % 0x10000):
            raise self._damaged(f"{found:,} members where it counts {count:,}")

    def _check_members(self) -> None:
        size, members = self.path.stat().st_size, self._zip.infolist()
        for member in members:
            if fault := _fault(member, size):
                raise UserError(f"{self.path}: {member.orig_filename!r} {fault}.")
        for name, count in Counter(member.filename for member in members).items():
            if count > 1:
                raise UserError(f"{self.path}: {name!r} is there {count} times; make the zip again.")
        total, allowed = sum(member.file_size for member in members), max(LARGEST_FILE, LARGEST_RATIO * size)
        if total > allowed:
            raise UserError(
                f"{self.path} would unpack from {size:,} to {total:,} bytes, more than {LARGEST_RATIO} times "
                "its size, as no zip of images does; unpack it yourself if you trust it, and give the folder."
            )

    def names(self) -> list[str]:
        for member in self._zip.infolist():
            try:  # compares the directory with what stands before the member's content
                self._zip.open(member).close()
            except Exception as error:
                raise self._damaged(error) from error
        return sorted(filter(_visible, self._zip.namelist()))

    def read(self, name: str) -> bytes:
        try:
            size = self._zip.getinfo(name).file_size
            with self._zip.open(name) as file:
                content = file.read(size + 1)  # with a bound: the size could be a lie
            if len(content) != size:
                raise EOFError(f"{len(content):,} bytes of {size:,}")
            return content
        except KeyError as error:
            raise UserError(f"{self.where(name)} is missing; copy or download the zip again.") from error
        except Exception as error:  # zlib, zipfile, EOF, struct: all mean an unreadable member
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


def _fault(member: zipfile.ZipInfo, size: int) -> str:
    """What is wrong with a member of a zip of `size` bytes, as far as the zip's directory tells."""
    for name in {member.orig_filename, member.filename}:  # zipfile may have mended the second
        if _UNPRINTABLE.search(name) or any(len(part) > 255 for part in name.split("/")):
            return "is no file name; rename it"
        if name.startswith("/") or "\\" in name or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
            return "is not a path inside the zip; make the zip again with relative paths and slashes"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file; put the file itself into the zip"
    if member.flag_bits & 1:
        return "is encrypted; make the zip again without a password"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {member.compress_type}; make the zip again with deflate"
    if member.file_size > LARGEST_FILE:
        return f"would unpack to {member.file_size:,} bytes; {_AT_MOST}"
    if not 0 <= member.header_offset <= size - member.compress_size:
        return "lies outside the zip, which is cut short; copy or download it again"
    return ""


def open_archive(path: str | os.PathLike) -> Folder | Zip:
    """Open `path`, a folder or a zip file. Raises UserError if it is neither, or not safe to read."""
    try:
        path = Path(path).expanduser()
        if path.is_dir():
            return Folder(path)
        if path.is_file():
            return Zip(path)
    except (OSError, RuntimeError) as error:  # no permission, a name too long, no such home folder
        why = getattr(error, "strerror", None) or error
        raise UserError(f"data_root {str(path)!r} cannot be opened ({why}); check the path.") from error
    raise UserError(f"data_root {str(path)!r} does not exist; give the folder or the zip file of the images.")

"""A folder or a zip file of images, read the same way; what could harm the reader is refused.

A zip is read member by member and never unpacked, so that nothing in it can reach the disk. Names are
relative, with `/`, and in Unicode's NFC; one that ends in `/` is a folder. Litter and hidden files are left
out.
"""

import os
import re
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from xnnlib.errors import UserError
from xnnlib.files import project_path

LARGEST_FILE = 64 * 2**20  # bytes; a photograph of 50 megapixels keeps well below

# What operating systems, storage servers and browsers leave in folders; never data. In lower case.
_LITTER = {
    *("__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found"),
    *("$recycle.bin", "recycler", "system volume information", "@eadir", "#recycle", "@recycle", "#snapshot"),
}

# Control characters, line separators and bytes that are not UTF-8: no line of text could show such a name.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _is_litter(name: str) -> bool:
    """Whether a part of the path `name` is litter, or hidden."""
    parts = name.lower().split("/")
    return any(part.startswith(".") or part in _LITTER for part in parts) or parts[-1].endswith(
        ":zone.identifier"
    )


class Folder:
    """The files below a folder. A link to a file is followed if it stays below the folder.

    Raises UserError on a link that leaves it or leads to a folder (which could run in circles), on devices
    and pipes, and on what cannot be read.
    """

    def __init__(self, path: Path):
        self.path = path

    @cached_property
    def _entries(self) -> dict[str, tuple[str, int, int] | None]:
        """By name the path on the disk, bytes and time of change of each file; None for a folder."""
        try:
            return dict(self._scan("", ""))
        except OSError as error:
            raise UserError(
                f"{error.filename} cannot be read ({error.strerror}); remove it or make it readable."
            ) from error

    def _scan(self, prefix: str, folder: str) -> Iterator[tuple[str, tuple[str, int, int] | None]]:
        names = set()
        with os.scandir(self.path / folder) as entries:
            for entry in entries:
                if _is_litter(entry.name):
                    continue
                if _UNPRINTABLE.search(entry.name):
                    raise UserError(f"{entry.path!r} is no name that a line could show; rename it.")
                name = prefix + unicodedata.normalize("NFC", entry.name)
                if name in names:
                    raise UserError(f"{self.where(name)} is there in two Unicode spellings; remove one.")
                names.add(name)
                if entry.is_symlink():
                    self._check_link(entry)
                found = entry.stat()
                if entry.is_dir():
                    yield f"{name}/", None
                    yield from self._scan(f"{name}/", f"{folder}{entry.name}/")
                elif stat.S_ISREG(found.st_mode):
                    yield name, (folder + entry.name, found.st_size, found.st_mtime_ns)
                else:
                    raise UserError(f"{entry.path} is a device or a pipe, not a file; remove it.")

    def _check_link(self, entry: os.DirEntry) -> None:
        target = Path(os.path.realpath(entry.path))
        if entry.is_dir():
            raise UserError(f"{entry.path} is a link to a folder ({target}); put the folder in its place.")
        if not target.is_relative_to(os.path.realpath(self.path)):
            raise UserError(
                f"{entry.path} is a link that leaves {self.path} (to {target}); "
                "put the file in its place, or a hard link to it."
            )

    def names(self) -> list[str]:
        return sorted(self._entries)

    def read(self, name: str) -> bytes:
        try:
            path, *_ = self._entries.get(name) or (name,)
            with open(self.path / path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > LARGEST_FILE:
                    raise UserError(f"{self.where(name)} {_too_large(size)}.")
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
        return sorted(entry for entry in self._entries.values() if entry)


class Zip:
    """The members of a zip file.

    Raises UserError where the file is not a zip or is cut short, and where a member is a link, is encrypted,
    has a name that another has too, would unpack to too much, or fails its checksum.
    """

    def __init__(self, path: Path):
        self.path = path
        self._members: dict[str, zipfile.ZipInfo] = {}
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # a damaged directory makes zipfile raise nearly anything
            raise self._damaged(error) from error
        self._check_count()
        for member in self._zip.infolist():
            name = _member_name(member)
            if _is_litter(name):
                continue
            if fault := _fault(name, member):
                raise UserError(f"{path}: {name!r} {fault}.")
            if name in self._members:
                raise UserError(f"{path}: {name!r} is there twice; make the zip again.")
            self._members[name] = member

    def _damaged(self, why: object) -> UserError:
        with open(self.path, "rb") as file:
            start = file.read(2)
        if start not in (b"PK", b""):
            return UserError(f"{self.path} is not a zip file; unpack it yourself, and give the folder.")
        why = f"{self.path.stat().st_size:,} bytes; {str(why).rstrip('.')}"
        return UserError(f"{self.path} is not a whole zip file ({why}); copy or download it again.")

    def _check_count(self) -> None:
        # zipfile reads as many members as it finds: a damaged length can hide some. The count in the zip's
        # last record tells; it has 16 bits, which some tools let overflow and others set to all ones.
        with open(self.path, "rb") as file:
            file.seek(-22 - len(self._zip.comment), os.SEEK_END)
            signature, count = struct.unpack("<4s6xH10x", file.read(22))
        found = len(self._zip.infolist())
        if signature != b"PK\5\6":
            raise self._damaged("bytes follow its end")
        if count not in (0xFFFF, found % 0x10000):
            raise self._damaged(f"{found:,} members where it counts {count:,}")

    def names(self) -> list[str]:
        for member in self._members.values():
            try:  # compares the directory with what stands before the member's content
                self._zip.open(member).close()
            except Exception as error:
                raise self._damaged(error) from error
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        if name not in self._members:
            raise UserError(f"{self.where(name)} is missing; copy or download the zip again.")
        size = self._members[name].file_size
        try:
            with self._zip.open(self._members[name]) as file:
                content = file.read(size + 1)  # with a bound: the size could be a lie
            if len(content) != size:
                raise EOFError(f"{len(content):,} bytes of {size:,}")
            return content
        except Exception as error:  # zlib, zipfile, EOF, struct: all mean an unreadable member
            raise UserError(
                f"{self.where(name)} cannot be read ({error}); copy or download the zip again."
            ) from error

    def where(self, name: str) -> str:
        """How a message names the member."""
        return f"{self.path}: {name}"

    def identity(self) -> list:
        """What changes when the file does, found without reading it."""
        found = self.path.stat()
        return [found.st_size, found.st_mtime_ns]


def _member_name(member: zipfile.ZipInfo) -> str:
    """The name in NFC. Without a flag zipfile reads code page 437, where macOS has written UTF-8."""
    name = member.orig_filename
    if not member.flag_bits & 0x800:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:  # it is in some old code page
            pass
    return unicodedata.normalize("NFC", name)


def _fault(name: str, member: zipfile.ZipInfo) -> str:
    """What is wrong with a member, as far as the zip's directory tells."""
    if _UNPRINTABLE.search(name) or any(len(part) > 255 for part in name.split("/")):
        return "is no file name; rename it"
    if "\\" in name:
        return "has a backslash in its name; make the zip again with slashes between folders"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file; put the file itself into the zip"
    if member.flag_bits & 1:
        return "is encrypted; make the zip again without a password"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile unpacks these without a bound on how much comes out.
        return f"is compressed by method {member.compress_type}; make the zip again with deflate"
    return _too_large(member.file_size) if member.file_size > LARGEST_FILE else ""


def _too_large(size: int) -> str:
    return f"has {size:,} bytes; a file may have at most {LARGEST_FILE // 2**20} MiB: make it smaller"


def open_archive(path: str | os.PathLike) -> Folder | Zip:
    """Open `path`, a folder or a zip file. Raises UserError if it is neither, or not safe to read."""
    if not str(path):
        raise UserError("data_root is empty; give the folder or the zip file of the images.")
    given, place = path, ""
    try:
        path = Path(given).expanduser()
        if not path.is_absolute():
            path = project_path(path)
            place = f" as {path} (a relative path starts at the project's root, as that of run_dir)"
        if path.is_dir():
            return Folder(path)
        if path.is_file():
            return Zip(path)
    except (OSError, RuntimeError) as error:  # no permission, a name too long, no such home folder
        why = getattr(error, "strerror", None) or error
        raise UserError(f"data_root {str(given)!r} cannot be opened ({why}); check the path.") from error
    raise UserError(
        f"data_root {str(given)!r} does not exist{place}; give the folder or the zip file of the images."
    )

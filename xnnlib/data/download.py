"""Fetch the public data sets with pooch, kept only if the checksum is right.

The checksums are those that their publishers' copies are known by: MD5 for Tiny ImageNet, and for the
course's zips the SHA-1 that git itself names each file by, which is over `blob <size>`, a zero and the file.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import pooch

from xnnlib.errors import UserError, choose


class RemoteFile(NamedTuple):
    """A file at `url`. `digest` is "md5:" and the MD5, or "git:" and the id of the file's blob; `by_hand`
    says how to do without the download."""

    url: str
    digest: str
    by_hand: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    def is_at(self, path: Path) -> bool:
        """Whether the file at `path` is this one, by its checksum."""
        kind, expected = self.digest.split(":")
        found = hashlib.new("sha1" if kind == "git" else "md5", usedforsecurity=False)
        if kind == "git":
            found.update(f"blob {path.stat().st_size}\0".encode())
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: found).hexdigest() == expected


# HEAD is the repository's default branch, whatever its name.
_COURSE = "https://github.com/arthurredfern/UT-Dallas-CS-6301-CNNs/raw/HEAD/Data"
_COURSE_BLOBS = {
    "Train1": "16dfb1c3440a47f22492932542a749ecf56c7508",
    "Train2": "f3131aa3406dd76851a3a3cbe780a658de1dca0f",
    "Train3": "fd3b71165c824495fca20c4e1a00209a14179aef",
    "Train4": "cee43d7c5b55483ebd6b16f57ca3e16cd9033b70",
    "Train5": "f0d4f187a41a282e9cff43d3cd78cb35b4bc7d2c",
    "Val1": "58ccc33e6d495952b66342d61a6861bb2fa1ad47",
}

DOWNLOADS = {
    "tiny-imagenet": (
        RemoteFile(
            "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
            "md5:90528d7ca1a48142e341f4ef8d21d0de",
            "fetch it by hand and set XNNLIB_TINY_IMAGENET to it, or give it as --data-root",
        ),
    ),
    "imagenet64": tuple(
        RemoteFile(
            f"{_COURSE}/{name}.zip",
            f"git:{blob}",
            "fetch it by hand and give the folder of all six as --data-root",
        )
        for name, blob in _COURSE_BLOBS.items()
    ),
}


def download(name: str, folder: str | os.PathLike) -> list[Path]:
    """Fetch the data set `name`, one of DOWNLOADS, into `folder`; returns its files.

    A file that is there already is checked, not fetched.
    Raises UserError, one line, on everything that goes wrong.
    """
    files = DOWNLOADS[choose("data set", name, DOWNLOADS)]
    folder = Path(folder).expanduser()
    return [_fetch(file, folder) for file in files]


def _fetch(file: RemoteFile, folder: Path) -> Path:
    path, part = folder / file.name, folder / f".{file.name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if file.is_at(path):
                return path
            raise UserError(f"{path} is there, but is not the file at {file.url}; remove it to fetch that.")
        part.touch()
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error}); name another folder.") from error
    try:
        pooch.HTTPDownloader(progressbar=True, timeout=30)(file.url, part, None)
        if not file.is_at(part):
            raise UserError(
                f"{file.url} came with a wrong checksum and was deleted; try again, or {file.by_hand}."
            )
        return part.rename(path)
    except OSError as error:  # of the network, or of a disk that is full
        why = " ".join(str(error).split())
        raise UserError(f"{file.url} cannot be fetched ({why}); try again, or {file.by_hand}.") from error
    finally:
        part.unlink(missing_ok=True)

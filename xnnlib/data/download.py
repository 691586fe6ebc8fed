"""Fetch the public data sets: over https only, resumable, and kept only if the checksum is right.

The checksums are those that their publishers' copies are known by: MD5 for Tiny ImageNet, and for the
course's zips the SHA-1 that git itself names each file by. They tell a damaged or another file; that the
file comes from its publisher is what https stands for.
"""

import hashlib
import http.client
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from tqdm import tqdm

from xnnlib.errors import UserError, choose

_BLOCK = 2**18
_TIMEOUT = 30.0  # seconds without a byte

# Where the size is not pinned: GitHub takes no file above 100 MiB.
_LARGEST = 100 * 2**20


@dataclass(frozen=True)
class RemoteFile:
    """A file at `url`. `digest` is "md5:" and the MD5, or "git:" and the id of the file's blob; `size` in
    bytes, 0 where it is not known; `by_hand` says how to do without the download."""

    url: str
    by_hand: str
    digest: str
    size: int = 0

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    def is_at(self, path: Path) -> bool:
        """Whether there is a file at `path` and it is this one, by its size and its checksum."""
        if not path.exists():
            return False
        size = path.stat().st_size
        if self.size and size != self.size:
            return False
        kind, expected = self.digest.split(":")
        if kind == "md5":
            running = hashlib.md5(usedforsecurity=False)
        else:
            running = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                running.update(block)
        return running.hexdigest() == expected


_TINY_IMAGENET = RemoteFile(
    "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
    "fetch it by hand and set XNNLIB_TINY_IMAGENET to it, or give it as --data-root",
    "md5:90528d7ca1a48142e341f4ef8d21d0de",
    248_100_043,
)

# HEAD is the repository's own branch, whatever its name.
_COURSE = "https://github.com/arthurredfern/UT-Dallas-CS-6301-CNNs/raw/HEAD/Data"
_COURSE_BLOBS = {
    "Train1": "16dfb1c3440a47f22492932542a749ecf56c7508",
    "Train2": "f3131aa3406dd76851a3a3cbe780a658de1dca0f",
    "Train3": "fd3b71165c824495fca20c4e1a00209a14179aef",
    "Train4": "cee43d7c5b55483ebd6b16f57ca3e16cd9033b70",
    "Train5": "f0d4f187a41a282e9cff43d3cd78cb35b4bc7d2c",
    "Val1": "58ccc33e6d495952b66342d61a6861bb2fa1ad47",
}
_COURSE_BY_HAND = "fetch it by hand and give the folder of all six as --data-root"

DOWNLOADS = {
    "tiny-imagenet": (_TINY_IMAGENET,),
    "imagenet64": tuple(
        RemoteFile(f"{_COURSE}/{name}.zip", _COURSE_BY_HAND, f"git:{blob}")
        for name, blob in _COURSE_BLOBS.items()
    ),
}


def download(
    name: str, folder: str | os.PathLike, context: ssl.SSLContext | None = None, progress: bool = True
) -> list[Path]:
    """Fetch the data set `name`, one of DOWNLOADS, into `folder`; returns its files.

    A file that is there already is checked, not fetched; a broken download goes on where it stopped.
    `context` says whom to trust: the system's authorities unless given.
    Raises UserError, one line, on everything that goes wrong.
    """
    files = DOWNLOADS[choose("data set", name, DOWNLOADS)]
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_fetch(file, folder, context, progress) for file in files]
    except OSError as error:  # of the disk: those of the network are UserErrors by now
        raise UserError(
            f"{folder} cannot be written ({error}); free space or name another folder."
        ) from error


def _fetch(file: RemoteFile, folder: Path, context: ssl.SSLContext | None, progress: bool) -> Path:
    path, partial = folder / file.name, folder / f"{file.name}.partial"
    if path.exists():
        if not file.is_at(path):
            raise UserError(f"{path} is there, but is not the file at {file.url}; remove it to fetch that.")
        return path
    if not file.is_at(partial):  # it is where the last run ended between the last byte and the new name
        _receive(file, partial, context, progress)
        if not file.is_at(partial):
            partial.unlink()
            raise UserError(
                f"{file.url} came with a wrong size or checksum and was deleted; try again, "
                f"or {file.by_hand}."
            )
    os.replace(partial, path)
    return path


def _receive(file: RemoteFile, partial: Path, context: ssl.SSLContext | None, progress: bool) -> None:
    """Fetch into `partial`, which may hold the first bytes already."""
    there = partial.stat().st_size if partial.exists() else 0
    with _one_line(file):
        response = _open(file, there, context)
    with response:
        if response.status != 206:  # the server sends the whole file, asked or not
            there = 0
        length = response.headers.get("Content-Length", "")
        total = there + int(length) if length.isdecimal() else 0  # 0: the server does not say
        if file.size and total and total != file.size:
            raise UserError(
                f"{file.url} has {total:,} bytes, not {file.size:,}: another file; {file.by_hand}."
            )
        bar = tqdm(
            total=total or None,
            initial=there,
            desc=file.name,
            unit="B",
            unit_scale=True,
            disable=not progress,
        )
        with bar, open(partial, "ab" if there else "wb") as target:
            for block in _blocks(file, response):
                target.write(block)
                bar.update(len(block))
                there += len(block)
                if there > (file.size or _LARGEST):
                    raise UserError(f"{file.url} does not end: another file; {file.by_hand}.")
            target.flush()
            os.fsync(target.fileno())
    if there < total:
        raise UserError(
            f"{file.url} broke off after {there:,} of {total:,} bytes; run the command again to go on, "
            f"or {file.by_hand}."
        )


def _open(file: RemoteFile, start: int, context: ssl.SSLContext | None) -> http.client.HTTPResponse:
    """Ask for the file from byte `start` on; for all of it if it does not reach that far."""
    if not file.url.startswith("https://"):
        raise UserError(f"{file.url} is not https; {file.by_hand}.")
    opener = build_opener(_OnlyHttps(file), HTTPSHandler(context=context))
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        return opener.open(Request(file.url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        if error.code != 416:
            raise
        return opener.open(file.url, timeout=_TIMEOUT)


def _blocks(file: RemoteFile, response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _one_line(file):
            block = response.read(_BLOCK)
        if not block:
            return
        yield block


@contextmanager
def _one_line(file: RemoteFile) -> Iterator[None]:
    """Every error of the network as a UserError."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:  # HTTPError, URLError and ssl's are OSErrors
        why = error.reason if type(error) is URLError else error
        why = " ".join(str(why).split())  # urllib's words on a loop have lines
        raise UserError(f"{file.url} cannot be fetched ({why}); try again, or {file.by_hand}.") from error


class _OnlyHttps(HTTPRedirectHandler):
    def __init__(self, file: RemoteFile):
        self.file = file

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not newurl.lower().startswith("https://"):
            raise UserError(f"{self.file.url} leads to {newurl!r}, which is not https; {self.file.by_hand}.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

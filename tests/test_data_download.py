"""Downloads, from a server on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from small_archives import refused

from xnnlib.data.__main__ import main
from xnnlib.data.download import DOWNLOADS, RemoteFile, download

CONTENT = bytes(range(256)) * 400
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
BLOB = "git:" + hashlib.sha1(f"blob {len(CONTENT)}\0".encode() + CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """The first part of the path says how to behave."""

    def do_GET(self):
        behaviour = self.path.split("/")[1]
        if behaviour == "absent":
            return self.send_error(404)
        body = b"<html>" if behaviour == "portal" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if behaviour == "cut" else body)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def fetch(server, tmp_path, monkeypatch):
    """Downloads `a.zip`, whole or with the behaviour named, into tmp_path / "new"."""
    monkeypatch.setenv("no_proxy", "*")

    def fetch(behaviour="good", digest=MD5, url=None):
        file = RemoteFile(url or f"{server}/{behaviour}/a.zip", digest, "fetch it by hand")
        monkeypatch.setitem(DOWNLOADS, "tiny-imagenet", (file,))
        (path,) = download("tiny-imagenet", tmp_path / "new")
        return path

    return fetch


@pytest.mark.parametrize("digest", [MD5, BLOB], ids=["md5", "git"])
def test_file_is_fetched_whole_and_once(fetch, digest, capsys):
    path = fetch(digest=digest)
    assert path.read_bytes() == CONTENT and [p.name for p in path.parent.iterdir()] == ["a.zip"]
    assert "100%" in capsys.readouterr().err
    assert fetch("absent", digest) == path  # not asked for again


FAILURES = {
    "portal": ({"behaviour": "portal"}, "came with a wrong checksum and was deleted"),
    "cut": ({"behaviour": "cut"}, "cannot be fetched"),
    "absent": ({"behaviour": "absent"}, "cannot be fetched .*404"),
    "no network": ({"url": "https://127.0.0.1:1/a.zip"}, "cannot be fetched"),
}


@pytest.mark.parametrize("how, words", FAILURES.values(), ids=FAILURES.keys())
def test_failure_is_one_line_and_leaves_nothing(fetch, tmp_path, how, words):
    with refused(f"{words}.*; try again, or fetch it by hand"):
        fetch(**how)
    assert list((tmp_path / "new").iterdir()) == []


def test_another_file_of_the_same_name_is_kept(fetch, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.zip").write_bytes(b"mine")
    with refused(r"a\.zip is there, but is not the file at .*; remove it"):
        fetch()
    assert (tmp_path / "new" / "a.zip").read_bytes() == b"mine"


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with refused("file/below cannot be written"):
        download("tiny-imagenet", tmp_path / "file" / "below")


def test_what_is_pinned_is_https_and_has_a_checksum():
    for files in DOWNLOADS.values():
        for file in files:
            kind, digest = file.digest.split(":")
            assert file.url.startswith("https://") and len(digest) == {"md5": 32, "git": 40}[kind]
    names = [file.name for file in DOWNLOADS["imagenet64"]]
    assert names == [*(f"Train{k}.zip" for k in range(1, 6)), "Val1.zip"]


def test_command_names_what_it_fetched_and_says_how_to_do_without(tmp_path, capsys, monkeypatch):
    file = RemoteFile("https://127.0.0.1:1/a.zip", MD5, "set XNNLIB_TINY_IMAGENET")
    monkeypatch.setitem(DOWNLOADS, "tiny-imagenet", (file,))
    command = ["download", "tiny-imagenet", "--to", str(tmp_path)]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "XNNLIB_TINY_IMAGENET" in error and error.count("\n") == 1
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert main(command) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a.zip'}\n"

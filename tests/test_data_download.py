"""Downloads, from a server on this machine that speaks https and misbehaves on demand."""

import hashlib
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xnnlib.data import download as module
from xnnlib.data.__main__ import main
from xnnlib.data.download import DOWNLOADS, RemoteFile, download
from xnnlib.errors import UserError

CONTENT = bytes(range(256)) * 4000
SIZE = len(CONTENT)
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """The first part of the path says how to behave; what was asked is in `ranges`."""

    ranges: list[str | None] = []

    def do_GET(self):
        behaviour = self.path.split("/")[1]
        asked = self.headers["Range"]
        Server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        redirects = {
            "moved": "/good/a.zip",
            "downgrade": "http://127.0.0.1:1/a.zip",
            "circle": "/circle/a.zip",
        }
        if behaviour in redirects:
            self.send_response(302)
            self.send_header("Location", redirects[behaviour])
            self.end_headers()
        elif behaviour == "absent":
            self.send_error(404)
        elif start >= SIZE:
            self.send_error(416)
        else:
            start = 0 if behaviour in ("forgetful", "portal") else start
            body = b"<html>" if behaviour == "portal" else CONTENT[start:]
            self.send_response(206 if start else 200)
            if behaviour != "silent":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = behaviour == "cut" and not asked
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    )
    command = [
        *command.split(),
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        path,
        "-out",
        f"{path}.crt",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificate}.crt", certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(server, certificate, tmp_path, monkeypatch):
    """Downloads `a.zip`, whole or with the behaviour named, into tmp_path."""
    monkeypatch.setenv("no_proxy", "*")
    Server.ranges.clear()

    def fetch(behaviour="good", digest=MD5, size=SIZE, url=None, context=True, progress=False):
        file = RemoteFile(url or f"{server}/{behaviour}/a.zip", "fetch it by hand", digest, size)
        monkeypatch.setitem(DOWNLOADS, "tiny-imagenet", (file,))
        trusted = ssl.create_default_context(cafile=f"{certificate}.crt") if context else None
        (path,) = download("tiny-imagenet", tmp_path, trusted, progress)
        return path

    return fetch


def refused(fetch, words, *arguments, **options):
    with pytest.raises(UserError, match=words) as raised:
        fetch(*arguments, **options)
    assert "\n" not in str(raised.value) and "fetch it by hand" in str(raised.value)


@pytest.mark.parametrize("behaviour", ["good", "moved", "silent"])
def test_a_file_is_fetched_whole(fetch, tmp_path, behaviour, capsys):
    assert fetch(behaviour, progress=True).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert "a.zip" in capsys.readouterr().err


def test_a_file_that_is_there_is_not_fetched_again(fetch):
    fetch()
    Server.ranges.clear()
    fetch()
    assert Server.ranges == []


def test_git_s_own_checksum_is_known(fetch):
    """What `git hash-object` says of a file."""
    blob = hashlib.sha1(f"blob {len(CONTENT)}\0".encode() + CONTENT).hexdigest()
    assert fetch(digest=f"git:{blob}", size=0).read_bytes() == CONTENT
    empty = RemoteFile("https://x/empty", "", "git:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
    (path := fetch().with_name("empty")).touch()
    assert empty.is_at(path)


def test_a_broken_download_goes_on_where_it_stopped(fetch, tmp_path):
    half = SIZE // 2
    refused(fetch, f"broke off after {half:,} of {SIZE:,} bytes; run the command again", "cut")
    assert (tmp_path / "a.zip.partial").stat().st_size == half and not (tmp_path / "a.zip").exists()
    assert fetch("cut").read_bytes() == CONTENT
    assert Server.ranges == [None, f"bytes={half}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_server_without_ranges_starts_over(fetch, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT[:1000])
    assert fetch("forgetful").read_bytes() == CONTENT
    assert Server.ranges == ["bytes=1000-"]


def test_a_partial_file_that_is_whole_is_not_fetched(fetch, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT)
    assert fetch().read_bytes() == CONTENT
    assert Server.ranges == []


def test_a_partial_file_that_is_too_long_starts_over(fetch, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT + b"more")
    assert fetch().read_bytes() == CONTENT
    assert Server.ranges == [f"bytes={SIZE + 4}-", None]


def test_a_wrong_checksum_deletes_the_file(fetch, tmp_path):
    refused(fetch, "came with a wrong size or checksum and was deleted; try again", digest="md5:" + "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_partial_file_of_something_else_is_found_out(fetch, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(b"x" * 1000)
    refused(fetch, "came with a wrong size or checksum and was deleted")
    assert list(tmp_path.iterdir()) == []


def test_another_size_is_refused_before_a_byte_is_written(fetch, tmp_path):
    (tmp_path / "a.zip.partial").write_bytes(CONTENT[:1000])
    refused(fetch, "has 6 bytes, not 1,024,000: another file", "portal")
    assert (tmp_path / "a.zip.partial").read_bytes() == CONTENT[:1000]


def test_a_file_without_end_is_cut_off(fetch, monkeypatch):
    monkeypatch.setattr(module, "_LARGEST", 300_000)
    refused(fetch, "does not end: another file", "silent", size=0)


@pytest.mark.parametrize(
    "behaviour, words",
    [
        ("downgrade", r"leads to 'http://127\.0\.0\.1:1/a\.zip', which is not https"),
        ("absent", "cannot be fetched .*404"),
        ("circle", "cannot be fetched .*infinite loop"),
    ],
)
def test_a_server_s_refusal_is_one_line(fetch, tmp_path, behaviour, words):
    refused(fetch, words, behaviour)
    assert list(tmp_path.iterdir()) == []


def test_only_https_is_fetched(fetch, server):
    refused(fetch, "is not https", url=server.replace("https", "http") + "/good/a.zip")
    assert Server.ranges == []


def test_an_unknown_authority_is_refused(fetch):
    refused(fetch, "cannot be fetched .*CERTIFICATE_VERIFY_FAILED", context=False)
    assert Server.ranges == []


def test_no_network_is_one_line(fetch):
    refused(fetch, "cannot be fetched .*; try again, or fetch it by hand", url="https://127.0.0.1:1/a.zip")


def test_a_file_of_the_same_name_is_kept(fetch, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"a\.zip is there, but is not the file at .*; remove it"):
        fetch()
    assert (tmp_path / "a.zip").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/below cannot be written"):
        download("tiny-imagenet", tmp_path / "file" / "below")


def test_what_is_pinned_is_https_and_has_a_checksum():
    for files in DOWNLOADS.values():
        for file in files:
            kind, digest = file.digest.split(":")
            assert file.url.startswith("https://") and len(digest) == {"md5": 32, "git": 40}[kind]
    assert [file.name for file in DOWNLOADS["imagenet64"]] == [
        *(f"Train{k}.zip" for k in range(1, 6)),
        "Val1.zip",
    ]


def test_command_names_what_it_fetched_and_says_how_to_do_without(tmp_path, capsys, monkeypatch):
    file = RemoteFile("https://127.0.0.1:1/a.zip", "set XNNLIB_TINY_IMAGENET", MD5, SIZE)
    monkeypatch.setitem(DOWNLOADS, "tiny-imagenet", (file,))
    command = ["download", "tiny-imagenet", "--to", str(tmp_path)]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "XNNLIB_TINY_IMAGENET" in error and error.count("\n") == 1
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert main(command) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a.zip'}\n"

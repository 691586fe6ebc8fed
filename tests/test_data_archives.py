import os
import re
import struct
import tracemalloc
import unicodedata
import zipfile

import pytest
from small_archives import refused, write_folder, write_zip

from xnnlib.data.archives import MAX_FILE_BYTES, find, identity, open_archive

FILES = {"a/1.jpg": b"one", "a/2.jpg": b"two", "b/c/3.jpg": b"three"}
CONTAINERS = pytest.mark.parametrize("write, path", [(write_folder, "data"), (write_zip, "data.zip")])
LITTER = [".DS_Store", "__MACOSX/a/1.jpg", "a/Thumbs.db", "a/._1.jpg", "a/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg"]


def contents(path):
    return {name: file.read() for name, file in open_archive(path).items() if not name.endswith("/")}


def check(path, message, read=False):
    with refused(message):
        contents(path) if read else open_archive(path)


@CONTAINERS
def test_folder_and_zip_read_alike_without_litter(tmp_path, write, path):
    path = write(tmp_path / path, FILES | dict.fromkeys(LITTER, b"x"))
    assert contents(path) == FILES


def test_unreadable_litter_is_left_out(tmp_path, monkeypatch):
    """Also where the user is root, who may read everything."""
    root = write_folder(tmp_path, FILES | {"lost+found/1.jpg": b"x"})
    scandir = os.scandir

    def refuse(path):
        if "lost+found" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert contents(root) == FILES


@CONTAINERS
def test_identity_changes_with_a_file_alone(tmp_path, write, path):
    target = write(tmp_path / path, FILES)
    before = identity(target)
    assert identity(target) == before
    os.utime(target / "a/2.jpg" if target.is_dir() else target, ns=(1, 1))
    assert identity(target) != before


def test_unreadable_zip_is_one_line(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    path = write_zip(tmp_path / "data.zip", FILES)
    monkeypatch.setattr("builtins.open", refuse)
    check(path, r"data\.zip cannot be read \(Permission denied\); make it readable")


# Names


@CONTAINERS
def test_two_spellings_of_one_name_are_refused(tmp_path, write, path):
    files = {unicodedata.normalize(form, "a/é.jpg"): b"" for form in ("NFC", "NFD")}
    check(write(tmp_path / path, files), ".jpg is there twice, or in two Unicode spellings")


def test_file_that_no_line_can_name_is_refused(tmp_path):
    try:
        open(os.path.join(os.fsencode(tmp_path), b"latin-\xe9.jpg"), "w").close()
    except OSError:
        pytest.skip("the file system refuses such a name itself")
    check(tmp_path, "is not a printable name; rename it")


# Damaged and harmful files


def zip_with(path, name="a/1.jpg", content=b"one", compress_type=zipfile.ZIP_STORED):
    """A zip with one member more."""
    write_zip(path, {"b/0.jpg": b"zero"})
    member = zipfile.ZipInfo("placeholder")
    member.filename = name  # as it is: the constructor would mend it
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, content, compress_type)
    return path


def edited(path, format, value, offset):
    """The zip with another value in the directory entry of its last member."""
    content = bytearray(path.read_bytes())
    struct.pack_into(format, content, content.rindex(b"PK\1\2") + offset, value)
    path.write_bytes(content)
    return path


def test_torn_zip_is_named(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    content = path.read_bytes()
    for torn in (content[:-40], content[: len(content) // 2], b""):
        path.write_bytes(torn)
        check(path, r"data\.zip is not a whole zip file .* again\.")


def test_other_archives_are_not_called_torn(tmp_path):
    (tmp_path / "data.tar").write_bytes(b"train/cat/0.jpg".ljust(1024, b"\0"))
    check(tmp_path / "data.tar", r"data\.tar is not a zip file; unpack it yourself, and give the folder")


def test_zip_member_with_a_wrong_checksum_is_named(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    path.write_bytes(path.read_bytes().replace(b"three", b"threw"))
    assert open_archive(path)["a/1.jpg"].read() == b"one"
    check(path, r"data\.zip: b/c/3\.jpg cannot be read .*CRC", read=True)


HARMFUL = {
    "newline": ({"name": "a/two\nlines.jpg"}, "is not a printable name"),
    "twice": ({"name": "b/0.jpg"}, "b/0.jpg is there twice"),
    "bzip2": ({"compress_type": zipfile.ZIP_BZIP2}, "compressed by another method than deflate"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("member, message", HARMFUL.values(), ids=HARMFUL.keys())
def test_harmful_member_is_refused(tmp_path, member, message):
    check(zip_with(tmp_path / "data.zip", **member), message)


def test_encrypted_member_is_refused(tmp_path):
    path = edited(zip_with(tmp_path / "data.zip"), "<H", 1, offset=8)
    check(path, "a/1.jpg' is encrypted.*make the zip again without a password")


@pytest.mark.parametrize("name", ["../../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "C:/a.jpg", "..\\a.jpg"])
def test_member_outside_the_zip_reaches_no_disk(tmp_path, name):
    path = zip_with(tmp_path / "data" / "data.zip", name)
    assert set(contents(path).values()) <= {b"zero", b"one"}
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "data.zip"]


def test_backslashes_between_folders_are_slashes(tmp_path):
    assert contents(zip_with(tmp_path / "data.zip", "a\\1.jpg")) == {"b/0.jpg": b"zero", "a/1.jpg": b"one"}


def test_member_that_lies_about_its_size_fills_no_memory(tmp_path):
    path = zip_with(tmp_path / "data.zip", content=bytes(10**7), compress_type=zipfile.ZIP_DEFLATED)
    member = open_archive(edited(path, "<L", 1000, offset=24))["a/1.jpg"]
    tracemalloc.start()
    with refused(r"a/1\.jpg cannot be read .*CRC"):
        member.read()
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@CONTAINERS
def test_file_that_is_too_large_is_refused_when_it_is_read(tmp_path, write, path):
    path = write(tmp_path / path, {"a.jpg": bytes(MAX_FILE_BYTES + 1)})
    check(path, r"a\.jpg has 67,108,865 bytes; a file may have at most 64 MiB", read=True)


# Folders


def test_missing_paths_are_named(tmp_path):
    for path, message in (
        (tmp_path / "absent", "absent' does not exist; give the folder or the zip"),
        ("x" * 300, "cannot be opened .*give the folder"),
        ("~nobody-of-this-name/data", "cannot be opened .*give the folder"),
        ("", "data_root is empty"),
    ):
        with refused(message):
            find(path)


def test_relative_path_starts_at_the_projects_root(tmp_path, monkeypatch):
    write_folder(tmp_path, {"_toc.yml": b"", "notebooks/a.ipynb": b"", "my-images/1.jpg": b"one"})
    monkeypatch.chdir(tmp_path / "notebooks")
    assert find("my-images") == tmp_path / "my-images"
    expected = f"'mine' does not exist as {tmp_path / 'mine'} (a relative path starts at the project's"
    with refused(re.escape(expected)):
        find("mine")


def test_links_are_followed(tmp_path):
    """A subset of a data set is often a folder of links to some of its classes."""
    root = write_folder(tmp_path / "data", FILES)
    subset = tmp_path / "subset"
    (subset / "b").mkdir(parents=True)
    (subset / "a").symlink_to(root / "a")
    (subset / "b/3.jpg").symlink_to(root / "b/c/3.jpg")
    assert contents(subset) == {"a/1.jpg": b"one", "a/2.jpg": b"two", "b/3.jpg": b"three"}
    before = identity(subset)
    (root / "a/1.jpg").write_bytes(b"another")
    assert identity(subset) != before


@pytest.mark.parametrize(
    "target, message",
    [("..", "3.jpg is a link to a folder that it lies in"), ("absent.jpg", r"3\.jpg cannot be read")],
)
def test_bad_link_is_named(tmp_path, target, message):
    root = write_folder(tmp_path / "data", FILES)
    (root / "a/3.jpg").symlink_to(target)
    check(root, message)


def test_pipe_is_no_file(tmp_path):
    """Reading it would wait for ever."""
    root = write_folder(tmp_path / "data", FILES)
    os.mkfifo(root / "a/3.jpg")
    assert contents(root) == FILES

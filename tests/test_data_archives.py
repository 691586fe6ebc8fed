import os
import re
import struct
import tracemalloc
import unicodedata
import zipfile

import pytest
from small_archives import write_folder, write_zip

from xnnlib.data import archives
from xnnlib.data.archives import open_archive
from xnnlib.errors import UserError

FILES = {"a/1.jpg": b"one", "a/2.jpg": b"two", "b/c/3.jpg": b"three"}
CONTAINERS = pytest.mark.parametrize("write, path", [(write_folder, "data"), (write_zip, "data.zip")])


def contents(archive):
    return {name: archive.read(name) for name in archive.names() if not name.endswith("/")}


@CONTAINERS
def test_folder_and_zip_read_alike(tmp_path, write, path):
    archive = open_archive(write(tmp_path / path, FILES))
    assert contents(archive) == FILES
    assert "a/1.jpg" in archive.where("a/1.jpg")


@CONTAINERS
@pytest.mark.parametrize(
    "litter",
    [".DS_Store", "__MACOSX/a/1.jpg",
     "a/THUMBS.DB", "a/Desktop.ini", "ehthumbs.db", "a/Icon\r", "lost+found/1.jpg",
     "a/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "$Recycle.Bin/1.jpg", "System Volume Information/1.jpg",
     "#recycle/1.jpg", "a/1.jpg:Zone.Identifier", "a/._1.jpg"],
)  # fmt: skip
def test_litter_is_left_out(tmp_path, write, path, litter):
    assert contents(open_archive(write(tmp_path / path, FILES | {litter: b"x"}))) == FILES


def test_unreadable_litter_is_left_out(tmp_path, monkeypatch):
    """Also where the user is root, who may read everything."""
    root = write_folder(tmp_path, FILES | {"lost+found/1.jpg": b"x"})
    scandir = os.scandir

    def refuse(path):
        if "lost+found" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert contents(open_archive(root)) == FILES


def test_folder_names_its_empty_folders(tmp_path):
    (tmp_path / "train" / "empty").mkdir(parents=True)
    assert open_archive(tmp_path).names() == ["train/", "train/empty/"]


@CONTAINERS
def test_identity_changes_with_a_file_alone(tmp_path, write, path):
    target = write(tmp_path / path, FILES)
    before = open_archive(target).identity()
    assert open_archive(target).identity() == before
    changed = target / "a/2.jpg" if target.is_dir() else target
    os.utime(changed, ns=(1, 1))
    assert open_archive(target).identity() != before


# Names beyond ASCII


def without_the_utf8_flag(path):
    """As macOS writes its zips: names in UTF-8, and no word of it."""
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        for found in re.finditer(re.escape(signature), bytes(content)):
            content[found.start() + flags + 1] &= ~8
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["café/1.jpg", "犬/1.jpg", unicodedata.normalize("NFD", "é/ü.jpg")])
def test_names_in_zips_are_utf8_even_without_the_flag(tmp_path, name):
    flagged = write_zip(tmp_path / "flag.zip", {name: b"one"})
    silent = without_the_utf8_flag(write_zip(tmp_path / "no-flag.zip", {name: b"one"}))
    assert zipfile.ZipFile(silent).namelist() != [name]
    expected = {unicodedata.normalize("NFC", name): b"one"}
    for path in (flagged, silent, write_folder(tmp_path / "folder", {name: b"one"})):
        assert contents(open_archive(path)) == expected


def test_names_in_an_old_code_page_are_kept(tmp_path):
    path = without_the_utf8_flag(write_zip(tmp_path / "a.zip", {"caf___/1.jpg": b"one"}))
    path.write_bytes(path.read_bytes().replace(b"caf___", b"caf\x82__"))  # é in code page 437
    assert contents(open_archive(path)) == {"café__/1.jpg": b"one"}


@CONTAINERS
def test_two_spellings_of_one_name_are_refused(tmp_path, write, path):
    files = {unicodedata.normalize(form, "a/é.jpg"): b"" for form in ("NFC", "NFD")}
    with pytest.raises(UserError, match="é.jpg.* is there (twice|in two Unicode spellings)"):
        open_archive(write(tmp_path / path, files)).names()


# Damaged and harmful zips


def zip_with(path, name="a/1.jpg", content=b"one", **attributes):
    """A zip with one member more, with attributes of its ZipInfo."""
    write_zip(path, {"b/0.jpg": b"zero"})
    member = zipfile.ZipInfo("placeholder")
    member.filename = name  # as it is: the constructor would mend it
    for key, value in attributes.items():
        setattr(member, key, value)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, content)
    return path


def test_torn_zip_is_named(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    content = path.read_bytes()
    for torn in (content[:-40], content[:20] + content[60:], content + b"<html>", b""):
        path.write_bytes(torn)
        with pytest.raises(UserError, match=r"data\.zip is not a whole zip file .* again\."):
            open_archive(path).names()


@pytest.mark.parametrize("start", [b"train/cat/0.jpg\0", b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b\x08"])
def test_other_archives_are_not_called_torn(tmp_path, start):
    (tmp_path / "data.tar").write_bytes(start.ljust(1024, b"\0"))
    with pytest.raises(
        UserError, match=r"data\.tar is not a zip file; unpack it yourself, and give the folder"
    ):
        open_archive(tmp_path / "data.tar")


def test_zip_member_with_a_wrong_checksum_is_named(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    path.write_bytes(path.read_bytes().replace(b"three", b"threw"))
    archive = open_archive(path)
    assert archive.read("a/1.jpg") == b"one"
    with pytest.raises(UserError, match=r"data\.zip: b/c/3\.jpg cannot be read .*CRC"):
        archive.read("b/c/3.jpg")


def test_member_hidden_by_a_damaged_length_is_missed(tmp_path):
    """The comment of the first member, made as long as the second's entry, swallows that."""
    path = write_zip(tmp_path / "data.zip", FILES)
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, content.index(b"PK\1\2") + 32, 46 + len("a/2.jpg"))
    path.write_bytes(content)
    assert len(zipfile.ZipFile(path).namelist()) == 2
    with pytest.raises(UserError, match="2 members where it counts 3"):
        open_archive(path)


def test_member_renamed_in_the_directory_is_refused(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    content = path.read_bytes()
    directory = content.index(b"PK\1\2")
    path.write_bytes(content[:directory] + content[directory:].replace(b"a/2.jpg", b"z/2.jpg"))
    with pytest.raises(UserError, match="File name in directory 'z/2.jpg' and header b'a/2.jpg' differ"):
        open_archive(path).names()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "member, message",
    [
        ({"name": "a/two\nlines.jpg"}, "is no file name; rename it"),
        ({"name": "a/\x1b[31m.jpg"}, "is no file name; rename it"),
        ({"name": "a/" + "7" * 5000 + ".jpg"}, "is no file name; rename it"),
        ({"name": "a\\1.jpg"}, "has a backslash in its name"),
        ({"name": "b/0.jpg"}, "'b/0.jpg' is there twice"),
        ({"external_attr": 0o120777 << 16, "create_system": 3}, "is a link or a special file"),
        ({"external_attr": 0o010666 << 16, "create_system": 3}, "is a link or a special file"),
        ({"compress_type": zipfile.ZIP_BZIP2}, "is compressed by method 12; make the zip again with deflate"),
        ({"compress_type": zipfile.ZIP_LZMA}, "is compressed by method 14"),
        (
            {"content": bytes(archives.LARGEST_FILE + 1), "compress_type": zipfile.ZIP_DEFLATED},
            "has 67,108,865 bytes; a file may have at most 64 MiB",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_harmful_member_is_refused(tmp_path, member, message):
    with pytest.raises(UserError, match=message) as raised:
        open_archive(zip_with(tmp_path / "data.zip", **member))
    assert "\n" not in str(raised.value)


def test_encrypted_member_is_refused(tmp_path):
    path = zip_with(tmp_path / "data.zip")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="'a/1.jpg' is encrypted; make the zip again without a password"):
        open_archive(path)


@pytest.mark.parametrize("name", ["../../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "C:/a.jpg"])
def test_member_outside_the_zip_reaches_no_disk(tmp_path, name):
    archive = open_archive(zip_with(tmp_path / "data" / "data.zip", name))
    assert all(archive.read(member) in (b"zero", b"one") for member in archive.names())
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "data.zip"]


def test_member_that_lies_about_its_size_fills_no_memory(tmp_path):
    path = zip_with(tmp_path / "data.zip", content=bytes(10**7), compress_type=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    struct.pack_into("<L", content, content.rindex(b"PK\1\2") + 24, 1000)
    path.write_bytes(content)
    archive = open_archive(path)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"a/1\.jpg cannot be read .*CRC"):
        archive.read("a/1.jpg")
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


# Folders


def test_missing_paths_and_members_are_named(tmp_path):
    with pytest.raises(UserError, match="absent' does not exist; give the folder or the zip"):
        open_archive(tmp_path / "absent")
    with pytest.raises(UserError, match="x.jpg is missing"):
        open_archive(write_zip(tmp_path / "data.zip", FILES)).read("x.jpg")
    with pytest.raises(UserError, match="x.jpg cannot be read"):
        open_archive(tmp_path).read("x.jpg")
    for path in ("x" * 300, "~nobody-of-this-name/data"):
        with pytest.raises(UserError, match="cannot be opened .*; check the path"):
            open_archive(path)


@pytest.mark.parametrize("working", ["", "notebooks"])
def test_relative_path_starts_at_the_projects_root(tmp_path, monkeypatch, working):
    write_folder(tmp_path, {"_toc.yml": b"", "notebooks/a.ipynb": b"", "my-images/1.jpg": b"one"})
    monkeypatch.chdir(tmp_path / working)
    assert contents(open_archive("my-images")) == {"1.jpg": b"one"}
    expected = re.escape(
        f"'mine' does not exist as {tmp_path / 'mine'} (a relative path starts at the project's"
    )
    with pytest.raises(UserError, match=expected):
        open_archive("mine")


def test_link_to_a_file_below_the_folder_is_followed(tmp_path):
    root = write_folder(tmp_path / "data", FILES)
    (root / "a/3.jpg").symlink_to(root / "b/c/3.jpg")
    (tmp_path / "link").symlink_to(root)
    assert contents(open_archive(tmp_path / "link"))["a/3.jpg"] == b"three"


@pytest.mark.parametrize(
    "target, message",
    [
        ("../../outside.jpg", r"3\.jpg is a link that leaves .*data \(to .*\); put the file in"),
        ("/etc/passwd", r"3\.jpg is a link that leaves"),
        ("../../data2/1.jpg", r"3\.jpg is a link that leaves"),
        (".", r"3\.jpg is a link to a folder .*; put the folder in its place"),
        ("../../data2", r"3\.jpg is a link to a folder"),
        ("absent.jpg", r"3\.jpg cannot be read"),
        ("3.jpg", r"3\.jpg cannot be read \(Too many levels of symbolic links"),
    ],
)
def test_bad_link_is_refused(tmp_path, target, message):
    write_folder(tmp_path, {"outside.jpg": b"", "data2/1.jpg": b""})
    root = write_folder(tmp_path / "data", FILES)
    (root / "a/3.jpg").symlink_to(target)
    with pytest.raises(UserError, match=message):
        open_archive(root).names()


def test_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="a.jpg is a device or a pipe"):
        open_archive(tmp_path).names()


@pytest.mark.parametrize("name", [b"two\nlines.jpg", b"latin-\xe9.jpg"])
def test_file_that_no_line_can_name_is_refused(tmp_path, name):
    try:
        open(os.path.join(os.fsencode(tmp_path), name), "w").close()
    except OSError:
        pytest.skip("the file system refuses such a name itself")
    with pytest.raises(UserError, match="is no name that a line could show; rename it") as raised:
        open_archive(tmp_path).names()
    assert "\n" not in str(raised.value)


def test_file_that_is_too_large_is_refused(tmp_path):
    with open(tmp_path / "a.jpg", "wb") as file:
        file.truncate(archives.LARGEST_FILE + 1)
    with pytest.raises(UserError, match=r"a\.jpg has 67,108,865 bytes; a file may have at most 64 MiB"):
        open_archive(tmp_path).read("a.jpg")

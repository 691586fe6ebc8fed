import os
import re
import struct
import zipfile

import pytest
from small_archives import write_folder, write_zip

from xnnlib.data import archives
from xnnlib.data.archives import open_archive
from xnnlib.errors import UserError

FILES = {"a/1.jpg": b"one", "a/2.jpg": b"two", "b/c/3.jpg": b"three"}
LITTER = {"a/.DS_Store": b"", "__MACOSX/a/._1.jpg": b"", "a/Thumbs.db": b""}


@pytest.mark.parametrize("write, path", [(write_folder, "data"), (write_zip, "data.zip")])
def test_folder_and_zip_read_alike(tmp_path, write, path):
    archive = open_archive(write(tmp_path / path, FILES | LITTER))
    assert {name: archive.read(name) for name in archive.names() if not name.endswith("/")} == FILES
    assert "a/1.jpg" in archive.where("a/1.jpg")


def test_folder_names_its_empty_folders(tmp_path):
    (tmp_path / "train" / "empty").mkdir(parents=True)
    assert open_archive(tmp_path).names() == ["train/", "train/empty/"]


@pytest.mark.parametrize("write, path", [(write_folder, "data"), (write_zip, "data.zip")])
def test_identity_changes_with_a_file_alone(tmp_path, write, path):
    target = write(tmp_path / path, FILES)
    before = open_archive(target).identity()
    assert open_archive(target).identity() == before
    changed = target / "a/2.jpg" if target.is_dir() else target
    os.utime(changed, ns=(1, 1))
    assert open_archive(target).identity() != before


def test_torn_zip_is_named(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"data\.zip is not a whole zip file .* again\."):
        open_archive(path)


def test_zip_member_with_a_wrong_checksum_is_named(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    path.write_bytes(path.read_bytes().replace(b"three", b"threw"))
    archive = open_archive(path)
    assert archive.read("a/1.jpg") == b"one"
    with pytest.raises(UserError, match=r"data\.zip: b/c/3\.jpg cannot be read .*CRC"):
        archive.read("b/c/3.jpg")


def test_broken_link_is_named(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "absent.jpg")
    with pytest.raises(UserError, match=r"a\.jpg cannot be read"):
        open_archive(tmp_path).names()


def test_missing_path_and_members_are_named(tmp_path):
    with pytest.raises(UserError, match="absent' does not exist"):
        open_archive(tmp_path / "absent")
    with pytest.raises(UserError, match="x.jpg is missing"):
        open_archive(write_zip(tmp_path / "data.zip", FILES)).read("x.jpg")
    with pytest.raises(UserError, match="x.jpg cannot be read"):
        open_archive(tmp_path).read("x.jpg")


def test_a_path_that_cannot_be_opened_is_one_line():
    for path in ("x" * 300, "~nobody-of-this-name/data"):
        with pytest.raises(UserError, match="cannot be opened .*; check the path"):
            open_archive(path)


# Zips that harm


def zip_with(path, name="a/1.jpg", content=b"one", **attributes):
    """A zip with one member more than FILES, with attributes of its ZipInfo."""
    write_zip(path, {"b/0.jpg": b"zero"})
    member = zipfile.ZipInfo("placeholder")
    member.filename = name  # as it is: the constructor would mend it
    for key, value in attributes.items():
        setattr(member, key, value)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, content)
    return path


@pytest.mark.parametrize(
    "name",
    ["../../a.jpg", "a/../../b.jpg", "a/..", "/etc/a.jpg", "//host/a.jpg", "C:/a.jpg", "c:a.jpg", "C:\\a.jpg",
     "..\\a.jpg", "a\\1.jpg"],
)  # fmt: skip
def test_zip_member_outside_the_zip_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=re.escape(f"{name!r} is not a path inside the zip")):
        open_archive(zip_with(tmp_path / "data.zip", name))


@pytest.mark.parametrize("name", ["a/two\nlines.jpg", "a/\x1b[31m.jpg", "a/" + "7" * 5000 + ".jpg"])
def test_zip_member_that_no_line_can_name_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="is no file name; rename it") as raised:
        open_archive(zip_with(tmp_path / "data.zip", name))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010666], ids=["link", "device", "pipe"])
def test_zip_member_that_is_no_file_is_refused(tmp_path, mode):
    path = zip_with(tmp_path / "data.zip", content=b"/etc/passwd", external_attr=mode << 16, create_system=3)
    with pytest.raises(UserError, match="'a/1.jpg' is a link or a special file"):
        open_archive(path)


def test_encrypted_zip_member_is_refused(tmp_path):
    path = zip_with(tmp_path / "data.zip")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="'a/1.jpg' is encrypted; make the zip again without a password"):
        open_archive(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_compressed_by_what_has_no_bound_is_refused(tmp_path, method):
    with pytest.raises(UserError, match=f"is compressed by method {method}; make the zip again with deflate"):
        open_archive(zip_with(tmp_path / "data.zip", compress_type=method))


def test_name_that_two_zip_members_have_is_refused(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/1.jpg", b"one")
        archive.writestr("a/1.jpg", b"another")
    with pytest.raises(UserError, match="'a/1.jpg' is there 2 times"):
        open_archive(path)


def test_zip_member_that_unpacks_to_too_much_is_refused(tmp_path):
    bomb = zip_with(
        tmp_path / "data.zip",
        content=bytes(archives.LARGEST_FILE + 1),
        compress_type=zipfile.ZIP_DEFLATED,
    )
    assert bomb.stat().st_size < 10**5
    with pytest.raises(UserError, match="'a/1.jpg' would unpack to 67,108,865 bytes; .* at most 64 MiB"):
        open_archive(bomb)


def test_zip_that_unpacks_to_too_much_is_refused(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(5):
            archive.writestr(f"a/{k}.jpg", bytes(archives.LARGEST_FILE // 4))
    with pytest.raises(UserError, match="would unpack from .* to 83,886,080 bytes, more than 100 times"):
        open_archive(path)


def test_zip_member_that_lies_about_its_size_fills_no_memory(tmp_path):
    import tracemalloc

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


def test_zip_that_is_cut_in_its_middle_is_refused(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    content = path.read_bytes()
    path.write_bytes(content[:20] + content[60:])
    with pytest.raises(UserError, match="data.zip"):
        open_archive(path)


def test_zip_with_bytes_after_its_end_is_refused(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    path.write_bytes(path.read_bytes() + b"<html>")
    with pytest.raises(UserError, match="is not a whole zip file .*bytes follow its end"):
        open_archive(path)


def test_zip_member_that_a_damaged_length_hides_is_missed(tmp_path):
    """The comment of the first member, made as long as the second's entry, swallows that."""
    path = write_zip(tmp_path / "data.zip", FILES)
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, content.index(b"PK\1\2") + 32, 46 + len("a/2.jpg"))
    path.write_bytes(content)
    assert len(zipfile.ZipFile(path).namelist()) == 2
    with pytest.raises(UserError, match="2 members where it counts 3"):
        open_archive(path)


def test_zip_member_of_another_name_than_the_directory_s_is_refused(tmp_path):
    path = write_zip(tmp_path / "data.zip", FILES)
    content = path.read_bytes()
    directory = content.index(b"PK\1\2")
    path.write_bytes(content[:directory] + content[directory:].replace(b"a/2.jpg", b"z/2.jpg"))
    with pytest.raises(UserError, match="File name in directory 'z/2.jpg' and header b'a/2.jpg' differ"):
        open_archive(path).names()


# Folders that harm


def test_link_to_a_file_below_the_folder_is_followed(tmp_path):
    root = write_folder(tmp_path / "data", FILES)
    (root / "a/3.jpg").symlink_to(root / "b/c/3.jpg")
    (tmp_path / "link").symlink_to(root)
    archive = open_archive(tmp_path / "link")
    assert "a/3.jpg" in archive.names() and archive.read("a/3.jpg") == b"three"


@pytest.mark.parametrize("target", ["../../outside.jpg", "/etc/passwd", "../../data2/1.jpg"])
def test_link_that_leaves_the_folder_is_refused(tmp_path, target):
    write_folder(tmp_path, {"outside.jpg": b"", "data2/1.jpg": b""})
    root = write_folder(tmp_path / "data", FILES)
    (root / "a/3.jpg").symlink_to(target)
    with pytest.raises(UserError, match=r"3\.jpg is a link that leaves .*data \(to .*\); put the file in"):
        open_archive(root).identity()


@pytest.mark.parametrize("target", [".", "..", "../b", "../../elsewhere"])
def test_link_to_a_folder_is_refused_and_no_loop_hangs(tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    root = write_folder(tmp_path / "data", FILES)
    (root / "a/more").symlink_to(target)
    with pytest.raises(UserError, match="a/more is a link to a folder .*; put the folder in its place"):
        open_archive(root).identity()


def test_link_to_itself_is_one_line(tmp_path):
    (tmp_path / "a.jpg").symlink_to("a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg cannot be read \(Too many levels of symbolic links"):
        open_archive(tmp_path).names()


def test_pipe_in_a_folder_is_refused(tmp_path):
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
    with pytest.raises(UserError, match=r"a\.jpg has 67,108,865 bytes; an image may have at most 64 MiB"):
        open_archive(tmp_path).read("a.jpg")

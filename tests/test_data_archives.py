import os

import pytest
from small_archives import write_folder, write_zip

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

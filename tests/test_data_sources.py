import unicodedata

import pytest
from small_archives import WNIDS, image_folder, refused, tiny_imagenet, write_folder, write_zip

from xnnlib.data.sources import find_source, select


def chosen(source, root, num_classes=0, train_images=0, val_images=0):
    """Class names, and file names with labels of both splits."""
    names, splits = select(source, find_source(source, root), num_classes, train_images, val_images)
    return names, *([(f.name.rsplit("/", 1)[-1], label) for f, label in files] for files in splits.values())


def without(files, part):
    return {name: content for name, content in files.items() if part not in name}


def renamed(files, old, new):
    return {name.replace(old, new): content for name, content in files.items()}


def test_tiny_imagenet_takes_the_first_classes_of_its_list_in_any_container(tmp_path):
    files = tiny_imagenet() | {"tiny-imagenet-200/train/n00000001/images/n00000001_0.JPEG": b""}
    folder = write_folder(tmp_path / "unpacked", files)
    for root in (write_zip(tmp_path / "t.zip", files), folder, folder / "tiny-imagenet-200"):
        names, train, val = chosen("tiny-imagenet", root, num_classes=2)
        assert names == list(WNIDS[:2])
        assert train == [(f"{wnid}_{k}.JPEG", label) for label, wnid in enumerate(names) for k in range(12)]
        assert val == [(f"val_{6 * k + label}.JPEG", label) for label in range(2) for k in range(3)]


def test_tiny_imagenet_is_found_through_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XNNLIB_TINY_IMAGENET", str(write_zip(tmp_path / "t.zip", tiny_imagenet())))
    assert chosen("tiny-imagenet", "")[0] == list(WNIDS)
    monkeypatch.delenv("XNNLIB_TINY_IMAGENET")
    with refused("data_root is empty.*XNNLIB_TINY_IMAGENET"):
        chosen("tiny-imagenet", "")


# Classes a and b; b is spread over two zips.
PARTS = {
    "Train1": ("a/a_2.JPEG", "a/a_10.JPEG", "b/b_3.JPEG"),
    "Train2": ("b/b_1.JPEG", "b/b_20.JPEG"),
    "Val1": ("a/v_1.JPEG", "b/v_2.JPEG"),
}


def course_zips(root, wrapped=False, write=write_zip):
    for part, names in PARTS.items():
        files = {f"{part}/{name}" if wrapped else name: b"" for name in names}
        write(root / (f"{part}.zip" if write is write_zip else part), files)
    return root


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_imagenet64_joins_its_zips(tmp_path, wrapped, write):
    names, train, val = chosen("imagenet64", course_zips(tmp_path, wrapped, write))
    assert names == ["a", "b"]
    assert train == [("a_2.JPEG", 0), ("a_10.JPEG", 0), ("b_1.JPEG", 1), ("b_3.JPEG", 1), ("b_20.JPEG", 1)]
    assert val == [("v_1.JPEG", 0), ("v_2.JPEG", 1)]


def test_imagenet64_reads_an_unpacked_train_and_val(tmp_path):
    write_folder(tmp_path, image_folder())
    assert chosen("imagenet64", tmp_path) == chosen("folder", tmp_path)


@pytest.mark.parametrize("beside", [{"README.txt": b""}, {"Train1/README.txt": b""}], ids=str)
def test_files_beside_the_courses_classes_are_no_class(tmp_path, beside):
    course_zips(tmp_path, wrapped=True)
    expected = chosen("imagenet64", tmp_path)
    write_zip(tmp_path / "Train1.zip", {f"Train1/{name}": b"" for name in PARTS["Train1"]} | beside)
    assert chosen("imagenet64", tmp_path) == expected


def test_a_zip_of_the_course_goes_before_its_folder(tmp_path):
    course_zips(tmp_path)
    write_folder(tmp_path / "train1", {"wrong/1.JPEG": b""})
    assert chosen("imagenet64", tmp_path)[0] == ["a", "b"]


@pytest.mark.parametrize("wrapper", ["", "images/", "all/my images/"])
@pytest.mark.parametrize("beside", [{}, {"README.txt": b"", "scripts/train.py": b"", "test/1.jpg": b""}])
@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_folder(tmp_path, wrapper, beside, write):
    files = {wrapper + name: content for name, content in (image_folder() | beside).items()}
    names, train, val = chosen("folder", write(tmp_path / "data.zip", files | beside), train_images=5)
    assert names == ["cat", "dog", "eel"]
    # Five images over three classes: the first two give one more.
    assert train == [("0.jpg", 0), ("1.jpg", 0), ("0.jpg", 1), ("1.jpg", 1), ("0.jpg", 2)]
    assert val == [("0.jpg", 0), ("1.jpg", 0), ("0.jpg", 1), ("1.jpg", 1), ("0.jpg", 2), ("1.jpg", 2)]


def test_numbers_in_names_are_in_their_order_however_long(tmp_path):
    long = "1" * 5000
    names = ["a_2.jpg", "a_010.jpg", "a_11.jpg", f"a_{long}.jpg", f"a_{long}0.jpg"]
    files = {f"{split}/a/{name}": b"" for split in ("train", "val") for name in reversed(names)}
    assert [name for name, _ in chosen("folder", write_zip(tmp_path / "x.zip", files))[1]] == names


def test_a_class_may_be_called_train(tmp_path):
    root = write_folder(tmp_path, image_folder(classes=("eval", "train")))
    assert chosen("folder", root)[0] == ["eval", "train"]


def test_one_class_in_two_unicode_spellings_is_one(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root = write_folder(tmp_path, {f"train/{nfc}/1.jpg": b"", f"val/{nfd}/1.jpg": b""})
    assert chosen("folder", root) == ([nfc], [("1.jpg", 0)], [("1.jpg", 0)])


def test_tiny_imagenets_lists_may_have_been_edited_on_windows(tmp_path):
    files = tiny_imagenet()
    for name in (WNIDS_TXT, ANNOTATIONS):
        files[name] = files[name].decode().replace("\n", "\r\n").encode("utf-8-sig")
    expected = chosen("tiny-imagenet", write_zip(tmp_path / "original.zip", tiny_imagenet()))
    assert chosen("tiny-imagenet", write_zip(tmp_path / "edited.zip", files)) == expected


TINY, FOLDER = tiny_imagenet(), image_folder()
WNIDS_TXT, ANNOTATIONS = "tiny-imagenet-200/wnids.txt", "tiny-imagenet-200/val/val_annotations.txt"
IN_TINY = {  # files, and what is said of them
    "another layout": (FOLDER, r"has no wnids.txt \(it has train/, val/\); give tiny-imagenet-200.zip"),
    "no annotations": (without(TINY, "annotations"), "val_annotations.txt is missing"),
    "no tab": (
        TINY | {ANNOTATIONS: b"val_0.JPEG n01443537\n"},
        "annotations.txt, line 1: expected a file name",
    ),
    "twice": (
        TINY | {ANNOTATIONS: f"val_0.JPEG\t{WNIDS[0]}\n".encode() * 2},
        "line 2: expected a file name .* that no other line has",
    ),
    "class twice": (TINY | {WNIDS_TXT: f"{WNIDS[0]}\n".encode() * 2}, f"wnids.txt lists '{WNIDS[0]}' twice"),
    "empty class": (without(TINY, f"{WNIDS[1]}_"), f"'{WNIDS[1]}' has 0 train images"),
    "reorganised": (
        renamed(TINY, "/images/n", "/n"),
        r"train/n[0-9]+/ has no images in images/ .*as dataset folder",
    ),
    "reorganised val": (
        renamed(TINY, "/val/images/", "/val/x/"),
        r"line 1: expected .*val/ has val_annotations.txt, x/",
    ),
}
IN_FOLDER = {  # then how many classes, training and validation images are asked for
    "no val": (without(FOLDER, "val/"), "has no val/ beside train/"),
    "another val": (
        renamed(FOLDER, "val/", "valid/") | {"test/1.jpg": b""},
        r"no val/ beside train/ \(there is test/, train/, valid/\); rename the validation split to val/",
    ),
    "another train": (
        renamed({f"flowers/{name}": b"" for name in FOLDER}, "train/", "training/"),
        r"has no train/ \(it has flowers/training/, flowers/val/\); give the folder or zip that holds",
    ),
    "two": (
        {f"{top}/{name}": b"" for top in "ab" for name in FOLDER},
        "train/ in a/, b/; give one of these",
    ),
    "class without val": (without(FOLDER, "val/dog"), "'dog' has 0 val images, fewer than the 1 asked for"),
    "many classes": (FOLDER, "num_classes is 4; .* has 3 classes", 4),
    "many images": (FOLDER, "class 'cat' has 4 train images, fewer than the 5", 0, 14),
    "few images": (FOLDER, "val_images is 2 for 3 classes", 0, 0, 2),
}
MISTAKES = {name: ("tiny-imagenet", *rest) for name, rest in IN_TINY.items()}
MISTAKES |= {name: ("folder", *rest) for name, rest in IN_FOLDER.items()}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(tmp_path, name):
    source, files, message, *counts = MISTAKES[name]
    with refused(message):
        chosen(source, write_zip(tmp_path / "data.zip", files), *counts)


def test_empty_class_folder_is_found(tmp_path):
    write_folder(tmp_path, image_folder())
    (tmp_path / "train" / "bee").mkdir()
    with refused("class 'bee' has 0 train images"):
        chosen("folder", tmp_path)


def test_imagenet64_mistakes(tmp_path):
    with refused("has no Train1.zip"):
        chosen("imagenet64", tmp_path)
    path = write_zip(tmp_path / "Train1.zip", {"a/1.JPEG": b""})
    with refused("has no Val1.zip"):
        chosen("imagenet64", tmp_path)
    with refused("Train1.zip has no Train1.zip .*; give the folder that holds"):
        chosen("imagenet64", path)

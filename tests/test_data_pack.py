import hashlib
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from small_archives import encoded, image_folder, write_folder

from xnnlib.data.pack import decode, pack_files
from xnnlib.data.sources import ImageFolder, select
from xnnlib.errors import UserError


def pack(root, size=64, **counts):
    return pack_files("folder", select(ImageFolder(str(root)).listing(), 0, 0, 0), size, progress=False)


def test_images_and_labels_are_those_of_the_files(tmp_path):
    files = image_folder()
    dataset = pack(write_folder(tmp_path, files))
    assert dataset.class_names == ["cat", "dog", "eel"]
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.val.labels.tolist() == [0, 0, 1, 1, 2, 2]
    (tmp_path / "one.jpg").write_bytes(files["train/dog/2.jpg"])
    expected = np.asarray(Image.open(tmp_path / "one.jpg")).transpose(2, 0, 1)
    np.testing.assert_array_equal(dataset.train.images[6].numpy(), expected)


def test_fingerprint_is_the_documented_hash(tmp_path):
    files = image_folder(classes=("cat", "dog"), train=2, val=1)
    stream = b"cat\ndog\n"
    for split, names in (("train", ("cat/0", "cat/1", "dog/0", "dog/1")), ("val", ("cat/0", "dog/0"))):
        stream += split.encode() + b"\n"
        for name in names:
            content = files[f"{split}/{name}.jpg"]
            stream += struct.pack("<QQ", int(name.startswith("dog")), len(content)) + content
    root = write_folder(tmp_path, files)
    assert pack(root).fingerprint == hashlib.sha256(stream).hexdigest()
    assert pack(root, size=32).fingerprint == pack(root).fingerprint
    (root / "val/dog/0.jpg").write_bytes(files["val/cat/0.jpg"])
    assert pack(root).fingerprint != hashlib.sha256(stream).hexdigest()


@pytest.mark.parametrize(
    "mode, format",
    [
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "JPEG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("LA", "PNG"),
        ("1", "PNG"),
    ],
)
def test_every_mode_becomes_rgb(mode, format):
    image = decode(encoded(3, mode=mode, format=format), 64)
    assert image.shape == (3, 64, 64) and image.dtype == np.uint8
    reference = decode(encoded(3), 64).astype(int)
    if mode in ("L", "LA"):
        assert (image[0] == image[2]).all()
        grey = reference[0] * 0.299 + reference[1] * 0.587 + reference[2] * 0.114
        assert abs(image[0] - grey).mean() < 4
    elif mode != "1":
        assert abs(image - reference).mean() < 12


@pytest.mark.parametrize(
    "width, height, expected", [(64, 91, (91, 64)), (150, 100, (64, 96)), (40, 32, (64, 80))]
)
def test_short_side_is_fitted_and_nothing_is_cropped(width, height, expected):
    from torchvision.transforms import v2

    content = encoded(5, width, height, format="PNG")
    image = decode(content, 64)
    assert image.shape[1:] == expected
    source = torch.from_numpy(decode(content, min(width, height)).copy())
    reference = v2.functional.resize(v2.functional.to_pil_image(source), 64)
    np.testing.assert_array_equal(image, np.asarray(reference).transpose(2, 0, 1))


@pytest.mark.parametrize(
    "content, reason",
    [
        (encoded(1)[:-200], "truncated"),
        (b"<html>not found</html>", "not an image"),
        (b"", "not an image"),
    ],
)
def test_damaged_file_is_named(tmp_path, content, reason):
    files = image_folder() | {"train/eel/1.jpg": content}
    with pytest.raises(
        UserError, match=rf"train/eel/1\.jpg cannot be decoded \(.*{reason}.*replace or remove"
    ):
        pack(write_folder(tmp_path, files))


def png_header(width, height):
    """A PNG that claims a size, with no pixels behind it."""
    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    "content, reason",
    [
        (png_header(10_000, 10_000), "100000000 pixels"),
        (png_header(60_000, 60_000), "3600000000 pixels"),
        (png_header(1, 60_000_000), "1x60000000 pixels, a strip of more than 100 to 1"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n", "not an image in BMP, GIF"),
    ],
    ids=["large", "huge", "strip", "program"],
)
def test_image_that_would_fill_the_memory_is_refused(tmp_path, content, reason, recwarn):
    files = image_folder() | {"train/eel/1.jpg": content}
    with pytest.raises(UserError, match=rf"train/eel/1\.jpg cannot be decoded \(.*{reason}") as raised:
        pack(write_folder(tmp_path, files))
    assert "\n" not in str(raised.value)
    assert not [warning for warning in recwarn if warning.category is Image.DecompressionBombWarning]


def test_progress_bar_counts_images(tmp_path, capsys):
    root = write_folder(tmp_path, image_folder())
    pack_files("folder", select(ImageFolder(str(root)).listing(), 0, 0, 0), 64)
    error = capsys.readouterr().err
    assert "pack folder train" in error and "12/12" in error
    pack(root)
    assert capsys.readouterr().err == ""

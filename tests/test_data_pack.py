import hashlib
import io
import resource
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from small_archives import encoded, image_folder, refused, saved, write_folder
from torchvision.transforms import v2

from xnnlib.data.pack import Labelled, create, decode, decoded, load
from xnnlib.data.sources import select


def pack(root, size=64):
    class_names, files = select("folder", root, 0, 0, 0)
    splits = {split: (len(chosen), decoded(chosen, size)) for split, chosen in files.items()}
    return create(root / "cache" / "x", "identity", "folder", class_names, splits)


# Files to pixels


def test_images_and_labels_are_those_of_the_files(tmp_path):
    files = image_folder()
    dataset = pack(write_folder(tmp_path, files))
    assert dataset.class_names == ["cat", "dog", "eel"]
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.val.labels.tolist() == [0, 0, 1, 1, 2, 2]
    expected = np.asarray(Image.open(io.BytesIO(files["train/dog/2.jpg"]))).transpose(2, 0, 1)
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


MODES = [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("1", "PNG")]


@pytest.mark.parametrize("mode, format", MODES)
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


SHORT_SIDES = [(64, 91, (91, 64)), (150, 100, (64, 96)), (40, 32, (64, 80))]


@pytest.mark.parametrize("width, height, expected", SHORT_SIDES)
def test_short_side_is_fitted_as_torchvision_does_and_nothing_is_cropped(width, height, expected):
    content = encoded(5, width, height, format="PNG")
    image = decode(content, 64)
    assert image.shape[1:] == expected
    reference = v2.functional.resize(Image.open(io.BytesIO(content)), 64)
    np.testing.assert_array_equal(image, np.asarray(reference).transpose(2, 0, 1))


def png_header(width, height):
    """A PNG that claims a size, with no pixels behind it."""
    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


RAMP = 1024 * np.arange(64, dtype=np.uint16)[None].repeat(64, axis=0)


UNREADABLE = {
    "cut": (encoded(1)[:-200], "truncated"),
    "large": (png_header(10_000, 10_000), "100000000 pixels"),
    "huge": (png_header(60_000, 60_000), "3600000000 pixels"),
    "strip": (png_header(1, 60_000_000), "1x60000000 pixels, an aspect ratio above 100"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "not an image in BMP, GIF"),
    "float": (saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "mode F: save it with 8 bits"),
    "PGM": (b"P5\n64 64\n65535\n" + RAMP.astype(">u2").tobytes(), "mode I: save it with 8 bits"),
}


@pytest.mark.parametrize("content, reason", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_image_is_named(tmp_path, recwarn, content, reason):
    """Damaged, too large, or of pixels without a known scale."""
    files = image_folder() | {"train/eel/1.jpg": content}
    message = rf"train/eel/1\.jpg cannot be decoded \(.*{reason}.*replace or remove"
    with refused(message):
        pack(write_folder(tmp_path, files))
    assert not [warning for warning in recwarn if warning.category is Image.DecompressionBombWarning]
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_of_grey_keep_the_high_byte(format, order):
    pixels = decode(saved(Image.fromarray(RAMP.astype(order)), format), 64)
    np.testing.assert_array_equal(pixels, np.broadcast_to(RAMP >> 8, (3, 64, 64)))


@pytest.mark.parametrize("mode, format", [("RGB", "JPEG"), ("L", "TIFF"), ("RGBA", "PNG"), ("RGB", "WEBP")])
@pytest.mark.parametrize("orientation, turns", [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_followed(mode, format, orientation, turns):
    image = Image.open(io.BytesIO(encoded(5, 96, 64, mode, "PNG")))
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = np.rot90(decode(saved(image, format), 64), turns, axes=(1, 2))
    upright = decode(saved(image, format, exif=exif), 64)
    assert upright.shape == expected.shape
    assert np.abs(upright.astype(int) - expected).mean() < 2


def test_damaged_exif_does_no_harm():
    image = Image.open(io.BytesIO(encoded(5, 96, 64)))
    content = saved(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0not what it says")
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        assert decode(content, 64).shape == (3, 64, 96)


def test_progress_bar_counts_images(tmp_path, capsys):
    root = write_folder(tmp_path, image_folder())
    pack(root)
    error = capsys.readouterr().err
    assert "pack folder train" in error and "12/12" in error


# Pixels to the cache


SIZES = {"train": [(4, 6), (5, 4), (3, 7)], "val": [(5, 5), (4, 4)]}


def images(split):
    generator = np.random.default_rng(len(split))
    return [generator.integers(0, 256, (3, *size), dtype=np.uint8) for size in SIZES[split]]


def small(path):
    splits = {
        split: (len(sizes), [Labelled(image, k, b"") for k, image in enumerate(images(split))])
        for split, sizes in SIZES.items()
    }
    return create(path, "identity", "folder", ["año", "b", "c"], splits)


def test_what_is_packed_is_loaded(tmp_path):
    path = tmp_path / "new" / "x"
    for dataset in (packed := small(path), load(path, "identity")):
        assert (dataset.name, dataset.class_names) == ("folder", ["año", "b", "c"])
        assert dataset.fingerprint == packed.fingerprint
        for split, sizes in SIZES.items():
            loaded = getattr(dataset, split)
            assert loaded.labels.tolist() == list(range(len(sizes)))
            assert loaded.images.sizes.tolist() == [list(size) for size in sizes]
            for index, image in enumerate(images(split)):
                np.testing.assert_array_equal(loaded.images[index].numpy(), image)
    assert sorted(file.name for file in path.parent.iterdir()) == ["x.json", "x.npy"]


DAMAGE = {
    "cut": lambda content: content[:-1],
    "a byte": lambda content: content[:140] + bytes([content[140] ^ 1]) + content[141:],
    "another": lambda content: b"[]",
}


@pytest.mark.parametrize("file", ["x.npy", "x.json"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found(tmp_path, file, damage):
    small(tmp_path / "x")
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    assert load(tmp_path / "x", "identity") is None
    path.unlink()
    assert load(tmp_path / "x", "identity") is None


def test_another_source_or_format_is_stale(tmp_path, monkeypatch):
    small(tmp_path / "x")
    assert load(tmp_path / "x", "another") is None
    assert load(tmp_path / "x", "identity").name == "folder"
    monkeypatch.setattr("xnnlib.data.pack.PACK_VERSION", 1000)
    assert load(tmp_path / "x", "identity") is None


def test_deleted_or_replaced_cache_does_no_harm(tmp_path):
    dataset = small(tmp_path / "x")
    small(tmp_path / "x")
    (tmp_path / "x.npy").unlink()
    for index, image in enumerate(images("train")):
        np.testing.assert_array_equal(dataset.train.images[index].numpy(), image)


def test_full_disk_is_one_line_and_leaves_the_old_cache(tmp_path):
    small(tmp_path / "x")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    much = {"train": (1000, (Labelled(np.zeros((3, 64, 64), np.uint8), 0, b"") for _ in range(1000)))}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with refused("cannot be written .*free space"):
            create(tmp_path / "x", "identity", "folder", ["a"], much)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_read_only_cache_names_the_variable(tmp_path):
    (tmp_path / "file").touch()
    images = (pytest.fail("decoded first") for _ in range(1))
    with refused("cannot be written .Not a directory.*set XNNLIB_CACHE"):
        create(tmp_path / "file" / "new" / "x", "identity", "folder", ["a"], {"train": (1, images)})

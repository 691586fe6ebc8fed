import pytest
import torch

from xnnlib.data import Dataset, PackedImages, Split, to_device


def packed(sizes):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]
    return images, PackedImages(torch.cat([image.flatten() for image in images]), torch.tensor(sizes))


def test_images_of_many_sizes_come_back_whole():
    images, ragged = packed([(4, 7), (5, 4), (4, 4)])
    assert len(ragged) == 3
    assert ragged.pixels.numel() == 3 * (28 + 20 + 16)  # no padding is stored
    for index, image in enumerate(images):
        assert torch.equal(ragged[index], image)


def test_gather_places_each_image_at_the_corner():
    images, ragged = packed([(4, 7), (5, 4), (4, 4)])
    batch = ragged.gather(torch.tensor([2, 1, 2]), 5, 4)
    assert batch.shape == (3, 3, 5, 4)
    for image, index in zip(batch, (2, 1, 2), strict=True):
        rows, columns = ragged.sizes[index]
        assert torch.equal(image[:, :rows, :columns], images[index])


def test_gather_asks_every_images_size():
    """16 + 4 + 28 pixels are three images of 4x4: no reason to read them as such."""
    images, ragged = packed([(2, 2), (4, 4), (4, 7)])
    assert ragged.pixels.numel() == 3 * 3 * 4 * 4
    assert torch.equal(ragged.gather(torch.tensor([1]), 4, 4)[0], images[1])
    # Of one area, not of one size; and of one size, in a larger frame.
    images, turned = packed([(2, 8), (8, 2), (4, 4)])
    assert torch.equal(turned.gather(torch.tensor([2]), 4, 4)[0], images[2])
    images, uniform = packed([(3, 4)] * 2)
    assert torch.equal(uniform.gather(torch.tensor([1]), 4, 6)[0, :, :3, :4], images[1])


@pytest.mark.parametrize("sizes", [[(4, 6)] * 4, [(4, 7), (5, 4), (4, 4), (4, 4)]], ids=["uniform", "ragged"])
def test_selection_shares_the_buffer(sizes):
    images, pack = packed(sizes)
    chosen = pack.select(torch.tensor([3, 0, 2]))
    assert chosen.pixels is pack.pixels
    for place, index in enumerate((3, 0, 2)):
        rows, columns = sizes[index]
        assert torch.equal(chosen[place], images[index])
        assert torch.equal(chosen.to("cpu").gather(torch.tensor([place]), rows, columns)[0], images[index])
    assert len(pack.select(torch.tensor([], dtype=torch.long)).to("cpu")) == 0


def test_selection_that_lies_between_rows_is_gathered_right():
    images, pack = packed([(2, 3), (4, 4), (4, 4), (2, 5)])
    chosen = pack.select(torch.tensor([1, 2]))
    assert torch.equal(chosen.gather(torch.tensor([1, 0]), 4, 4), torch.stack([images[2], images[1]]))


def test_split_moves_to_a_gpu_only_where_it_fits(monkeypatch):
    _, images = packed([(4, 4)] * 2)
    split = Split(images, torch.tensor([0, 1]))
    assert to_device(split, "cpu") is split
    assert split.to("meta").images.pixels.device.type == "meta"
    assert split.to("meta").images.sizes.device.type == "cpu"
    moved = []
    monkeypatch.setattr(Split, "to", lambda self, device: moved.append(device))
    free = iter([2 * images.pixels.nbytes - 1, 2 * images.pixels.nbytes])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (next(free), 0))
    assert to_device(split, "cuda:0") is split and moved == []
    to_device(split, "cuda:0")
    assert moved == [torch.device("cuda:0")]


def test_held_out_tenth_comes_from_the_training_images_alone():
    images, pack = packed([(4, 4)] * 41)
    dataset = Dataset("folder", ["a", "b"], Split(pack, torch.tensor([0] * 23 + [1] * 18)), None, "f" * 64)
    divided = dataset.held_out()
    assert divided.train.labels.tolist() == [0] * 21 + [1] * 17
    assert divided.val.labels.tolist() == [0, 0, 1]
    # Of each class the tenth and the twentieth image.
    for position, original in enumerate([9, 19, 23 + 9]):
        assert torch.equal(divided.val.images[position], images[original])
    assert torch.equal(divided.train.images[9], images[10])
    assert divided.fingerprint not in (dataset.fingerprint, divided.held_out().fingerprint)

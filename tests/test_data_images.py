import torch

from xnnlib.data.images import PackedImages, Split
from xnnlib.data.shapes import make_dataset


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


def test_gather_of_one_size():
    images, uniform = packed([(4, 6)] * 3)
    assert torch.equal(uniform.gather(torch.tensor([2, 0]), 4, 6), torch.stack([images[2], images[0]]))


def test_split_stays_itself_where_it_is_already():
    _, images = packed([(4, 4)] * 2)
    split = Split(images, torch.tensor([0, 1]))
    assert split.to("cpu") is split and len(split) == 2
    assert split.to("meta").images.pixels.device.type == "meta"
    assert split.to("meta").images.sizes.device.type == "cpu"


def test_the_held_out_tenth_comes_from_the_training_images_alone():
    dataset = make_dataset(2, 45, 4, size=16, progress=False)
    divided = dataset.held_out()
    assert divided.train.labels.tolist() == [0] * 21 + [1] * 20
    assert divided.val.labels.tolist() == [0] * 2 + [1] * 2
    # Of each class the tenth and the twentieth image.
    for position, original in enumerate([9, 19, 23 + 9, 23 + 19]):
        assert torch.equal(divided.val.images[position], dataset.train.images[original])
    assert torch.equal(divided.train.images[9], dataset.train.images[10])
    assert divided.fingerprint not in (dataset.fingerprint, divided.held_out().fingerprint)


def test_images_of_many_sizes_are_selected_whole():
    pixels = torch.arange(3 * (2 * 2 + 3 * 4 + 2 * 5), dtype=torch.uint8)
    images = PackedImages(pixels, torch.tensor([[2, 2], [3, 4], [2, 5]]))
    chosen = images.select(torch.tensor([2, 0]))
    assert torch.equal(chosen[0], images[2]) and torch.equal(chosen[1], images[0])
    assert len(images.select(torch.tensor([], dtype=torch.long))) == 0

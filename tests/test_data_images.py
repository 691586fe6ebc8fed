import pytest
import torch

from xnnlib.data import Dataset, PackedImages, Split, to_device


def packed(sizes):
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]
    return images, PackedImages(torch.cat([image.flatten() for image in images]), torch.tensor(sizes))


SELECTIONS = [  # sizes, images, and the rows and columns to gather them in
    ([(4, 6)] * 4, (3, 0, 2), (4, 6)),
    ([(4, 7), (5, 4), (4, 4)], (2, 1, 2), (5, 4)),
    ([(2, 2), (4, 4), (4, 7)], (1,), (4, 4)),  # 4 + 16 + 28 pixels: as many as three of 4x4
    ([(2, 8), (8, 2), (4, 4)], (2,), (4, 4)),  # of one area, not of one size
    ([(3, 4)] * 2, (1,), (4, 6)),  # of one size, in a larger frame
    ([(2, 3), (4, 4), (4, 4), (2, 5)], (2, 1), (4, 4)),  # of one size once chosen, but between others
]


@pytest.mark.parametrize("sizes, chosen, frame", SELECTIONS)
def test_gather_asks_every_images_size(sizes, chosen, frame):
    images, pack = packed(sizes)
    indices = torch.tensor(chosen)
    selected = pack.select(indices)
    assert selected.pixels is pack.pixels
    batches = pack.gather(indices, *frame), selected.to("cpu").gather(torch.arange(len(chosen)), *frame)
    for place, index in enumerate(chosen):
        rows, columns = sizes[index]
        assert torch.equal(selected[place], images[index])
        for batch in batches:
            assert batch.shape == (len(chosen), 3, *frame)
            assert torch.equal(batch[place, :, :rows, :columns], images[index])


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

import pytest
import torch
from small_archives import refused
from torchvision.transforms import v2

from xnnlib.data import PackedImages, Split, train_batches, val_batches
from xnnlib.data.augment import normalise


def split_of(sizes):
    """Image k is k everywhere in red, so that a batch tells which images it holds; labels are 10 k."""
    generator = torch.Generator().manual_seed(3)
    images = [torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]
    for index, image in enumerate(images):
        image[0] = index
    pixels = torch.cat([image.flatten() for image in images])
    return images, Split(PackedImages(pixels, torch.tensor(sizes)), 10 * torch.arange(len(sizes)))


UNIFORM = [(32, 32)] * 10
RAGGED = [(32, 32 + 3 * k) if k % 2 else (32 + 5 * k, 32) for k in range(10)]


BOTH = pytest.mark.parametrize("sizes", [UNIFORM, RAGGED], ids=["uniform", "ragged"])


def red(images):
    """The image numbers, from the normalised red channel."""
    return (images[:, 0] * 0.229 + 0.485) * 255


def epoch(split, batch_size=4, seed=0, **options):
    return list(train_batches(split, batch_size, 28, torch.Generator().manual_seed(seed), **options))


def joined(parts):
    """Batches, or shares of one batch, end to end."""
    images, labels = zip(*parts, strict=True)
    return torch.cat(images), torch.cat(labels)


@BOTH
def test_train_batches_hold_each_image_at_most_once_with_its_label(sizes):
    _, split = split_of(sizes)
    batches = epoch(split)
    assert [len(labels) for _, labels in batches] == [4, 4]
    for images, labels in batches:
        assert images.shape == (4, 3, 28, 28) and images.dtype == torch.float32
        assert labels.dtype == torch.int64
        # Constant red over the whole crop: nothing from beyond the image or from a neighbour.
        numbers = (labels / 10)[:, None, None].expand(4, 28, 28)
        torch.testing.assert_close(red(images), numbers, atol=1e-3, rtol=0)
    labels = torch.cat([labels for _, labels in batches])
    assert len(labels.unique()) == 8 and labels.tolist() != sorted(labels.tolist())


@BOTH
def test_batches_are_on_the_device_wherever_the_pixels_are(sizes):
    _, split = split_of(sizes)
    batches = [*epoch(split, device="meta"), *val_batches(split, 4, 28, 32, "meta")]
    assert {part.device.type for batch in batches for part in batch} == {"meta"} and len(batches) == 5


@BOTH
@pytest.mark.parametrize("first_batch", [0, 3, 5])
def test_generator_alone_decides_and_left_out_batches_change_no_other(sizes, first_batch):
    _, split = split_of(sizes)
    generator, other = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    whole = list(train_batches(split, 2, 28, generator))
    torch.manual_seed(1)
    rest = list(train_batches(split, 2, 28, other, first_batch=first_batch))
    for (images, labels), (others, other_labels) in zip(rest, whole[first_batch:], strict=True):
        assert torch.equal(images, others) and torch.equal(labels, other_labels)
    assert torch.equal(generator.get_state(), other.get_state())
    assert not torch.equal(whole[0][1], epoch(split, batch_size=2, seed=5)[0][1])


@BOTH
@pytest.mark.parametrize("batch_size, processes", [(4, 2), (4, 4), (64, 5)])
def test_shares_of_a_batch_are_the_batch(sizes, batch_size, processes):
    _, split = split_of(sizes)
    whole = epoch(split, batch_size)
    shares = [epoch(split, batch_size, rank=process, world_size=processes) for process in range(processes)]
    for batch, (images, labels) in enumerate(whole):
        parts = [share[batch] for share in shares]
        assert {len(own) for _, own in parts} == {len(labels) // processes}
        together, together_labels = joined(parts)
        assert torch.equal(together_labels, labels)
        torch.testing.assert_close(together, images, atol=1e-5, rtol=0)


def test_half_of_the_crops_are_mirrored_whatever_the_box():
    """A ramp along the columns rises in a crop, and falls in a mirrored one."""
    ramp = torch.arange(32, dtype=torch.uint8).mul(8).expand(400, 3, 32, 32)
    split = Split(PackedImages(ramp.reshape(-1), torch.tensor([[32, 32]] * 400)), torch.zeros(400).long())
    ((images, _),) = epoch(split, batch_size=400)
    falls = images[:, 0, 0, -1] < images[:, 0, 0, 0]
    assert 160 < falls.sum() < 240


def test_split_smaller_than_a_batch_is_one_batch():
    _, split = split_of(UNIFORM)
    assert [len(labels) for _, labels in epoch(split, batch_size=64)] == [10]
    assert [len(labels) for _, labels in epoch(split, batch_size=10)] == [10]


@BOTH
def test_val_batches_are_all_images_in_order(sizes):
    originals, split = split_of(sizes)
    batches = list(val_batches(split, 4, 28, 32))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(0, 100, 10))
    transform = v2.Compose([v2.Resize(32, antialias=True), v2.CenterCrop(28)])
    expected = normalise(torch.stack([transform(image.float()) for image in originals]))
    images = torch.cat([images for images, _ in batches])
    torch.testing.assert_close(images, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("processes", [1, 3, 12])
def test_val_shares_hold_each_image_once_in_order(processes):
    _, split = split_of(RAGGED)
    images, labels = joined(val_batches(split, 4, 28, 32))
    shares = [list(val_batches(split, 4, 28, 32, rank=k, world_size=processes)) for k in range(processes)]
    counts = [sum(len(own) for _, own in share) for share in shares]
    assert max(counts) - min(counts) <= 1
    together, together_labels = joined(sum(shares, []))
    assert torch.equal(together_labels, labels)
    torch.testing.assert_close(together, images, atol=1e-5, rtol=0)


def test_mistakes_are_refused():
    _, split = split_of(UNIFORM)
    with refused("batch_size is 64: 10 images a batch .* 4 processes"):
        epoch(split, batch_size=64, world_size=4)
    with refused("batch_size is 0"):
        epoch(split, batch_size=0)
    with refused("crop is 56, larger than resize, 48"):
        list(val_batches(split, 4, 56, 48))
    with refused("no images"):
        list(val_batches(split.select(torch.empty(0).long()), 4, 28, 32))

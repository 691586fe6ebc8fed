import math

import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from xnnlib.data.augment import centre_crop, crop_resize, normalise, random_resized_boxes


def images(count, rows, columns):
    return torch.randint(256, (count, 3, rows, columns), dtype=torch.uint8)


def boxes_for(rows, columns, count):
    sizes = torch.tensor([[rows, columns]]).expand(count, 2)
    return random_resized_boxes(sizes, torch.Generator().manual_seed(1), 0.08)


@pytest.mark.parametrize("rows, columns, crop", [(64, 64, 56), (64, 100, 56), (32, 32, 28), (97, 80, 24)])
def test_pixels_are_torchvisions(rows, columns, crop):
    """Within 0.001 grey levels of 255 on floats; its uint8 path rounds twice, half a level each."""
    batch, boxes = images(24, rows, columns), boxes_for(rows, columns, 24)
    result = crop_resize(batch, boxes, torch.zeros(24, dtype=torch.bool), crop)
    for image, box, mine in zip(batch, boxes.tolist(), result, strict=True):
        reference = v2.functional.resized_crop(image.float(), *box, [crop, crop], antialias=True)
        torch.testing.assert_close(mine, reference, atol=1e-3, rtol=0)
        rounded = v2.functional.resized_crop(image, *box, [crop, crop], antialias=True)
        assert (mine - rounded).abs().max() < 1.01


def test_flip_mirrors_the_crop():
    batch, boxes = images(8, 64, 80), boxes_for(64, 80, 8)
    flips = torch.arange(8) % 2 == 1
    straight = crop_resize(batch, boxes, torch.zeros(8, dtype=torch.bool), 56)
    expected = torch.where(flips[:, None, None, None], straight.flip(3), straight)
    torch.testing.assert_close(crop_resize(batch, boxes, flips, 56), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("rows, columns", [(64, 64), (64, 110), (150, 64)])
def test_boxes_are_distributed_as_torchvisions(rows, columns):
    count, transform, image = 3000, v2.RandomResizedCrop(56), torch.empty(3, rows, columns)
    drawn = torch.tensor([list(transform.make_params([image]).values()) for _ in range(count)])
    limit = 1.95 * math.sqrt(2 / count)  # a fair draw exceeds it once in a thousand

    def quantities(boxes):
        """Centres, and the sizes, areas and ratios."""
        top, left, height, width = boxes.double().unbind(1)
        return top + height / 2, left + width / 2, height, width, height * width, width / height

    for mine, theirs in zip(quantities(boxes_for(rows, columns, count)), quantities(drawn), strict=True):
        assert stats.ks_2samp(mine, theirs, method="asymp").statistic < limit


@pytest.mark.parametrize("rows, columns", [(16, 400), (400, 16), (9, 9)])
def test_boxes_lie_inside_and_fall_back_to_the_centre(rows, columns):
    boxes = boxes_for(rows, columns, 2000)
    top, left, height, width = boxes.unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (height > 0).all() and (width > 0).all()
    assert (top + height <= rows).all() and (left + width <= columns).all()
    if rows != columns:  # no draw fits
        expected = list(v2.RandomResizedCrop(8).make_params([torch.empty(3, rows, columns)]).values())
        assert boxes.unique(dim=0).tolist() == [expected]


@pytest.mark.parametrize("rows, columns, resize", [(64, 64, 64), (64, 91, 64), (120, 75, 64), (50, 48, 60)])
def test_centre_crop_is_torchvisions(rows, columns, resize):
    batch = images(3, rows, columns)
    sizes = torch.tensor([[rows, columns]]).expand(3, 2)
    reference = v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(56)])(batch.float())
    torch.testing.assert_close(centre_crop(batch, sizes, resize, 56), reference, atol=1e-3, rtol=0)


def test_normalise_is_torchvisions():
    batch = images(2, 8, 9).float()
    reference = v2.functional.normalize(batch / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    result = normalise(batch)
    torch.testing.assert_close(result, reference, atol=1e-5, rtol=0)
    assert result.is_contiguous(memory_format=torch.channels_last)

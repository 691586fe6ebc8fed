"""Training images as most people have them: JPEG files in a folder a class, read by torchvision."""

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

from xnnlib.data import load_dataset
from xnnlib.data.augment import MEAN, STD
from xnnlib.data.sources import TinyImageNet, select


def write_jpegs(data: str, num_classes: int, train_images: int, folder: Path) -> None:
    """Fill `folder` with training images of `data`: Tiny ImageNet's own files, or the drawn shapes."""
    if data == "tiny-imagenet":
        chosen = select(TinyImageNet("").listing(), num_classes, train_images, num_classes).train
        for number, (file, label) in enumerate(chosen):
            _place(folder, label, number).write_bytes(file.read())
        return
    split = load_dataset(
        data, num_classes=num_classes, train_images=train_images, val_images=num_classes
    ).train
    for number, label in enumerate(split.labels.tolist()):
        pixels = split.images[number].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(_place(folder, label, number), quality=95)


def _place(folder: Path, label: int, number: int) -> Path:
    place = folder / f"{label:03}" / f"{number:06}.jpg"
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def batches(
    folder: Path, batch_size: int, crop: int, workers: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end on the device, augmented as the project's: (B, 3, crop, crop), labels (B,)."""
    dataset = ImageFolder(
        folder,
        transforms.Compose(
            [
                transforms.RandomResizedCrop(crop),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        ),
    )
    loader = DataLoader(
        dataset,
        batch_size,
        # Drawn with replacement, so that no epoch ends and the workers never start again.
        sampler=RandomSampler(dataset, replacement=True, num_samples=10**9),
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    for images, labels in loader:
        yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)

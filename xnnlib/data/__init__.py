"""The images: four sources behind `load_dataset`, and batches made on the device.

dataset = load_dataset("shapes", num_classes=10)
for images, labels in train_batches(dataset.train, 64, 56, torch.Generator(), "cpu"):
    ...
"""

from xnnlib.data.batches import train_batches, val_batches
from xnnlib.data.images import Dataset, PackedImages, Split
from xnnlib.data.load import SOURCES, load_dataset, load_images
from xnnlib.data.stream import placed, to_device

__all__ = [
    "SOURCES",
    "Dataset",
    "PackedImages",
    "Split",
    "load_dataset",
    "load_images",
    "placed",
    "train_batches",
    "val_batches",
]

"""The images: four sources behind `load_dataset`, and batches made on the device.

dataset = load_dataset("shapes", num_classes=10)
for images, labels in train_batches(dataset.train, 64, 56, torch.Generator(), "cpu"):
    ...
"""

from xnnlib.data.batches import train_batches, val_batches
from xnnlib.data.images import Dataset, PackedImages, Split, to_device
from xnnlib.data.load import load_dataset, load_images

__all__ = [
    "Dataset",
    "PackedImages",
    "Split",
    "load_dataset",
    "load_images",
    "to_device",
    "train_batches",
    "val_batches",
]

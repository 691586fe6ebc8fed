import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers have a core each; threads of several on one core would spend their time waiting for another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import pytest
import torch

from xnnlib.data import load_dataset
from xnnlib.runtime import ensure_torchvision, keep_freed_memory

ensure_torchvision()
keep_freed_memory()
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Each test sees the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The folder of packed images, which is not the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XNNLIB_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def dataset(cache):
    """Three classes of shapes, 24 and 9 images of 18 x 18."""
    return load_dataset("shapes", num_classes=3, train_images=24, val_images=9, size=18)

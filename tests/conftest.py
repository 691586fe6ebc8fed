import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers have a core each; threads of several on one core would spend their time waiting for another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import pytest
import torch

if not torch.cuda.is_available():
    # Triton's kernels run without a GPU if this is set before triton is imported, as torchvision does.
    os.environ["TRITON_INTERPRET"] = "1"

from xnnlib.runtime import ensure_torchvision
from xnnlib.runtime import keep_freed_memory

ensure_torchvision()
keep_freed_memory()
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Each test sees the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)

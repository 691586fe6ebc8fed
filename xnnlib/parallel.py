"""Several processes that train one network together, one for each device, as torchrun starts them.

`torchrun --nproc-per-node 2 -m xnnlib.training ...`: each rank takes its rows of every batch, and torch's
DistributedDataParallel averages the gradients. The learning rate belongs to the whole batch. On GPUs batch
norm is over the batch of all ranks (torch's SyncBatchNorm); on CPUs, which it does not run on, over each
rank's rows, so that there two processes give another result than one. A process that torchrun did not
start is alone, and nothing here does anything.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

Result = TypeVar("Result")


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ["RANK"]) if dist.is_torchelastic_launched() else 0


def shard() -> dict[str, int]:
    """Which part of each batch is this process's, as `xnnlib.data`'s batches take it."""
    return {"rank": rank(), "world_size": world_size()}


def is_main() -> bool:
    """Whether this is rank 0, which writes the record and shows the progress."""
    return rank() == 0


@contextmanager
def process_group() -> Iterator[None]:
    """torch.distributed's process group, where torchrun started this process; destroyed at the end."""
    if not dist.is_torchelastic_launched():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, size = next(dist.rendezvous("env://"))
    # torchrun's store outlives a restart, and with it the addresses of processes that are gone: where they
    # are read before they are replaced, gloo waits for them forever (pytorch issue 135712).
    store = dist.PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        store=store,
        rank=rank,
        world_size=size,
        timeout=timedelta(hours=6),  # long enough for rank 0 to pack a large data set while the others wait
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def print0(line: str) -> None:
    """Print a line above the progress bar, on rank 0."""
    if is_main():
        tqdm.write(line, file=sys.stdout)


def barrier() -> None:
    """Wait until every process has reached the barrier."""
    if dist.is_initialized():
        dist.barrier()


def main_process_first(work: Callable[[], Result]) -> Result:
    """Do `work` on rank 0, then on the others, which find what the first has left on disk."""
    if not is_main():
        barrier()
        return work()
    result = work()
    barrier()
    return result


def all_reduce_sum(values: Tensor) -> Tensor:
    """`values`, added up over all ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def broadcast_buffers(network: nn.Module) -> None:
    """Give every rank the buffers of rank 0: batch norm's statistics, where each has its own."""
    if dist.is_initialized():
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def data_parallel(network: nn.Module) -> nn.Module:
    """The network to train with, on the device it is on: itself, or in DistributedDataParallel."""
    if not dist.is_initialized():
        return network
    cuda = next(network.parameters()).is_cuda
    if cuda:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return DistributedDataParallel(network, device_ids=[torch.cuda.current_device()] if cuda else None)

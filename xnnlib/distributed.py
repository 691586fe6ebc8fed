"""Several processes that train one network together, one for each device, as torchrun starts them.

Each takes its share of every batch; torch's DistributedDataParallel averages the gradients. The learning
rate belongs to the whole batch, so that the number of processes changes nothing but the time. A process
that torchrun did not start is alone, and nothing here does anything.
"""

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from xnnlib.errors import Interrupted, UserError

Result = TypeVar("Result")

# Of all processes, from the last checkpoint, after one is lost.
RESTARTS = 3


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ["RANK"]) if _started_by_torchrun() else 0


def processes_here() -> int:
    """How many of them are on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if dist.is_initialized() else 1


def _started_by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_main() -> bool:
    """Whether this is the process that writes the record and shows the progress."""
    return rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes, where torchrun started this one; leave them at the end."""
    if not _started_by_torchrun():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    elif "OMP_NUM_THREADS" not in os.environ:
        # More threads than cores wait for each other: a step then takes ten times as long.
        torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"])))
    # Long enough for the main process to pack a large data set while the others wait.
    store, this, all_of_them = _meeting_place()
    dist.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        store=store,
        rank=this,
        world_size=all_of_them,
        timeout=timedelta(hours=6),
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _meeting_place() -> tuple[dist.Store, int, int]:
    """A store in which this start's processes find each other, this one's rank, and how many there are.

    torchrun's own store outlives a restart, and in it the addresses of processes that are gone, which hang
    the new ones (github.com/pytorch/pytorch/issues/135712). So the main process opens a store for each start.
    """
    store, this, all_of_them = next(dist.rendezvous("env://"))
    if os.environ["TORCHELASTIC_USE_AGENT_STORE"] != "True":
        return store, this, all_of_them
    host = os.environ["MASTER_ADDR"]
    if this == 0:
        own = dist.TCPStore(host, 0, all_of_them, is_master=True, wait_for_workers=False)
        store.set("xnnlib/port", str(own.port))
        return own, this, all_of_them
    while True:
        port = int(store.get("xnnlib/port"))
        try:
            own = dist.TCPStore(host, port, all_of_them, timeout=timedelta(seconds=2))
        except dist.DistNetworkError:
            continue  # a start before this one wrote that port, and its main process is gone
        return own, this, all_of_them


def wait() -> None:
    """Wait until every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def main_first(work: Callable[[], Result]) -> Result:
    """Do `work` in the main process, then in the others, which find what the first has left on disk."""
    if is_main():
        result = work()
        wait()
        return result
    wait()
    return work()


def summed(values: Tensor) -> Tensor:
    """`values`, added up over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def share_buffers(network: nn.Module) -> None:
    """Give every process the main one's buffers: batch norm's statistics, where each has its own."""
    if dist.is_initialized():
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def agree(values: list[int], device: torch.device) -> bool:
    """Whether `values` are the same in every process."""
    mine = torch.tensor(values, device=device)
    lowest, highest = mine.clone(), mine.clone()
    if dist.is_initialized():
        dist.all_reduce(lowest, dist.ReduceOp.MIN)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
    return bool((lowest == highest).all())


def parallel(network: nn.Module, batch_norm: str) -> nn.Module:
    """The network to train with, on the device it is on: itself, or in DistributedDataParallel.

    `batch_norm` is the recipe's: "synchronised" normalises over the batch of all processes, as one
    process would; "per_process" over each share, and keeps the main process's running statistics.
    """
    if not dist.is_initialized():
        return network
    cuda = next(network.parameters()).is_cuda
    if batch_norm == "synchronised":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network) if cuda else _synchronised(network)
    return DistributedDataParallel(network, device_ids=[torch.cuda.current_device()] if cuda else None)


def launch(devices: int, arguments: list[str]) -> None:
    """Run `python -m xnnlib.training` with `arguments` in as many processes as `devices` on this machine.

    What `torchrun --standalone --nproc-per-node` does, for a notebook. Raises UserError if there are not so
    many GPUs, or if training ended without a result; Interrupted after Ctrl-C or SIGTERM.
    """
    # Imported here: they take a second, which only this needs.
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    there = torch.cuda.device_count()
    if torch.cuda.is_available() and devices > there:
        raise UserError(f"devices is {devices}; this machine has {there}: ask for at most that.")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=RESTARTS,
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        elastic_launch(config, sys.executable)("-m", "xnnlib.training", *arguments)
    except SignalException as error:
        raise Interrupted(
            "stopped; the same command goes on from the last checkpoint.", error.sigval
        ) from None
    except ChildFailedError as error:
        status = max(failure.exitcode for failure in error.failures.values())
        raise UserError(
            f"training on {devices} devices ended with status {status}; the lines above say why."
        ) from None
    finally:
        for number, handler in handlers.items():  # the launcher leaves its own behind
            signal.signal(number, handler)


class _Summed(torch.autograd.Function):
    """`summed`, and the gradient that belongs to it: the sum of the processes' gradients."""

    @staticmethod
    def forward(context, values: Tensor) -> Tensor:
        return summed(values.clone())

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        return summed(gradient.contiguous().clone())


class _SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batch of all processes on a CPU, where torch's SyncBatchNorm does not run."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return super().forward(images)
        count = images.numel() // images.shape[1] * world_size()
        values = images.to(self.weight.dtype)  # statistics of bfloat16 images are float32, as torch's are
        mean = _Summed.apply(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _Summed.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(images.dtype)


def _synchronised(network: nn.Module) -> nn.Module:
    """The network itself, its parameters where they are, with batch norm over all processes."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SynchronisedBatchNorm2d
    return network

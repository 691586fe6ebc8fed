"""Everything that changes while a run trains, as it stands between two steps."""

import torch

from xnnlib.epochs import Sums
from xnnlib.model import Network
from xnnlib.optimizer import make_average, make_optimizer
from xnnlib.spec import NetworkSpec, Recipe


class TrainingState:
    """Network, optimiser, average, random numbers, the epochs so far, and the sums of the one under way.

    `result` is the network that is evaluated and kept: the average where the recipe has one.
    `clocks` are seconds: of whole epochs, of their training alone, and of the epoch under way.
    """

    def __init__(
        self, spec: NetworkSpec, recipe: Recipe, seed: int, device: torch.device, layout: torch.memory_format
    ):
        torch.manual_seed(seed)
        self.device = device
        self.network = Network.of(spec).to(device, memory_format=layout)
        self.optimizer = make_optimizer(self.network, recipe)
        self.average = make_average(self.network, recipe)
        self.result = self.network if self.average is None else self.average.module
        self.generator = torch.Generator().manual_seed(seed)
        self.rows: list[dict] = []
        self.clocks = {"total": 0.0, "training": 0.0, "epoch": 0.0}
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """The epoch after the last row starts from here."""
        # An epoch's order and crops are drawn at its start: from the same state they come out the same.
        self.drawn_from = self.generator.get_state()
        self.sums = Sums.zero(self.device)
        self.clocks["epoch"] = 0.0

    @property
    def place(self) -> dict[str, int]:
        """Where the run stands: the epoch under way, from 1, and how many of its steps are done."""
        return {"epoch": len(self.rows) + 1, "step": self.sums.steps}

    def state_dict(self) -> dict:
        """What a checkpoint holds: tensors, numbers, lists and dictionaries."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "generator": self.drawn_from,
            "rows": self.rows,
            "clocks": self.clocks,
            "sums": vars(self.sums),
            "place": self.place,
        }

    def load_state_dict(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.generator.set_state(state["generator"])
        self.rows, self.clocks = state["rows"], state["clocks"]
        self.drawn_from = state["generator"]
        self.sums = Sums(
            **{
                name: value.to(self.device) if torch.is_tensor(value) else value
                for name, value in state["sums"].items()
            }
        )

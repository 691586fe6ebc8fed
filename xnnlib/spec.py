"""What the paper trains: Table 1 and the recipes, as data.

The paper's letters are mapped to names here, once: Ni `in_channels`, Ne `expansion * in_channels`,
No `out_channels`, F `filter_size`, S `stride`, R `reduction`, M `experts`.
"""

from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as validated_dataclass

from xnnlib.errors import UserError, choose, one_line_errors

# The sources of images that `xnnlib.data.load_dataset` knows.
DATASETS = ("shapes", "tiny-imagenet", "imagenet64", "folder")

BLOCKS = ("standard", "se", "se_cond")
BLOCK_TITLES = {
    "standard": "A: inverted residual",
    "se": "B: + squeeze-and-excite",
    "se_cond": "C: + conditional convolution",
}


@dataclass(frozen=True)
class Stage:
    """One row of Table 1: an operation, repeated, with the shape it reads.

    `operation` is one of "stem" (3x3 convolution, batch norm, ReLU), "block" (one of BLOCKS),
    "last" (1x1 convolution, batch norm, ReLU) and "classifier" (global average pool, linear, bias).
    `size` is the rows and columns of the input; the input is square. The classifier's
    `out_channels` is 0: the number of classes belongs to NetworkSpec.
    """

    operation: str
    repeat: int
    in_channels: int
    size: int
    out_channels: int
    filter_size: int = 1
    stride: int = 1
    expansion: int = 0

    @property
    def identity(self) -> bool:
        """Whether the block adds its input: if and only if Ni = No and S = 1 (paper, Table 1: ID)."""
        return self.operation == "block" and self.in_channels == self.out_channels and self.stride == 1


def _block(repeat: int, in_channels: int, size: int, out_channels: int, stride: int = 1) -> Stage:
    return Stage("block", repeat, in_channels, size, out_channels, filter_size=3, stride=stride, expansion=4)


TABLE_1 = (
    Stage("stem", 1, 3, 56, 16, filter_size=3),
    _block(1, 16, 56, 16),
    _block(1, 16, 56, 24),
    _block(1, 24, 56, 24),
    _block(1, 24, 56, 40, stride=2),
    _block(2, 40, 28, 40),
    _block(1, 40, 28, 80, stride=2),
    _block(3, 80, 14, 80),
    _block(1, 80, 14, 160, stride=2),
    _block(4, 160, 7, 160),
    _block(1, 160, 7, 320),
    Stage("last", 1, 320, 7, 1280),
    Stage("classifier", 1, 1280, 7, 0),
)


# The paper's five levels (Figure 1): level 5 holds both widths 160 and 320.
LEVELS = ((16,), (24,), (40,), (80,), (160, 320))

# How a conditional convolution routes (xnnlib.model.Routing says what each one computes).
ROUTINGS = ("equalised", "torch_init", "zero_init", "shared", "frozen")
# What stands between its depthwise convolution and the last one.
GATES = ("se", "none")
# What counts as the fan-out of a depthwise filter that is initialised (xnnlib.model.init_filter).
FAN_OUTS = ("channel", "layer")

# Strict: "3", 3.0 and True are not integers, and neither NaN nor infinity is a number.
_STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**63)]
PositiveInt = Annotated[int, Field(ge=1, lt=2**63)]
LearningRate = Annotated[float, Field(ge=0, le=100)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("odd")
    return size


OddInt = Annotated[PositiveInt, AfterValidator(_odd)]


@one_line_errors
@validated_dataclass(frozen=True, config=_STRICT)
class NetworkSpec:
    """A network: Table 1 with one block variant and its sizes.

    `width` multiplies every stage's channels, rounded to a multiple of 4. `routing`,
    `conditional_from` and `gate` matter to block "se_cond" alone: how it routes, the first level whose
    convolutions are conditional, and whether its blocks have squeeze-and-excite. `depthwise_fan_out` is that
    of the initial depthwise filters. Raises UserError on an invalid value.
    """

    block: Literal[BLOCKS] = "standard"
    num_classes: PositiveInt = 100
    reduction: PositiveInt = 4
    experts: PositiveInt = 4
    filter_size: OddInt = 3
    expansion: PositiveInt = 4
    width: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    routing: Literal[ROUTINGS] = "equalised"
    conditional_from: Annotated[int, Field(ge=1, le=len(LEVELS))] = 1
    gate: Literal[GATES] = "se"
    depthwise_fan_out: Literal[FAN_OUTS] = "channel"

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The rows that the network is built from: Table 1 with its sizes as this specification says."""
        return tuple(self._vary(stage) for stage in TABLE_1)

    def _vary(self, stage: Stage) -> Stage:
        def scaled(channels: int) -> int:
            return max(4, 4 * int(channels * self.width / 4 + 0.5)) if channels else 0

        # The stem reads images, whose channels are three whatever the width.
        in_channels = stage.in_channels if stage.operation == "stem" else scaled(stage.in_channels)
        varied = {"in_channels": in_channels, "out_channels": scaled(stage.out_channels)}
        if stage.operation == "block":
            varied |= {"filter_size": self.filter_size, "expansion": self.expansion}
        return replace(stage, **varied)

    @property
    def name(self) -> str:
        """What progress and messages call it."""
        return self.block

    def levels(self) -> tuple[int, ...]:
        """The level of each stage, by the width that it makes in Table 1; 0 for what is no block."""
        level_of = {width: level for level, widths in enumerate(LEVELS, 1) for width in widths}
        return tuple(level_of[row.out_channels] if row.operation == "block" else 0 for row in TABLE_1)

    def sizes(self) -> dict[str, int | float | str]:
        """Everything but the block: what a record says of the network."""
        return {name: getattr(self, name) for name in SIZES}


SIZES = tuple(field.name for field in fields(NetworkSpec) if field.name != "block")


@dataclass(frozen=True)
class BaselineSpec:
    """A network of another paper: its name in the library that builds it, such as "torchvision 0.28.0"."""

    model: str
    library: str
    num_classes: int = 100

    # Records of every network name a block; this one has none of its own, and none of the paper's sizes.
    block = "standard"

    @property
    def name(self) -> str:
        """What progress and messages call it."""
        return self.model

    def sizes(self) -> dict[str, int | str]:
        """What a record says of the network."""
        return asdict(self)


AnySpec = NetworkSpec | BaselineSpec


def spec_of(block: str, sizes: dict) -> AnySpec:
    """The specification of a record's block and network. Raises UserError on invalid sizes."""
    if "model" not in sizes:
        return NetworkSpec(block, **sizes)
    try:
        return BaselineSpec(**sizes)
    except TypeError as error:
        raise UserError(f"{sizes} is no baseline ({error}).") from None


def require_crop_fits(crop: int, resize: int) -> None:
    """Raise UserError if a crop of `crop` pixels is larger than images whose short side is `resize`."""
    if crop > resize:
        raise UserError(f"crop is {crop}, larger than resize, {resize}; make it at most that.")


@one_line_errors
@validated_dataclass(frozen=True, config=_STRICT)
class Recipe:
    """A training routine: every hyper-parameter of Table 2. Raises UserError on an invalid value.

    Learning rates are for the batch size given here; `learning_rate_set` says whether they change per "step"
    or per "epoch". `weight_decay_on` is "all" parameters or "filters", which leaves out biases and batch
    norm. `smallest_crop` is the least share of an image's area that a random crop takes. `precision` is
    that of the convolutions and matrix products, but on a CPU depthwise convolutions other than 3x3 at
    stride 1 stay in float32 (`runtime.in_fast_precision`); a device without fast bfloat16 trains every
    recipe in float32, which its records say. `routing_learning_rate` times the learning rate is that of
    the routing of conditional convolutions.
    """

    name: str
    epochs: PositiveInt = 30
    batch_size: PositiveInt = 128
    warmup_epochs: Annotated[float, Field(ge=0, le=1e4)] = 3.0
    start_learning_rate: LearningRate = 0.001
    peak_learning_rate: LearningRate = 0.1
    final_learning_rate: LearningRate = 0.0001
    learning_rate_set: Literal["step", "epoch"] = "step"
    momentum: UnitInterval = 0.9
    weight_decay: UnitInterval = 5e-5
    weight_decay_on: Literal["all", "filters"] = "all"
    label_smoothing: UnitInterval = 0.0
    smallest_crop: Annotated[float, Field(ge=0.001, le=1)] = 0.08
    routing_learning_rate: LearningRate = 1.0
    resize: PositiveInt = 64
    crop: Annotated[int, Field(ge=14, lt=2**31)] = 56  # three halvings leave 14 pixels two
    precision: Literal["bfloat16", "float32"] = "bfloat16"

    def __post_init__(self):
        require_crop_fits(self.crop, self.resize)

    def scaled(self, epochs: int, batch_size: int, crop: int) -> "Recipe":
        """The same routine in another budget, for `crop` x `crop` pixels.

        Learning rates follow the batch size linearly (Goyal et al., arXiv:1706.02677); the warm-up
        keeps its share of the epochs, so that a short run sees the same curve, shortened; the images
        keep their ratio to the crop. Raises UserError on an invalid size.
        """
        rates = [f"{when}_learning_rate" for when in ("start", "peak", "final")]
        scaled = {name: getattr(self, name) * (batch_size / self.batch_size) for name in rates}
        scaled["warmup_epochs"] = self.warmup_epochs * epochs / self.epochs
        scaled["resize"] = round(crop * self.resize / self.crop)
        return replace(self, epochs=epochs, batch_size=batch_size, crop=crop, **scaled)


# `paper` is the paper's own setting, modelled on the routine of RegNetX/Y (Radosavovic et al.,
# arXiv:2003.13678). `reference` has every hyper-parameter of the course's published routine; initial filters
# and classifier are this network's own (paper, section 4, Table 2).
RECIPES = {
    "paper": Recipe("paper"),
    "reference": Recipe(
        "reference",
        epochs=55,
        batch_size=256,
        warmup_epochs=5.0,
        start_learning_rate=0.002,
        peak_learning_rate=0.2,
        final_learning_rate=0.0002,
        learning_rate_set="epoch",
        precision="float32",
    ),
}


def recipe_for(name: str, block: str) -> Recipe:
    """The recipe `name` as it applies to `block`. Raises UserError on an unknown name."""
    recipe = RECIPES[choose("recipe", name, RECIPES)]
    choose("block", block, BLOCKS)
    lower = (name, block) == ("reference", "se")  # whose published peak is lower for block B
    return replace(recipe, peak_learning_rate=0.15) if lower else recipe


# Hyper-parameters that came after the first records, with what every run had until then; and those that are
# gone, which no run of this code could repeat with another value.
_ADDED = {
    "recipe": {
        "weight_decay_on": "all",
        "label_smoothing": 0.0,
        "smallest_crop": 0.08,
        "routing_learning_rate": 1.0,
    },
    "network": {
        "filter_size": 3,
        "expansion": 4,
        "width": 1.0,
        "routing": "equalised",
        "conditional_from": 1,
        "gate": "se",
        "depthwise_fan_out": "channel",
    },
}
_REMOVED = {"averaging_decay": 0.0, "batch_norm": "synchronised"}


def upgrade_record(record: dict) -> dict:
    """A record of older code with today's hyper-parameters: the added ones as they were, no removed one."""
    for name, before in _ADDED.items():
        written = record.get(name)
        if isinstance(written, dict) and "model" not in written:
            kept = {key: value for key, value in written.items() if _REMOVED.get(key, ...) != value}
            record = record | {name: before | kept}
    return record

"""What the paper trains: Table 1 and the recipes, as data.

The paper's letters are mapped to names here, once: Ni `in_channels`, Ne `expansion * in_channels`,
No `out_channels`, F `filter_size`, S `stride`, R `reduction`, M `experts`.
"""

from dataclasses import dataclass, fields, replace

from xnnlib.errors import UserError, choose

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


def varied_table(
    table: tuple[Stage, ...], filter_size: int, expansion: int, width: float
) -> tuple[Stage, ...]:
    """The table with other depthwise filters, another expansion ratio or other widths (paper, section 6).

    Widths are multiplied and rounded to a multiple of 4. Raises UserError on an even filter size, an
    expansion below one or a width that is not above zero.
    """
    _require_whole(filter_size=filter_size, expansion=expansion)
    if filter_size % 2 == 0:
        raise UserError(f"filter_size is {filter_size}; it must be odd.")
    if not width > 0:
        raise UserError(f"width is {width!r}; it must be above zero.")

    def scaled(channels: int) -> int:
        return max(4, 4 * int(channels * width / 4 + 0.5))

    def vary(stage: Stage) -> Stage:
        channels = {
            "in_channels": stage.in_channels if stage.operation == "stem" else scaled(stage.in_channels),
            "out_channels": scaled(stage.out_channels) if stage.out_channels else 0,
        }
        inner = {"filter_size": filter_size, "expansion": expansion} if stage.operation == "block" else {}
        return replace(stage, **channels, **inner)

    return tuple(vary(stage) for stage in table)


# The paper's five levels (Figure 1): level 5 holds both widths 160 and 320.
LEVELS = ((16,), (24,), (40,), (80,), (160, 320))


@dataclass(frozen=True)
class NetworkSpec:
    """A network: a table of stages with one block variant and its two sizes, as it is or varied.

    `filter_size`, `expansion` and `width` vary the table (see `varied_table`); the first two hold for
    every block, whatever the table itself says.
    Raises UserError on an unknown block or a size below one.
    """

    block: str = "standard"
    num_classes: int = 100
    reduction: int = 4
    experts: int = 4
    filter_size: int = 3
    expansion: int = 4
    width: float = 1.0
    table: tuple[Stage, ...] = TABLE_1

    def __post_init__(self):
        choose("block", self.block, BLOCKS)
        _require_whole(num_classes=self.num_classes, reduction=self.reduction, experts=self.experts)
        # Frozen, and made once: the rows that the network is built from.
        varied = varied_table(self.table, self.filter_size, self.expansion, self.width)
        object.__setattr__(self, "stages", varied)

    def sizes(self) -> dict[str, int | float]:
        """Everything but the block and the table: what a record says of the network."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("block", "table")
        }


def _require_whole(**sizes: int) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} is {value!r}; it must be a whole number of at least 1.")


# Wider than anything that trains, narrow enough to catch a slip of the hand.
_RECIPE_RANGES = {
    "warmup_epochs": (0.0, 1e4),
    "start_learning_rate": (0.0, 100.0),
    "peak_learning_rate": (0.0, 100.0),
    "final_learning_rate": (0.0, 100.0),
    "momentum": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    "label_smoothing": (0.0, 1.0),
    "smallest_crop": (0.001, 1.0),
    "averaging_decay": (0.0, 1.0),
}


@dataclass(frozen=True)
class Recipe:
    """A training routine: every hyper-parameter of Table 2.

    `weight_decay_on` is "all" parameters or "filters", which leaves out biases and batch norm;
    `smallest_crop` is the least share of an image's area that a random crop takes; with an
    `averaging_decay` above zero, an exponential moving average of the weights, updated with it at
    every step, is what is evaluated and kept. `batch_norm` matters to several processes alone: is it
    "synchronised", over the batch of all, or "per_process".

    Learning rates are for the batch size given here. `precision` is that of the convolutions and
    matrix products; a device without fast bfloat16 runs every recipe in float32, which its records say.
    `learning_rate_set` says whether the rate changes per "epoch" or per "step".
    """

    name: str
    epochs: int = 55
    batch_size: int = 256
    warmup_epochs: float = 5.0
    start_learning_rate: float = 0.002
    peak_learning_rate: float = 0.2
    final_learning_rate: float = 0.0002
    learning_rate_set: str = "step"
    momentum: float = 0.9
    weight_decay: float = 5e-5
    weight_decay_on: str = "all"
    label_smoothing: float = 0.0
    smallest_crop: float = 0.08
    averaging_decay: float = 0.0
    batch_norm: str = "synchronised"
    resize: int = 64
    crop: int = 56
    precision: str = "bfloat16"

    def __post_init__(self):
        choose("weight_decay_on", self.weight_decay_on, ("all", "filters"))
        choose("learning_rate_set", self.learning_rate_set, ("step", "epoch"))
        choose("precision", self.precision, ("bfloat16", "float32"))
        choose("batch_norm", self.batch_norm, ("synchronised", "per_process"))
        _require_whole(epochs=self.epochs, batch_size=self.batch_size, resize=self.resize, crop=self.crop)
        for name, (low, high) in _RECIPE_RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:  # written so that NaN is outside
                raise UserError(f"{name} is {value!r}; it must be from {low:g} to {high:g}.")

    def changed(self, changes: str) -> "Recipe":
        """The routine with some settings changed, as in `"label_smoothing=0.1, weight_decay=2e-4"`.

        Raises UserError on a setting that there is not, or a value that is none.
        """
        given = {}
        for change in filter(None, (part.strip() for part in changes.split(","))):
            name, _, text = (part.strip() for part in change.partition("="))
            kinds = {field.name: type(getattr(self, field.name)) for field in fields(self)}
            kind = kinds[choose("recipe_changes", name, kinds)]
            try:
                given[name] = kind(text)
            except ValueError:
                raise UserError(f"recipe_changes: {change!r} gives no {kind.__name__}.") from None
        return replace(self, **given)

    def scaled(self, epochs: int, batch_size: int, crop: int) -> "Recipe":
        """The same routine in another budget, for `crop` x `crop` pixels.

        Learning rates follow the batch size linearly (Goyal et al., arXiv:1706.02677); the warm-up
        keeps its share of the epochs, so that a short run sees the same curve, shortened; the images
        keep their ratio to the crop. Raises UserError on a size below one, or a crop below 14, of
        which the network's three halvings would leave a single pixel.
        """
        _require_whole(epochs=epochs, batch_size=batch_size, crop=crop)
        if crop < 14:
            raise UserError(f"crop is {crop}; it must be at least 14 pixels.")
        rate = batch_size / self.batch_size
        return replace(
            self,
            epochs=epochs,
            batch_size=batch_size,
            crop=crop,
            resize=round(crop * self.resize / self.crop),
            warmup_epochs=self.warmup_epochs * epochs / self.epochs,
            start_learning_rate=self.start_learning_rate * rate,
            peak_learning_rate=self.peak_learning_rate * rate,
            final_learning_rate=self.final_learning_rate * rate,
        )


# `reference` is the course's published routine to the letter (paper, section 4); its peak for block B
# was lower. `paper` is the generic routine of RegNetX/Y (Radosavovic et al., arXiv:2003.13678).
RECIPES = {
    "reference": Recipe("reference", learning_rate_set="epoch", precision="float32"),
    "paper": Recipe("paper"),
}
REFERENCE_PEAK_LEARNING_RATE = {"se": 0.15}


def recipe_for(name: str, block: str) -> Recipe:
    """The recipe `name` as it applies to `block`. Raises UserError on an unknown name."""
    recipe = RECIPES[choose("recipe", name, RECIPES)]
    choose("block", block, BLOCKS)
    if name == "reference" and block in REFERENCE_PEAK_LEARNING_RATE:
        return replace(recipe, peak_learning_rate=REFERENCE_PEAK_LEARNING_RATE[block])
    return recipe

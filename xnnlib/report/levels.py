"""Which part of Figure 1 a row of Table 1 belongs to."""

from xnnlib.spec import LEVELS, Stage

PARTS = ("stem", *(f"level_{number}" for number in range(1, len(LEVELS) + 1)), "last", "classifier")
PART_TITLES = {part: part.replace("_", " ").capitalize() for part in PARTS} | {
    "last": "Last conv",
}


def part(stage: Stage) -> str:
    """One of PARTS: a block belongs to the level of the width that it makes."""
    if stage.operation != "block":
        return stage.operation
    return next(f"level_{i}" for i, widths in enumerate(LEVELS, 1) if stage.out_channels in widths)

"""The look of the figures and how they are saved: the same bytes for the same data."""

import hashlib
import io
import json
import os
import re
from contextlib import ContextDecorator
from functools import partial
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from xnnlib.errors import UserError
from xnnlib.files import write_atomically

STYLE_FILE = Path(__file__).with_name("paper.mplstyle")

# Widths in inches of a figure in one column and across both.
COLUMN_WIDTH, TEXT_WIDTH = 3.3, 7.0

# Okabe and Ito's colours, told apart with any colour vision (https://jfly.uni-koeln.de/color/). A block
# keeps its colour and marker in every figure.
COLORS = {"standard": "#0072B2", "se": "#D55E00", "se_cond": "#009E73"}
MARKERS = {"standard": "o", "se": "s", "se_cond": "^"}


def applied() -> ContextDecorator:
    """The paper's style, over matplotlib's defaults whatever the user set: a context or a decorator."""
    return matplotlib.style.context(["default", STYLE_FILE])


class PaperFigure(Figure):
    """A figure of a size in inches that knows the digest of the data it shows, which JSON can write."""

    def __init__(self, width: float, height: float, data: object):
        super().__init__(figsize=(width, height))
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        self.data_digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def _repr_png_(self) -> bytes:
        # What a notebook shows, without a date or a version, so that it is the same in every run.
        image = io.BytesIO()
        with applied():
            self.savefig(image, format="png", dpi=120, metadata={"Software": None})
        return image.getvalue()


def save(figure: PaperFigure, figures_dir: str | os.PathLike, name: str) -> None:
    """Write `<name>.svg` and `<name>.pdf`, atomically and without dates.

    The digest of the figure's data goes into the files, where `saved_digest` finds it.
    """
    common = {"Title": name, "Creator": "xnnlib"}
    metadata = {
        "svg": common | {"Identifier": figure.data_digest, "Date": None},
        "pdf": common | {"Keywords": figure.data_digest, "Producer": "matplotlib", "CreationDate": None},
    }
    for kind, values in metadata.items():
        with applied():
            write = partial(figure.savefig, format=kind, metadata=values)
            write_atomically(Path(figures_dir, f"{name}.{kind}"), write)


def saved_digest(path: str | os.PathLike) -> str:
    """The digest of the data that a saved figure shows. Raises UserError if it is not one of `save`."""
    found = re.search(rb"sha256:[0-9a-f]{64}", Path(path).read_bytes())
    if not found:
        raise UserError(f"{path} was not saved by this project; draw it again with: make figures")
    return found[0].decode()

"""A contact sheet of the embedded data set."""

import hashlib

from xnnlib.data import shapes
from xnnlib.report.style import COLUMN_WIDTH, PaperFigure, new_figure, styled


@styled
def shapes_sheet(num_classes: int = 10, per_class: int = 7, size: int = 32, seed: int = 0) -> PaperFigure:
    """Training images of `shapes`: a row for each of the first classes, `size` x `size` pixels an image."""
    gap = 2
    names = shapes.CLASS_NAMES[:num_classes]
    sheet = shapes.contact_sheet(num_classes, per_class, size, seed, gap)
    digest = hashlib.sha256(sheet.tobytes()).hexdigest()
    left = 0.62
    scale = (COLUMN_WIDTH - left) / sheet.shape[1]
    height = scale * sheet.shape[0]
    figure = new_figure(COLUMN_WIDTH, height, {"names": names, "pixels": digest})
    axes = figure.add_axes((left / COLUMN_WIDTH, 0, 1 - left / COLUMN_WIDTH, 1))
    # "none" stores the pixels as they are; anything else would resample them to the figure's grid.
    axes.imshow(sheet, interpolation="none", aspect="auto")
    axes.set_yticks([gap + size / 2 + row * (size + gap) for row in range(num_classes)], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure

"""Figures 1 to 4 show what the network is made of, and nothing overlaps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.patches import Patch
from torch import nn

from xnnlib.model import InvertedResidual
from xnnlib.report import diagrams, style
from xnnlib.report.trace import trace
from xnnlib.spec import TABLE_1, NetworkSpec

FIGURES = {
    "figure-1-structure": diagrams.figure_1,
    "figure-2-blocks": diagrams.figure_2,
    "figure-3-squeeze-excite": diagrams.figure_3,
    "figure-4-conditional-convolution": diagrams.figure_4,
}
FOLDER = Path(__file__).parents[1] / "figures"


@pytest.fixture(scope="module")
def drawn():
    return {name: figure(NetworkSpec()) for name, figure in FIGURES.items()}


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def rows_of_figure_2(figure) -> dict[str, list[str]]:
    """The words of each block's row from left to right."""
    height = figure.get_figheight() / 3
    rows = {"A": [], "B": [], "C": []}
    for text in sorted(figure.axes[0].texts, key=lambda text: text.get_position()[0]):
        rows["ABC"[2 - int(text.get_position()[1] // height)]].append(text.get_text().replace("\n", " "))
    return rows


def test_figure_1_fits_half_a_column(drawn):
    assert drawn["figure-1-structure"].get_figheight() < 2.6


def test_figure_1_shows_every_level_with_its_blocks_and_shapes(drawn):
    words = texts(drawn["figure-1-structure"])
    for title in ("Stem", *(f"Level {i}" for i in range(1, 6)), "Last conv", "Decoder"):
        assert title in words
    assert "160, 320 wide" in words and "100 scores" in words
    blocks = [stage for stage in TABLE_1 if stage.operation == "block"]
    # Each mark once more, where it is explained.
    assert words.count("+") == 1 + sum(stage.repeat for stage in blocks if stage.identity)
    assert words.count("/2") == 1 + sum(stage.repeat for stage in blocks if stage.stride == 2)
    assert {"block", "with identity", "with stride 2"} <= set(words)
    shapes = [word.replace(r"{\times}", "x").strip("$") for word in words if r"{\times}" in word]
    expected = ["3x56x56", "16x56x56", "16x56x56", "24x56x56", "40x28x28", "80x14x14", "320x7x7"]
    assert shapes == [*expected, "1280x7x7"]


def test_figure_2_names_every_operation_in_order(drawn):
    rows = rows_of_figure_2(drawn["figure-2-blocks"])
    operations = {
        block: [word for word in words if not word.startswith("$") and word[:2] not in ("A:", "B:", "C:")]
        for block, words in rows.items()
    }
    identity = "identity, if and only if $N_i = N_o$ and $S = 1$"
    for words in operations.values():
        words.remove(identity)
    first = ["1×1 conv", "batch norm", "ReLU", "F×F/S depthwise conv", "batch norm", "ReLU"]
    gate, last = ["squeeze and excite"], ["1×1 conv", "batch norm"]
    assert operations["A"] == first + last
    assert operations["B"] == first + gate + last
    assert operations["C"] == [word.replace("conv", "cond. conv") for word in first + gate + last]


def test_figure_2s_titles_say_what_each_block_has(drawn):
    titles = [word for word in texts(drawn["figure-2-blocks"]) if word[:2] in ("A:", "B:", "C:")]
    assert "squeeze-and-excite" in titles[1] and "squeeze-and-excite" in titles[2]
    assert "conditional convolution" in titles[2] and "conditional convolution" not in titles[1]


def test_figure_2_highlights_only_what_a_block_adds(drawn):
    axes = drawn["figure-2-blocks"].axes[0]
    bold = [patch.get_window_extent() for patch in axes.patches if patch.get_linewidth() > 1.5]
    inside = [
        text.get_text().replace("\n", " ")
        for text in axes.texts
        for at in bold
        if at.contains(*text.get_transform().transform(text.get_position()))
    ]
    assert sorted(inside) == ["1×1 cond. conv"] * 2 + ["F×F/S depthwise cond. conv", "squeeze and excite"]


def test_figures_3_and_4_show_the_layers(drawn):
    words = texts(drawn["figure-3-squeeze-excite"])
    assert words.count("linear\n+ bias") == 2 and "ReLU" in words and "Sigmoid" in words
    assert {"$N_e$", "$N_e/R$", "$R = 4$"} <= set(words)
    words = texts(drawn["figure-4-conditional-convolution"])
    assert "linear,\nno bias" in words and "Sigmoid" in words and "ReLU" not in words
    assert "$M = 4$" in words
    assert [f"$W_{{{i}}}$" in words for i in range(5)] == [True] * 4 + [False]
    assert "fully grouped: $W$ is 3D;  not grouped: $W$ is 4D" in words


def test_a_changed_specification_changes_the_figures(drawn):
    deeper = (*TABLE_1[:5], replace(TABLE_1[5], repeat=3), *TABLE_1[6:])
    figure = diagrams.figure_1(NetworkSpec(table=deeper))
    assert texts(figure).count("+") == texts(drawn["figure-1-structure"]).count("+") + 1
    assert figure.data_digest != drawn["figure-1-structure"].data_digest
    many = texts(diagrams.figure_4(NetworkSpec(experts=8)))
    assert "$W_{M-1}$" in many and "$W_{3}$" not in many


def test_a_changed_module_changes_the_figure(monkeypatch):
    class WithoutBias(diagrams.SqueezeExcite):
        def __init__(self, channels, reduction=4):
            super().__init__(channels, reduction)
            self.reduce = nn.Linear(channels, channels // reduction, bias=False)

    monkeypatch.setattr(diagrams, "SqueezeExcite", WithoutBias)
    assert "linear,\nno bias" in texts(diagrams.figure_3(NetworkSpec()))


def test_an_operation_after_the_adder_is_refused(monkeypatch):
    forward = InvertedResidual.forward
    monkeypatch.setattr(InvertedResidual, "forward", lambda self, x: torch.relu(forward(self, x)))
    with pytest.raises(ValueError, match="nothing after the adder"):
        diagrams.figure_2(NetworkSpec())


def test_tracing_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="no box for the operation gelu"):
        trace(nn.Sequential(nn.Linear(2, 2), nn.GELU()), (2,))

    class Exponential(nn.Sequential):
        def forward(self, x):
            return torch.exp(super().forward(x))

    with pytest.raises(ValueError, match="no box for the operation exp"):
        trace(Exponential(nn.Linear(2, 2)), (2,))


def test_one_order_of_rows_and_columns_everywhere(drawn):
    words = " ".join(word for figure in drawn.values() for word in texts(figure)).replace(r"{\times}", "x")
    assert "HxW" in words and "WxH" not in words


def in_inches(box, figure) -> np.ndarray:
    return box.transformed(figure.dpi_scale_trans.inverted()).get_points()


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps(drawn, name):
    figure = drawn[name]
    axes = figure.axes[0]
    renderer = (
        figure.canvas.get_renderer() if hasattr(figure.canvas, "get_renderer") else figure._get_renderer()
    )
    boxes = {
        text: in_inches(text.get_window_extent(renderer), figure) for text in axes.texts if text.get_text()
    }
    shapes = [
        (p, in_inches(p.get_window_extent(renderer), figure)) for p in axes.patches if p.get_zorder() >= 3
    ]

    def overlap(a, b, slack=0.005):
        (ax0, ay0), (ax1, ay1) = a
        (bx0, by0), (bx1, by1) = b
        return min(ax1, bx1) - max(ax0, bx0) > slack and min(ay1, by1) - max(ay0, by0) > slack

    items = list(boxes.items())
    for index, (text, box) in enumerate(items):
        assert text.get_fontsize() >= 7
        assert box.min() >= 0 and (box[1] <= figure.get_size_inches()).all(), text.get_text()
        for other, other_box in items[index + 1 :]:
            assert not overlap(box, other_box), (text.get_text(), other.get_text())
        for patch, shape in shapes:
            inside = (box[0] >= shape[0] - 0.01).all() and (box[1] <= shape[1] + 0.01).all()
            assert inside or not overlap(box, shape), (text.get_text(), patch)


@pytest.mark.parametrize("name", FIGURES)
def test_no_arrow_runs_through_a_box(drawn, name):
    axes = drawn[name].axes[0]
    shapes: list[Patch] = [patch for patch in axes.patches if patch.get_zorder() >= 3]
    for line in (line for line in axes.lines if line.get_zorder() < 3 and len(line.get_xdata()) > 1):
        corners = line.get_xydata()
        steps = np.linspace(0, 1, 200)[:, None]
        pairs = zip(corners[:-1], corners[1:], strict=True)
        along = np.concatenate([start + steps * (end - start) for start, end in pairs])
        for patch in shapes:
            (x0, y0), (x1, y1) = patch.get_path().get_extents(patch.get_patch_transform()).get_points()
            inside = (along > (x0 + 0.01, y0 + 0.01)) & (along < (x1 - 0.01, y1 - 0.01))
            assert not inside.all(1).any(), patch


@pytest.mark.parametrize("name", FIGURES)
def test_the_committed_figure_is_of_this_network(drawn, name):
    for kind in ("svg", "pdf"):
        assert style.saved_digest(FOLDER / f"{name}.{kind}") == drawn[name].data_digest

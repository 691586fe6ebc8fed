"""Figures 1 to 4 show what the network is made of, and nothing overlaps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch
from torch import nn

from xnnlib.model import InvertedResidual
from xnnlib.report import diagrams
from xnnlib.report.trace import trace
from xnnlib.spec import TABLE_1, NetworkSpec

FIGURES = {
    "figure-1-structure": diagrams.figure_1,
    "figure-2-blocks": diagrams.figure_2,
    "figure-3-squeeze-excite": diagrams.figure_3,
    "figure-4-conditional-convolution": diagrams.figure_4,
}


@pytest.fixture(scope="module")
def drawn():
    return {name: figure(NetworkSpec()) for name, figure in FIGURES.items()}


def texts(figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.page.texts if text.get_text()]


def test_figure_1_shows_every_level_with_its_blocks_and_shapes(drawn):
    words = texts(drawn["figure-1-structure"])
    assert {"Stem", *(f"Level {i}" for i in range(1, 6)), "Last conv", "Decoder"} <= set(words)
    assert {"160, 320 wide", "100 scores", "block", "with identity", "with stride 2"} <= set(words)
    blocks = [stage for stage in TABLE_1 if stage.operation == "block"]
    # Each mark once more, where it is explained.
    assert words.count("+") == 1 + sum(stage.repeat for stage in blocks if stage.identity)
    assert words.count("/2") == 1 + sum(stage.repeat for stage in blocks if stage.stride == 2)
    shapes = [word.replace(r"{\times}", "x").strip("$") for word in words if r"{\times}" in word]
    expected = ["3x56x56", "16x56x56", "16x56x56", "24x56x56", "40x28x28", "80x14x14", "320x7x7"]
    assert shapes == [*expected, "1280x7x7"]


def test_figure_2_shows_each_blocks_operations_and_highlights_what_is_new(drawn):
    figure = drawn["figure-2-blocks"]
    shapes = [patch for patch in figure.page.patches if patch.get_zorder() >= 3]
    boxes = {block: [] for block in "ABC"}
    bold = []
    for text in sorted(figure.page.texts, key=lambda text: text.get_position()[0]):
        x, y = text.get_position()
        word = text.get_text().replace("\n", " ")
        point = figure.page.transData.transform((x, y))
        around = [patch for patch in shapes if patch.get_window_extent().contains(*point)]
        if around:
            boxes["ABC"[2 - int(y // (figure.get_figheight() / 3))]].append(word)
        bold += [word for patch in around if patch.get_linewidth() > 1.5]
    first = ["1×1 conv", "batch norm", "ReLU", "F×F/S depthwise conv", "batch norm", "ReLU"]
    gate, last = ["squeeze and excite"], ["1×1 conv", "batch norm"]
    assert boxes["A"] == first + last and boxes["B"] == first + gate + last
    assert boxes["C"] == [word.replace("conv", "cond. conv") for word in first + gate + last]
    assert sorted(bold) == ["1×1 cond. conv"] * 2 + ["F×F/S depthwise cond. conv", "squeeze and excite"]
    titles = [word for word in texts(figure) if word[:2] in ("A:", "B:", "C:")]
    assert titles[2] == "C: inverted residual + squeeze-and-excite + conditional convolution"


def test_figures_3_and_4_show_the_layers(drawn):
    words = texts(drawn["figure-3-squeeze-excite"])
    assert words.count("linear + bias") == 2 and "ReLU" in words and "Sigmoid" in words
    assert {"$N_e$", "$N_e/R$", "$R = 4$"} <= set(words)
    words = texts(drawn["figure-4-conditional-convolution"])
    assert {"linear, no bias", "Sigmoid", "$M = 4$", *(f"$W_{{{i}}}$" for i in range(4))} <= set(words)
    assert "fully grouped: $W$ is 3D;  not grouped: $W$ is 4D" in words


def test_changed_specification_changes_the_figures(monkeypatch, drawn):
    deeper = (*TABLE_1[:5], replace(TABLE_1[5], repeat=3), *TABLE_1[6:])
    monkeypatch.setattr("xnnlib.spec.TABLE_1", deeper)
    figure = diagrams.figure_1(NetworkSpec())
    assert texts(figure).count("+") == texts(drawn["figure-1-structure"]).count("+") + 1
    assert figure.data_digest != drawn["figure-1-structure"].data_digest
    many = texts(diagrams.figure_4(NetworkSpec(experts=8)))
    assert "$W_{M-1}$" in many and "$W_{3}$" not in many


def test_changed_module_changes_the_figure(monkeypatch, drawn):
    class WithoutBias(diagrams.SqueezeExcite):
        def __init__(self, channels, reduction=4):
            super().__init__(channels, reduction)
            self.reduce = nn.Linear(channels, channels // reduction, bias=False)

    monkeypatch.setattr(diagrams, "SqueezeExcite", WithoutBias)
    figure = diagrams.figure_3(NetworkSpec())
    assert "linear, no bias" in texts(figure)
    assert figure.data_digest != drawn["figure-3-squeeze-excite"].data_digest


def test_operation_after_the_adder_is_refused(monkeypatch):
    forward = InvertedResidual.forward
    monkeypatch.setattr(InvertedResidual, "forward", lambda self, x: torch.relu(forward(self, x)))
    with pytest.raises(ValueError, match="nothing after the adder"):
        diagrams.figure_2(NetworkSpec())


def test_tracing_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="no box for the operation gelu"):
        trace(nn.Sequential(nn.Linear(2, 2), nn.GELU()), (2,))


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_and_no_arrow_runs_through_a_box(drawn, name):
    figure = drawn[name]
    FigureCanvasAgg(figure).draw()
    inches = figure.dpi_scale_trans.inverted()
    items = [(text, text.get_window_extent().transformed(inches)) for text in figure.page.texts]
    patches = [(patch, patch.get_window_extent().transformed(inches)) for patch in figure.page.patches]
    shapes = [item for item in patches if item[0].get_zorder() >= 3]

    def overlap(a, b, slack=0.005):
        return all(np.minimum(a.max, b.max) - np.maximum(a.min, b.min) > slack)

    for index, (text, box) in enumerate(items):
        assert text.get_fontsize() >= 7
        assert box.min.min() >= 0 and (box.max <= figure.get_size_inches()).all(), text
        for other, other_box in items[index + 1 :]:
            assert not overlap(box, other_box), (text, other)
        for patch, shape in shapes:
            inside = (box.min >= shape.min - 0.01).all() and (box.max <= shape.max + 0.01).all()
            assert inside or not overlap(box, shape), (text, patch)
    for arrow in (patch for patch, _ in patches if isinstance(patch, FancyArrowPatch)):
        for corners in arrow.get_path().to_polygons(closed_only=False):
            steps = np.linspace(0, 1, 50)[:, None]
            along = np.concatenate(
                [a + steps * (b - a) for a, b in zip(corners[:-1], corners[1:], strict=True)]
            )
            for patch, shape in shapes:
                assert not ((along > shape.min + 0.01) & (along < shape.max - 0.01)).all(1).any(), patch

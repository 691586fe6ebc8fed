"""Figures 5 and 6, the contact sheet and how figures are saved, by the data that they show."""

import matplotlib
import pytest
from book_config import SHOWN_PROFILE
from machine_places import ROOT
from paper_material import drawn_digest, load_material
from report_runs import write_run

from xnnlib import complexity
from xnnlib.data import shapes
from xnnlib.errors import UserError
from xnnlib.report import plots, style
from xnnlib.report.diagrams import figure_3
from xnnlib.spec import BLOCKS, NetworkSpec


def lines(axes, label):
    return [line for line in axes.lines if line.get_label() == label]


def test_figure_5_draws_the_epochs(tmp_path):
    runs = [write_run(tmp_path, block) for block in BLOCKS]
    accuracy, loss = plots.figure_5(runs).axes
    for run in runs:
        block = run.record["block"]
        for axes, column in ((accuracy, "top1"), (loss, "loss")):
            for split in ("val", "train"):
                (drawn,) = lines(axes, f"{block} {split}_{column}")
                assert list(drawn.get_xdata()) == run.epochs["epoch"]
                assert list(drawn.get_ydata()) == run.epochs[f"{split}_{column}"]
                assert drawn.get_color() == style.COLORS[block]
                assert drawn.get_linestyle() == ("-" if split == "val" else "--")
            assert lines(axes, f"{block} val_{column} seed") == []  # one seed is the line itself
    assert len({lines(accuracy, f"{block} val_top1")[0].get_marker() for block in BLOCKS}) == len(BLOCKS)
    assert list(lines(accuracy, "chance")[0].get_ydata()) == [10, 10]


def test_figure_5_draws_each_seed_thin_beside_their_mean(tmp_path):
    runs = [write_run(tmp_path, "se", seed, shift) for seed, shift in enumerate((-3.0, 0.0, 9.0))]
    figure = plots.figure_5(runs)
    (middle,) = lines(figure.axes[0], "se val_top1")
    assert list(middle.get_ydata()) == pytest.approx([value + 2 for value in runs[1].epochs["val_top1"]])
    seeds = lines(figure.axes[0], "se val_top1 seed")
    assert [list(seed.get_ydata()) for seed in seeds] == [run.epochs["val_top1"] for run in runs]
    assert all(seed.get_linewidth() < middle.get_linewidth() for seed in seeds)
    assert "mean of 3 seeds; thin: each seed" in figure.legends[0].get_texts()[1].get_text()


def test_only_the_demonstration_is_marked(tmp_path):
    for profile, marked in (("quick", True), ("small", False)):
        figure = plots.figure_5([write_run(tmp_path, "standard", profile=profile)])
        assert any("a demonstration, not" in text.get_text() for text in figure.texts) == marked


def test_thirty_epochs_have_few_marks(tmp_path):
    run = write_run(tmp_path, "standard")
    for name, values in run.epochs.items():
        run.epochs[name] = list(range(1, 31)) if name == "epoch" else values * 10
    (drawn,) = lines(plots.figure_5([run]).axes[0], "standard val_top1")
    assert len(drawn.get_xdata()) == 30 and drawn.get_markevery() == (0, 5)


def test_seeds_of_different_lengths_are_refused(tmp_path):
    runs = [write_run(tmp_path, "standard", seed) for seed in (0, 1)]
    for values in runs[1].epochs.values():
        values.pop()
    with pytest.raises(UserError, match="other epochs"):
        plots.figure_5(runs)


def test_saved_digest_follows_the_data(tmp_path):
    first, same, other = (
        plots.figure_5([write_run(tmp_path / name, "standard", shift=shift)])
        for name, shift in (("a", 0.0), ("b", 0.0), ("c", 0.1))
    )
    assert first.data_digest == same.data_digest != other.data_digest
    style.save(first, tmp_path, "curve")
    for path in (tmp_path / "curve.svg", tmp_path / "curve.pdf"):
        assert style.saved_digest(path) == first.data_digest
    (tmp_path / "figure.svg").write_text("<svg/>")
    with pytest.raises(UserError, match="was not saved by this project"):
        style.saved_digest(tmp_path / "figure.svg")


@pytest.mark.parametrize("latency", [{"standard": 9.0}, {"standard": 9.0, "se": 10.5}])
def test_figure_6_sets_accuracy_against_cost(tmp_path, latency):
    runs = [write_run(tmp_path, b, seed, seed * 2.0) for b in ("standard", "se") for seed in (0, 1)]
    panels = plots.figure_6(runs, latency).axes
    for block, top1 in (("standard", 41.2), ("se", 44.4)):
        costs = [count / 1e6 for count in complexity.total(complexity.count(NetworkSpec(block, 10)))]
        for axes, cost in zip(panels, costs + ([latency[block]] if len(latency) == 2 else []), strict=True):
            (middle,) = lines(axes, f"{block} mean")
            assert (middle.get_xdata()[0], middle.get_ydata()[0]) == pytest.approx((cost, top1))
            (seeds,) = lines(axes, f"{block} seeds")
            assert list(seeds.get_ydata()) == pytest.approx([top1 - 1, top1 + 1])


@pytest.mark.parametrize("count", [2, 3])
def test_figure_6_has_an_interval_from_three_seeds_on(tmp_path, count):
    runs = [write_run(tmp_path, "se", seed, seed * 2.0) for seed in range(count)]
    assert [len(axes.collections) for axes in plots.figure_6(runs, {}).axes] == [count - 2] * 2


def test_the_contact_sheet_shows_the_images_as_they_are():
    figure = plots.shapes_sheet(num_classes=3, per_class=2, size=16)
    sheet = figure.axes[0].images[0].get_array()
    assert sheet.shape == (56, 38, 3) and (sheet[:2] == 255).all() and (sheet[:, -2:] == 255).all()
    assert (sheet[38:54, 20:36] == shapes.make_image(2, 1, 16).transpose(1, 2, 0)).all()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(shapes.CLASS_NAMES[:3])


def test_the_users_own_style_changes_no_byte(tmp_path):
    def drawn(folder):
        figure = figure_3(NetworkSpec())
        style.save(figure, folder, "figure")
        return [*(path.read_bytes() for path in sorted(folder.iterdir())), figure._repr_png_()]

    usual = drawn(tmp_path / "usual")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other", "savefig.dpi": 30}):
        assert drawn(tmp_path / "own") == usual
    assert b"<dc:date>" not in usual[1]


@pytest.fixture(scope="module")
def material():
    return load_material(ROOT, "results", SHOWN_PROFILE)


@pytest.mark.parametrize("path", sorted((ROOT / "figures").iterdir()), ids=lambda path: path.name)
def test_committed_figure_is_of_the_committed_records(material, path):
    assert style.saved_digest(path) == drawn_digest(material, path.stem)
    assert path.stat().st_size < 300_000

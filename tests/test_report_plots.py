"""Figures 5 and 6, the contact sheet and how figures are saved, by the data that they show."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from report_runs import write_run

from xnnlib import complexity
from xnnlib.data import shapes
from xnnlib.errors import UserError
from xnnlib.records import load_runs
from xnnlib.report import BESIDE, costs, curves, samples, style
from xnnlib.spec import BLOCKS, NetworkSpec

PROJECT = Path(__file__).parents[1]


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


def notes(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_figure_5_draws_the_epochs(tmp_path):
    runs = [write_run(tmp_path, block) for block in BLOCKS]
    figure = curves.figure_5(runs)
    accuracy, loss = figure.axes
    for run in runs:
        block = run.record["block"]
        for axes, column in ((accuracy, "top1"), (loss, "loss")):
            for split in ("val", "train"):
                drawn = line(axes, f"{block} {split}_{column}")
                assert list(drawn.get_xdata()) == run.epochs["epoch"]
                assert list(drawn.get_ydata()) == run.epochs[f"{split}_{column}"]
                assert drawn.get_color() == style.COLORS[block]
                assert drawn.get_linestyle() == ("-" if split == "val" else "--")
    assert len({line(accuracy, f"{block} val_top1").get_marker() for block in BLOCKS}) == len(BLOCKS)
    assert list(line(accuracy, "chance").get_ydata()) == [10, 10]
    assert not accuracy.collections and not loss.collections  # one seed has no band


def test_figure_5_draws_the_mean_of_the_seeds_in_a_band(tmp_path):
    runs = [write_run(tmp_path, "se", seed, shift) for seed, shift in enumerate((-3.0, 0.0, 9.0))]
    accuracy = curves.figure_5(runs).axes[0]
    middle = runs[1].epochs["val_top1"]
    assert list(line(accuracy, "se val_top1").get_ydata()) == pytest.approx([value + 2 for value in middle])
    band = accuracy.collections[0].get_paths()[0].vertices
    for epoch, value in zip(runs[1].epochs["epoch"], middle, strict=True):
        heights = band[band[:, 0] == epoch, 1]
        assert (heights.min(), heights.max()) == pytest.approx((value - 3, value + 9))
    assert "3 seeds" in accuracy.get_xlabel()


def test_figure_5_says_so_when_it_is_not_the_papers_result(tmp_path):
    small = curves.figure_5([write_run(tmp_path, "standard", profile="small")])
    assert notes(small) == ["profile small: 10 classes, 3 epochs; not the paper's result"]
    assert notes(curves.figure_5([write_run(tmp_path, "standard", profile="paper")])) == []


def test_seeds_of_different_lengths_are_refused(tmp_path):
    runs = [write_run(tmp_path, "standard", seed) for seed in (0, 1)]
    for values in runs[1].epochs.values():
        values.pop()
    with pytest.raises(UserError, match="other epochs"):
        curves.figure_5(runs)


def test_the_digest_follows_the_data(tmp_path):
    first = curves.figure_5([write_run(tmp_path / "a", "standard")])
    same = curves.figure_5([write_run(tmp_path / "b", "standard")])
    other = curves.figure_5([write_run(tmp_path / "c", "standard", shift=0.1)])
    assert first.data_digest == same.data_digest != other.data_digest
    for path in style.save(first, tmp_path, "curve"):
        assert style.saved_digest(path) == first.data_digest


@pytest.fixture(scope="module")
def figure_6():
    return costs.figure_6(100)


def test_figure_6_draws_the_counts(figure_6):
    counted = {block: complexity.count(NetworkSpec(block)) for block in BLOCKS}
    for index in (0, 1):
        bars, marks = figure_6.axes[index], figure_6.axes[2 + index]
        for block, container in zip(BLOCKS, bars.containers, strict=True):
            total = complexity.total(counted[block])[index] / 1e6
            assert sum(bar.get_width() for bar in container) == pytest.approx(total)
            assert {bar.get_hatch() or "" for bar in container} == {style.HATCHES[block]}
        values = [value for drawn in marks.lines for value in drawn.get_xdata() if value == value]
        mixing = complexity.total(counted["se_cond"], ("mixing",))[index]
        assert any(value == pytest.approx(mixing / 1e6) for value in values)
        assert marks.get_xscale() == "log"


def test_the_contact_sheet_shows_the_images_as_they_are():
    figure = samples.shapes_sheet(num_classes=3, per_class=2, size=16)
    image = figure.axes[0].images[0].get_array()
    assert (image == shapes.contact_sheet(3, 2, 16, 0)).all()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(shapes.CLASS_NAMES[:3])


DRAW = """
import sys
from pathlib import Path
from xnnlib.report.diagrams import figure_3
from xnnlib.report.style import save
from xnnlib.spec import NetworkSpec
figure = figure_3(NetworkSpec())
save(figure, sys.argv[1], "figure")
Path(sys.argv[1], "figure.png").write_bytes(figure._repr_png_())
"""


def test_another_process_saves_the_same_bytes(tmp_path, monkeypatch):
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", DRAW, str(tmp_path / "one")], env=environment, check=True)
    monkeypatch.setattr(sys, "argv", ["draw", str(tmp_path / "two")])
    # Neither what was drawn before nor the user's own style changes the files.
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other", "savefig.dpi": 30}):
        exec(DRAW, {})
    for kind in ("svg", "pdf", "png"):
        first, second = ((tmp_path / name / f"figure.{kind}").read_bytes() for name in ("one", "two"))
        assert first == second
    written = (tmp_path / "one" / "figure.svg").read_text()
    assert "<dc:date>" not in written and str(tmp_path) not in written


def test_saving_leaves_nothing_half_written(tmp_path, monkeypatch):
    figure = style.new_figure(1, 1, "data")
    style.save(figure, tmp_path, "kept")
    before = (tmp_path / "kept.svg").read_bytes()

    def fail(*arguments, **keywords):
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(UserError, match=r"kept.svg cannot be written \(disk full\)"):
        style.save(figure, tmp_path, "kept")
    assert (tmp_path / "kept.svg").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.pdf", "kept.svg"]


def test_a_foreign_file_has_no_digest(tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text("<svg/>")
    with pytest.raises(UserError, match="was not saved by this project"):
        style.saved_digest(path)


def test_the_committed_costs_and_sheet_are_up_to_date(figure_6):
    drawn = {"figure-6-costs": figure_6, "shapes-contact-sheet": samples.shapes_sheet()}
    for name, figure in drawn.items():
        for kind in ("svg", "pdf"):
            path = PROJECT / f"figures/{name}.{kind}"
            assert style.saved_digest(path) == figure.data_digest
            assert path.stat().st_size < 300_000


def test_the_committed_curves_are_of_the_committed_records():
    notebook = json.loads((PROJECT / "notebooks/results.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", ())]
    parameters: dict = {}
    exec("".join(cells[0]["source"]), parameters)
    folder = PROJECT / parameters["results_dir"]
    for name, profile in (("figure-5-training", parameters["profile"]), ("many-passes", BESIDE)):
        digest = curves.figure_5(load_runs(folder, profile)).data_digest
        for kind in ("svg", "pdf"):
            assert style.saved_digest(PROJECT / f"figures/{name}.{kind}") == digest

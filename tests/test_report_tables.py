"""Tables 1 to 4: their text against the paper's and against arithmetic done here."""

from dataclasses import fields, replace

import pytest
from report_runs import write_run

from xnnlib.report.tables import Table, cost_table, operation_table, table_1, table_2, table_3, table_4
from xnnlib.spec import BLOCKS, FAN_OUTS, NetworkSpec, Recipe, recipe_for

PAPER_TABLE_1 = """
1 | 3×56×56 | Conv (3×3/1), batch norm, ReLU
1 | 16×56×56 | Block (Nₑ=4Nᵢ, F=3, S=1, ID=True)
1 | 16×56×56 | Block (Nₑ=4Nᵢ, F=3, S=1, ID=False)
1 | 24×56×56 | Block (Nₑ=4Nᵢ, F=3, S=1, ID=True)
1 | 24×56×56 | Block (Nₑ=4Nᵢ, F=3, S=2, ID=False)
2 | 40×28×28 | Block (Nₑ=4Nᵢ, F=3, S=1, ID=True)
1 | 40×28×28 | Block (Nₑ=4Nᵢ, F=3, S=2, ID=False)
3 | 80×14×14 | Block (Nₑ=4Nᵢ, F=3, S=1, ID=True)
1 | 80×14×14 | Block (Nₑ=4Nᵢ, F=3, S=2, ID=False)
4 | 160×7×7 | Block (Nₑ=4Nᵢ, F=3, S=1, ID=True)
1 | 160×7×7 | Block (Nₑ=4Nᵢ, F=3, S=1, ID=False)
1 | 320×7×7 | Conv (1×1/1), batch norm, ReLU
1 | 1280×7×7 | global average pool, linear, bias
1 | 1×100 | output
"""


def number(cell: str) -> float:
    return float(cell.replace(",", "") or 0)


def test_table_1_is_the_papers():
    rows = [tuple(line.split(" | ")) for line in PAPER_TABLE_1.strip().splitlines()]
    assert list(table_1(NetworkSpec()).rows) == rows
    assert table_1(NetworkSpec(num_classes=7)).rows[-1] == ("1", "1×7", "output")


SHOWN = [field.name for field in fields(Recipe) if field.name != "name"]  # which heads a column


@pytest.mark.parametrize("field", SHOWN)
def test_every_hyper_parameter_shows_in_table_2(tmp_path, field):
    recipe = Recipe("paper")
    old = getattr(recipe, field)
    others = {"weight_decay_on": "filters", "learning_rate_set": "epoch", "precision": "float32"}
    others |= {"momentum": 0.5, "crop": 28}
    other = others.get(field) or old * 2 or 0.5
    first, second = (
        table_2([write_run(tmp_path / str(i), "standard", recipe=replace(recipe, **{field: new}))])
        for i, new in enumerate((old, other))
    )
    (changed,) = set(second.rows) - set(first.rows)
    text = changed[1].replace(",", "")
    assert (text if isinstance(other, str) else float(text)) == other


def test_table_2_says_which_block_had_what_and_what_the_course_had(tmp_path):
    runs = [write_run(tmp_path, block, recipe=recipe_for("reference", block)) for block in BLOCKS]
    cells = {row[0]: row[1:] for row in table_2(runs).rows}
    assert cells["Learning rate, after the warm-up"] == ("0.2 (A, C), 0.15 (B)",) * 2
    assert "Label smoothing" not in cells  # which neither side uses
    ours = Recipe("paper", epochs=30, label_smoothing=0.1)
    cells = {row[0]: row[1:] for row in table_2([write_run(tmp_path / "ours", "se", recipe=ours)]).rows}
    assert cells["Epochs"] == ("30", "55") and cells["Label smoothing"] == ("0.1", "0")
    assert cells["Learning rate, after the warm-up"][1] == "0.15" and cells["Seeds"][0] == "one run, seed 0"
    several = table_2([write_run(tmp_path / "several", "se", seed) for seed in (0, 2)])
    assert several.rows[-1] == ("Seeds", "0, 2", "one run")


def test_table_2_says_how_large_depthwise_filters_start(tmp_path):
    runs = [
        write_run(tmp_path / fan_out, "se", network={"depthwise_fan_out": fan_out}) for fan_out in FAN_OUTS
    ]
    cells = [row[1] for run in runs for row in table_2([run]).rows if row[0].startswith("Fan-out")]
    assert cells == ["F × F", "channels × F × F"]


def test_table_3_of_one_seed_has_no_interval(tmp_path):
    table = table_3([write_run(tmp_path, block) for block in BLOCKS])
    assert table.columns == ("Block", "Training time (min)", "Top-1, last epoch (%)")
    assert table.rows == (
        ("A: inverted residual", "1.5", "40.2"),
        ("B: + squeeze-and-excite", "2.0", "43.4"),
        ("C: + conditional convolution", "3.0", "38.6"),
    )


def test_table_3_of_three_seeds_has_the_students_t_interval(tmp_path):
    # Standard deviation 1: 4.303 / sqrt(3) is 2.48.
    runs = [write_run(tmp_path, "se", seed, shift) for seed, shift in enumerate((-1.0, 0.0, 1.0))]
    assert table_3(runs).rows == (("B: + squeeze-and-excite", "2.0", "43.4 ± 2.5"),)


def test_long_runs_are_timed_in_hours_and_more_images_earn_a_digit(tmp_path):
    run = write_run(tmp_path, "standard", shift=0.04, val_images=5000)
    run.record["train_seconds"] = 4.5 * 3600
    table = table_3([run])
    assert table.columns[1] == "Training time (h)" and table.rows[0][1:] == ("4.5", "40.24")


def a_by_hand() -> tuple[int, int]:
    """MACs and coefficients of block A from the paper's rows: (repeat, Ni, No, size in, stride)."""
    macs, coefficients = 56 * 56 * 27 * 16, 27 * 16
    rows = [(1, 16, 16, 56, 1), (1, 16, 24, 56, 1), (1, 24, 24, 56, 1), (1, 24, 40, 56, 2)]
    rows += [(2, 40, 40, 28, 1), (1, 40, 80, 28, 2), (3, 80, 80, 14, 1), (1, 80, 160, 14, 2)]
    rows += [(4, 160, 160, 7, 1), (1, 160, 320, 7, 1)]
    for repeat, ni, no, size, stride in rows:
        ne, out = 4 * ni, (size // stride) ** 2
        macs += repeat * (size * size * ni * ne + out * 9 * ne + out * ne * no)
        coefficients += repeat * (ni * ne + 9 * ne + ne * no)
    return macs + 49 * 320 * 1280 + 1280 * 100, coefficients + 320 * 1280 + 1280 * 100


def test_operations_add_up_to_the_hand_count():
    *rows, last = operation_table(NetworkSpec()).rows
    assert (number(last[5]), number(last[6])) == a_by_hand()
    for measure in (3, 4):
        assert sum(number(row[2]) * number(row[measure]) for row in rows) == number(last[measure + 2])


def test_table_4_has_table_1s_rows_with_their_repeats_and_adds_up():
    *rows, last = table_4().rows
    assert [row[:3] for row in rows] == list(table_1(NetworkSpec()).rows[:-1])
    # Four blocks of 160 channels on 7 x 7 pixels: 1x1 convolutions to 640 and back, 3x3 on each of these.
    coefficients = 4 * (2 * 160 * 640 + 9 * 640)
    assert (rows[9][3], rows[9][6]) == (f"{49 * coefficients / 1e6:.2f}", f"{coefficients / 1e3:.1f}")
    assert (last[3], last[6]) == (f"{a_by_hand()[0] / 1e6:,.2f}", f"{a_by_hand()[1] / 1e3:,.1f}")
    for column in range(3, 9):
        total = sum(number(row[column]) for row in rows)
        assert total == pytest.approx(number(last[column]), abs=0.5)


def test_cost_table_adds_up_and_compares():
    *kinds, total, ratio = cost_table().rows
    for column in range(1, 7):
        assert sum(number(row[column]) for row in kinds) == pytest.approx(number(total[column]), abs=0.02)
    assert kinds[0][1] == kinds[0][2] == kinds[0][3]  # the convolutions of the blocks are the same
    assert total[1] == f"{a_by_hand()[0] / 1e6:.2f}" and ratio[1] == "1.00"
    assert number(ratio[6]) == pytest.approx(number(total[6]) / number(total[4]), abs=0.01)


def test_table_prints_aligned_and_escapes_html():
    table = Table(("a", "number"), "lr", (("x < y", "1"), "the last < two", ("z", "1,000")))
    assert str(table) == "a      number\n-----  ------\nx < y       1\nthe last < two\nz       1,000"
    html = table._repr_html_()
    assert '<td colspan="1" style="text-align: left">x &lt; y</td>' in html
    assert '<tr><td colspan="2" style="text-align: left">the last &lt; two</td></tr>' in html


def test_columns_of_a_group_stand_under_its_name():
    table = Table(("", "MACs: A", "MACs: B"), "lrr", (("x", "1", "2"),))
    assert table.head() == [[("", 1), ("MACs", 2)], [("", 1), ("A", 1), ("B", 1)]]
    assert '<th colspan="2" style="text-align: center">MACs</th></tr>' in table._repr_html_()
    assert Table(("a", "b"), "lr", ()).head() == [[("a", 1), ("b", 1)]]

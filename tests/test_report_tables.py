"""Tables 1 to 4: their text against the paper's and against arithmetic done here."""

from dataclasses import fields, replace

import pytest
from report_runs import write_run

from xnnlib.report.tables import Table, cost_table, fit_table, table_1, table_2, table_3, table_4
from xnnlib.spec import BLOCKS, NetworkSpec, Recipe, recipe_for

PAPER_TABLE_1 = """
1 | 3×56×56 | Conv (3×3/1), batch norm, ReLU
1 | 16×56×56 | Block (Ne=4Ni, F=3, S=1, ID=True)
1 | 16×56×56 | Block (Ne=4Ni, F=3, S=1, ID=False)
1 | 24×56×56 | Block (Ne=4Ni, F=3, S=1, ID=True)
1 | 24×56×56 | Block (Ne=4Ni, F=3, S=2, ID=False)
2 | 40×28×28 | Block (Ne=4Ni, F=3, S=1, ID=True)
1 | 40×28×28 | Block (Ne=4Ni, F=3, S=2, ID=False)
3 | 80×14×14 | Block (Ne=4Ni, F=3, S=1, ID=True)
1 | 80×14×14 | Block (Ne=4Ni, F=3, S=2, ID=False)
4 | 160×7×7 | Block (Ne=4Ni, F=3, S=1, ID=True)
1 | 160×7×7 | Block (Ne=4Ni, F=3, S=1, ID=False)
1 | 320×7×7 | Conv (1×1/1), batch norm, ReLU
1 | 1280×7×7 | global average pool, linear, bias
1 | 1×100 | output
"""


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def value(table: Table, title: str) -> str:
    return next(text for name, text in table.rows if name == title)


def test_table_1_is_the_papers():
    rows = [tuple(line.split(" | ")) for line in PAPER_TABLE_1.strip().splitlines()]
    assert list(table_1(NetworkSpec()).rows) == rows


def test_table_1_follows_the_classes():
    assert table_1(NetworkSpec(num_classes=7)).rows[-1] == ("1", "1×7", "output")


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_every_hyper_parameter_shows_in_table_2(tmp_path, field):
    recipe = Recipe("paper")
    old = getattr(recipe, field)
    others = {"weight_decay_on": "filters", "learning_rate_set": "epoch", "precision": "float32"}
    others |= {"batch_norm": "per_process", "momentum": 0.5}
    other = others.get(field) or (f"other {old}" if isinstance(old, str) else old * 2 or 0.5)
    runs = [
        write_run(tmp_path / str(i), "standard", recipe=replace(recipe, **{field: new}), device="cuda")
        for i, new in enumerate((old, other))
    ]
    first, second = (table_2([run]) for run in runs)
    changed = [(a, b) for a, b in zip(first.rows, second.rows, strict=True) if a != b]
    assert len(changed) == 1
    text = changed[0][1][1].replace(",", "")
    assert (text if isinstance(other, str) else float(text)) == other


def test_table_2_says_which_block_had_what(tmp_path):
    runs = [write_run(tmp_path, block, recipe=recipe_for("reference", block)) for block in BLOCKS]
    table = table_2(runs)
    assert value(table, "Learning rate, after the warm-up") == "0.2 (A, C), 0.15 (B)"
    assert value(table, "Weight decay") == "5e-5"
    assert value(table, "Weight decay on") == "all"
    assert value(table, "Learning rate set every") == "epoch"


def test_table_2_shows_the_precision_that_ran(tmp_path):
    float32 = replace(recipe_for("paper", "standard"), precision="float32")
    cpu = write_run(tmp_path / "cpu", "standard", recipe=float32)
    cuda = write_run(tmp_path / "cuda", "standard", device="cuda")
    title = "Precision of convolutions and products"
    assert value(table_2([cpu]), title) == "float32"
    assert value(table_2([cuda]), title) == "bfloat16"


def test_table_3_of_one_seed_has_no_interval(tmp_path):
    table = table_3([write_run(tmp_path, block) for block in BLOCKS])
    assert table.rows == (
        ("A: inverted residual", "1", "1.5", "40.2", "41.0", "2"),
        ("B: + squeeze-and-excite", "1", "2.0", "43.4", "43.4", "3"),
        ("C: + conditional convolution", "1", "3.0", "38.6", "38.6", "3"),
    )


def test_the_fit_is_the_last_epochs_two_sides(tmp_path):
    table = fit_table([write_run(tmp_path, block) for block in BLOCKS])
    assert table.rows[1] == ("B: + squeeze-and-excite", "41.5", "43.4", "\N{MINUS SIGN}1.9", "1.50", "1.70")
    seeds = fit_table([write_run(tmp_path, "standard", seed, shift) for seed, shift in enumerate((0.0, 2.0))])
    assert seeds.rows[0][2:4] == ("41.2 ± 12.7", "+0.3 ± 12.7")  # 12.706 * sqrt(2) / sqrt(2)


def test_table_3_of_three_seeds_has_the_students_t_interval(tmp_path):
    shifts = (-1.0, 0.0, 1.0)  # standard deviation 1
    runs = [write_run(tmp_path, "se", seed, shift) for seed, shift in enumerate(shifts)]
    half_width = 4.303 * 1.0 / 3**0.5
    assert f"{half_width:.1f}" == "2.5"
    rows = table_3(runs).rows
    assert rows[1] == ("B: + squeeze-and-excite", "3", "2.0 ± 0.0", "43.4 ± 2.5", "43.4 ± 2.5", "3, 3, 3")
    assert rows[0][1:] == ("0", "not run", "not run", "not run", "not run")


def test_more_validation_images_earn_a_digit(tmp_path):
    run = write_run(tmp_path, "standard", shift=0.04, val_images=5000)
    assert table_3([run]).rows[0][3] == "40.24"


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


def test_table_4_totals():
    table = table_4(NetworkSpec())
    *rows, last = table.rows
    assert (number(last[5]), number(last[6])) == a_by_hand()
    assert sum(number(row[5]) for row in rows) == number(last[5])
    assert sum(number(row[6]) for row in rows) == number(last[6])
    for row in rows:
        assert number(row[2]) * number(row[3]) == number(row[5])
        assert number(row[2]) * number(row[4]) == number(row[6])


def test_cost_table_adds_up_and_compares():
    table = cost_table(100)
    kinds, total, ratio = table.rows[:-2], table.rows[-2], table.rows[-1]
    for column in range(1, 7):
        assert sum(number(row[column]) for row in kinds) == number(total[column])
    assert (number(total[1]), number(total[4])) == a_by_hand()
    convolutions = kinds[0]
    assert convolutions[1] == convolutions[2] == convolutions[3]
    assert convolutions[4] == convolutions[5] == convolutions[6]
    assert ratio[1] == "1.00" and float(ratio[6]) == round(number(total[6]) / number(total[4]), 2)


def test_a_table_prints_aligned_and_escapes_html():
    table = Table(("a", "number"), "lr", (("x < y", "1"), ("z", "1,000")))
    assert str(table) == "a      number\n-----  ------\nx < y       1\nz       1,000"
    assert repr(table) == str(table)
    assert '<td style="text-align: left">x &lt; y</td>' in table._repr_html_()


def test_a_heading_stands_over_all_columns():
    table = Table(("a", "b"), "lr", ("the first < two", ("1", "2"), "the last", ("3", "4")))
    assert str(table) == "a  b\n-  -\nthe first < two\n1  2\nthe last\n3  4"
    assert '<tr><td colspan="2" style="text-align: left">the first &lt; two</td></tr>' in table._repr_html_()


def test_a_ragged_table_is_refused():
    with pytest.raises(ValueError, match="differ in length"):
        Table(("a", "b"), "lr", (("only one",),))

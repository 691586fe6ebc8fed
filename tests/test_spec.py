import pytest

from xnnlib.errors import UserError
from xnnlib.spec import BLOCKS, LEVELS, RECIPES, TABLE_1, NetworkSpec, recipe_for


def test_every_row_reads_what_the_row_before_it_wrote():
    for row, following in zip(TABLE_1, TABLE_1[1:], strict=False):
        assert following.in_channels == row.out_channels
        assert following.size == row.size // row.stride


def test_rows_repeat_only_where_shapes_allow_it():
    for row in TABLE_1:
        if row.repeat > 1:
            assert row.identity


def test_identity_marks_are_those_of_the_paper():
    blocks = [row for row in TABLE_1 if row.operation == "block"]
    assert [row.identity for row in blocks] == [
        True, False, True, False, True, False, True, False, True, False,
    ]  # fmt: skip


def test_levels_hold_every_input_width_of_a_block():
    widths = {row.in_channels for row in TABLE_1 if row.operation == "block"}
    assert widths | {320} == {width for level in LEVELS for width in level}


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"block": "sse"}, "block 'sse' is unknown; choose one of standard, se, se_cond"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"experts": 2.5}, "experts is 2.5"),
        ({"reduction": True}, "reduction is True"),
    ],
)
def test_a_wrong_size_or_block_is_one_line(arguments, words):
    with pytest.raises(UserError, match=words) as error:
        NetworkSpec(**arguments)
    assert "\n" not in str(error.value)


def test_scaling_to_the_same_budget_changes_nothing():
    for recipe in RECIPES.values():
        assert recipe.scaled(recipe.epochs, recipe.batch_size, recipe.crop) == recipe


def test_scaling_keeps_the_shape_of_the_routine():
    recipe = RECIPES["paper"].scaled(epochs=11, batch_size=64, crop=28)
    assert recipe.warmup_epochs == pytest.approx(1.0)
    assert recipe.peak_learning_rate == pytest.approx(0.05)
    assert recipe.resize == 32


@pytest.mark.parametrize("budget", [(0, 64, 56), (8, -1, 56), (8, 64, 7), ("8", 64, 56)])
def test_an_impossible_budget_is_refused(budget):
    with pytest.raises(UserError):
        RECIPES["paper"].scaled(*budget)


def test_the_reference_peak_of_block_b_is_lower():
    peaks = {block: recipe_for("reference", block).peak_learning_rate for block in BLOCKS}
    assert peaks == {"standard": 0.2, "se": 0.15, "se_cond": 0.2}


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'paper'"):
        recipe_for("papr", "se")

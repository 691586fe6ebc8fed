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


def test_a_recipe_is_changed_by_name():
    recipe = RECIPES["paper"].changed("label_smoothing=0.1, weight_decay_on = filters,batch_size=128")
    assert (recipe.label_smoothing, recipe.weight_decay_on, recipe.batch_size) == (0.1, "filters", 128)
    assert RECIPES["paper"].changed("") == RECIPES["paper"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ("smoothing=0.1", "choose one of .*label_smoothing"),
        ("label_smoothing=much", "gives no float"),
        ("epochs=1.5", "gives no int"),
        ("weight_decay_on=some", "choose one of all, filters"),
    ],
)
def test_a_change_that_is_none_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        RECIPES["paper"].changed(changes)


def test_the_table_is_varied_as_section_6_asks():
    assert NetworkSpec().stages == TABLE_1
    spec = NetworkSpec(filter_size=5, expansion=6, width=0.75)
    assert [stage.out_channels for stage in spec.stages] == [
        *(12, 12, 20, 20, 32, 32, 60, 60, 120, 120, 240, 960, 0)
    ]
    blocks = [stage for stage in spec.stages if stage.operation == "block"]
    assert {(stage.filter_size, stage.expansion) for stage in blocks} == {(5, 6)}
    assert spec.stages[0].in_channels == 3 and spec.stages[0].filter_size == 3
    for stage, following in zip(spec.stages, spec.stages[1:], strict=False):
        assert stage.out_channels == following.in_channels
    assert [stage.identity for stage in spec.stages] == [stage.identity for stage in TABLE_1]


@pytest.mark.parametrize("variation", [{"filter_size": 4}, {"expansion": 0}, {"width": 0.0}])
def test_a_variation_that_is_none_is_refused(variation):
    with pytest.raises(UserError):
        NetworkSpec(**variation)

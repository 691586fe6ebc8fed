import pytest

from xnnlib.errors import UserError
from xnnlib.spec import BLOCKS, LEVELS, RECIPES, TABLE_1, NetworkSpec, Recipe, recipe_for


def test_levels_are_the_paper_s():
    assert NetworkSpec().levels() == (0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 0, 0)
    # Of the table's widths, whatever the network's own are.
    assert NetworkSpec(width=0.25).levels() == NetworkSpec().levels()
    widths = {row.out_channels for row in TABLE_1 if row.operation == "block"}
    assert widths == {width for level in LEVELS for width in level}


def test_table_is_varied_as_section_6_asks():
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


@pytest.mark.parametrize(
    "make, values, line",
    [
        (NetworkSpec, {"expert": 2}, "parameter 'expert' is unknown; .* Did you mean 'experts'?"),
        (NetworkSpec, {"experts": 2.5}, "experts is 2.5; it must be an integer."),
        (NetworkSpec, {"width": 0.0}, "width is 0.0; it must be above 0."),
        (Recipe, {"resize": 48}, "crop is 56, larger than resize, 48; make it at most that."),
        (
            Recipe,
            {"weight_decay_on": "none"},
            "weight_decay_on 'none' is unknown; choose one of all, filters.",
        ),
        (
            Recipe,
            {"peak_learning_rate": float("nan")},
            "peak_learning_rate is nan; it must be a finite number.",
        ),
    ],
    ids=str,
)
def test_impossible_value_is_one_line(make, values, line):
    with pytest.raises(UserError, match=f"^{line}$".replace("?$", "[?]$")):
        make("se", **values)


def test_value_given_by_position_is_named():
    with pytest.raises(UserError, match="^num_classes is 0;"):
        NetworkSpec("se", 0)
    with pytest.raises(UserError, match="^block is 'se'; it must be given once.$"):
        NetworkSpec("se", block="se")


def test_recipe_scaled_to_its_own_budget_is_itself():
    for recipe in RECIPES.values():
        assert recipe.scaled(recipe.epochs, recipe.batch_size, recipe.crop) == recipe


def test_scaling_keeps_the_shape_of_the_routine():
    recipe = RECIPES["paper"].scaled(epochs=10, batch_size=64, crop=28)
    assert recipe.warmup_epochs == pytest.approx(1.0)
    rates = (recipe.start_learning_rate, recipe.peak_learning_rate, recipe.final_learning_rate)
    assert rates == pytest.approx((0.0005, 0.05, 0.00005))
    assert recipe.resize == 32


def test_reference_peak_of_block_b_is_lower():
    peaks = {block: recipe_for("reference", block).peak_learning_rate for block in BLOCKS}
    assert peaks == {"standard": 0.2, "se": 0.15, "se_cond": 0.2}

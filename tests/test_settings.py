import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from xnnlib.data.sources import FILE_SOURCES
from xnnlib.errors import UserError
from xnnlib.settings import (
    NAMES,
    SOURCES,
    Settings,
    from_arguments,
    from_mapping,
    from_notebook,
    refuse_unknown,
    require_text,
)

PROJECT = Path(__file__).parents[1]
PROFILES = sorted(
    path
    for path in (PROJECT / "profiles").glob("*.yaml")
    if path.stem not in ("runs", "campaign", "campaign-small")
)


def parameters_cell() -> dict:
    """The names and values that the parameters cell of the training notebook sets."""
    notebook = json.loads((PROJECT / "notebooks" / "train.ipynb").read_text(encoding="utf-8"))
    (cell,) = [cell for cell in notebook["cells"] if cell["metadata"].get("tags") == ["parameters"]]
    values: dict = {}
    exec("".join(cell["source"]), {}, values)
    return values


def test_the_notebook_sets_every_parameter_and_no_other():
    assert sorted(parameters_cell()) == sorted(NAMES)


def test_the_notebook_s_values_become_settings():
    values = parameters_cell() | {"block": "se", "epochs": 3}
    asked = from_notebook(values)
    assert asked == Settings(**values)
    assert (asked.network.block, asked.routine.epochs) == ("se", 3)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_each_profile_is_known_in_every_name(path):
    assert from_mapping(yaml.safe_load(path.read_text(encoding="utf-8")), str(path)).profile == path.stem


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_sets_what_the_notebook_would_set_otherwise(path):
    """Or its data would be packed by the settings' defaults and trained on by the notebook's."""
    own = {"profile", "run_dir", *yaml.safe_load(path.read_text(encoding="utf-8"))}
    defaults = Settings()
    assert {name for name, value in parameters_cell().items() if value != getattr(defaults, name)} <= own


def test_the_data_sources_are_those_that_can_be_loaded():
    assert SOURCES == ("shapes", *FILE_SOURCES)


@pytest.mark.parametrize(
    "values, line",
    [
        ({"epoch": 3}, "profiles/x.yaml: parameter 'epoch' is unknown; .* Did you mean 'epochs'?"),
        ({"epochs": "3"}, "epochs is '3'; it must be a whole number."),
        ({"epochs": 2.0}, "epochs is 2.0; it must be a whole number."),
        ({"epochs": True}, "epochs is True; it must be a whole number."),
        ({"epochs": None}, "epochs is None; it must be a whole number."),
        ({"epochs": 0}, "epochs is 0; it must be at least 1, .*"),
        ({"seed": 2**70}, f"seed is {2**70}; it must be at least 0, .*"),
        ({"seed": -1}, "seed is -1; it must be at least 0, .*"),
        ({"width": float("nan")}, "width is nan; it must be at least 0.05, .*"),
        ({"width": float("inf")}, "width is inf; it must be at least 0.05, .*"),
        ({"hold_out": 1}, "hold_out is 1; it must be true or false."),
        ({"block": "SE"}, "block 'SE' is unknown; .*"),
        ({"dataset": "imagenet"}, "dataset 'imagenet' is unknown; .* Did you mean 'imagenet64'?"),
        ({"recipe": "papers"}, "recipe 'papers' is unknown; .* Did you mean 'paper'?"),
        ({"recipe_changes": "weight_decays=1"}, "recipe_changes 'weight_decays' is unknown; .*"),
        ({"recipe_changes": "weight_decay=nan"}, "weight_decay is nan; it must be from 0 to 1."),
        (
            {"recipe_changes": "epochs=3"},
            "recipe_changes sets epochs, which follows from the other parameters.",
        ),
        ({"recipe_changes": "momentum=2"}, "momentum is 2.0; it must be from 0 to 1."),
        ({"filter_size": 4}, "filter_size is 4; it must be odd."),
        ([1], "profiles/x.yaml is no list of .*"),
        (None, "profiles/x.yaml is no list of .*"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line(values, line):
    with pytest.raises(UserError, match=f"^{line}$".replace("?$", "[?]$")):
        from_mapping(values, "profiles/x.yaml")


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
)


@hypothesis_settings(derandomize=True, deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), ANYTHING, max_size=4))
def test_any_profile_is_taken_as_it_is_or_refused(values):
    try:
        asked = from_mapping(values, "profile")
    except UserError:
        return
    assert all(getattr(asked, name) == value for name, value in values.items())


def test_a_parameter_that_papermill_adds_and_nobody_knows_is_refused():
    injected = '# Parameters\nepochs = 3\nrun_dir = "a = b"\nlearning_rate = 1\n'
    with pytest.raises(UserError, match="parameter 'learning_rate' is unknown"):
        refuse_unknown({"In": ["", "profile = 1", injected]}, NAMES)
    refuse_unknown({"In": ["learning_rate = 1"]}, NAMES)


def test_a_drawing_notebook_takes_its_own_parameters_and_no_other():
    require_text({"In": ['# Parameters\nfigures_dir = "x"'], "figures_dir": "x"}, "figures_dir")
    with pytest.raises(UserError, match="parameter 'figure_dir' is unknown; .* Did you mean 'figures_dir'?"):
        require_text({"In": ['# Parameters\nfigure_dir = "x"'], "figures_dir": "figures"}, "figures_dir")
    with pytest.raises(UserError, match="figures_dir is 3; it must be text."):
        require_text({"In": ["# Parameters\nfigures_dir = 3"], "figures_dir": 3}, "figures_dir")


def test_the_command_line_asks_for_the_same_as_the_settings():
    asked = Settings(block="se", hold_out=True, data_root="-odd name", width=0.75, devices=2, run_dir="x")
    again = from_arguments(asked.arguments(), "train", "")
    assert again == replace(asked, devices=1)


def test_an_option_that_nobody_knows_is_refused():
    with pytest.raises(UserError, match="option '--epoch' is unknown; .* Did you mean '--epochs'?"):
        from_arguments(["--run-dir", "x", "--epoch=3"], "train", "")


def test_the_record_gets_every_setting_but_the_places():
    asked = Settings(data_root="/data", run_dir="/runs/x")
    assert set(asked.recorded()) == set(NAMES) - {"data_root", "run_dir", "devices"}
    assert "/" not in json.dumps(asked.recorded())

import json
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from report_runs import example

from xnnlib import records
from xnnlib.data.images import Dataset
from xnnlib.errors import UserError
from xnnlib.settings import NAMES, Settings, from_arguments, from_mapping, from_notebook, require_text
from xnnlib.spec import BLOCKS, DATASETS, RECIPES, ROUTINGS

PROJECT = Path(__file__).parents[1]


def parameters_cell() -> dict:
    """The names and values that the parameters cell of the training notebook sets."""
    notebook = json.loads((PROJECT / "notebooks" / "train.ipynb").read_text(encoding="utf-8"))
    (cell,) = [cell for cell in notebook["cells"] if cell["metadata"].get("tags") == ["parameters"]]
    values: dict = {}
    exec("".join(cell["source"]), {}, values)
    return values


def test_notebook_s_parameters_are_the_settings_with_their_defaults():
    assert parameters_cell() == Settings().model_dump()


@pytest.mark.parametrize(
    "values, line",
    [
        ({"epoch": 3}, "parameter 'epoch' is unknown; .* Did you mean 'epochs'?"),
        ({"epochs": "3"}, "epochs is '3'; it must be an integer."),
        ({"epochs": 0}, "epochs is 0; it must be at least 1."),
        ({"width": 0.01}, "width is 0.01; it must be at least 0.05."),
        ({"hold_out": 1}, "hold_out is 1; it must be true or false."),
        ({"conditional_from": 9}, "conditional_from is 9; it must be at most 5."),
        ({"recipe_changes": {"weight_decays": 1}}, "recipe_changes: 'weight_decays' is unknown; .*"),
        ({"recipe_changes": {"momentum": 2}}, "recipe_changes: momentum is 2; it must be at most 1."),
        ({"recipe_changes": {"epochs": 3}}, "recipe_changes sets epochs, which follows from the other .*"),
        ({"recipe_changes": "{momentum: 0.5"}, "recipe_changes is '{momentum: 0.5'; it must be a mapping .*"),
        ({"profile": "mine\n"}, r"profile is 'mine\\n'; it must be one line of printable text .*"),
        ({"run_dir": ""}, "run_dir is ''; it must be one line .*"),
        ({2: 3}, "parameter '2' is unknown; .*"),
    ],
    ids=repr,
)
def test_impossible_profile_is_one_line(values, line):
    with pytest.raises(UserError, match=f"^profiles/x.yaml: {line}$".replace("?$", "[?]$")) as error:
        from_mapping(values, "profiles/x.yaml")
    assert "\n" not in str(error.value)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=8), SCALARS, max_size=2)


@hypothesis_settings(derandomize=True, deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), ANYTHING, max_size=4))
def test_any_profile_is_taken_as_it_is_or_refused(values):
    try:
        asked = from_mapping(values, "profile")
    except UserError as error:
        assert "\n" not in str(error)
        return
    if values.get("recipe_changes") == "":  # as older records say that nothing was changed
        values = values | {"recipe_changes": {}}
    assert all(getattr(asked, name) == value for name, value in values.items())


COUNTS = st.integers(0, 3) | st.integers(-(2**64), 2**64)
NUMBERS = st.floats(0, 1) | st.floats() | st.integers(-1, 10)
VALUES = {
    "profile": st.text(max_size=6) | st.sampled_from(["mine", "mine\n", "naïve 犬", "1_2"]),
    "block": st.sampled_from(BLOCKS),
    "recipe": st.sampled_from(list(RECIPES)),
    "recipe_changes": st.dictionaries(
        st.sampled_from(list(RECIPES["paper"].__dataclass_fields__)),
        NUMBERS | st.sampled_from(["epoch", "filters", "float32"]),
        max_size=2,
    ),
    "dataset": st.sampled_from(DATASETS),
    "data_root": st.text(max_size=4),
    "run_dir": st.text(max_size=4),
    "routing": st.sampled_from(ROUTINGS),
    "hold_out": st.booleans(),
    "width": NUMBERS,
    "checkpoint_seconds": NUMBERS,
}
VALUES |= {name: COUNTS for name in NAMES if name not in VALUES}


@hypothesis_settings(derandomize=True, deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(NAMES), max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
))  # fmt: skip
def test_whatever_settings_accept_the_record_accepts(tmp_path_factory, values):
    """A run is not lost to a value that only its own record, when it has ended, refuses."""
    try:
        asked = Settings(**values)
    except UserError:
        return
    data = Dataset(asked.dataset, ["a"] * min(asked.num_classes, 9), range(80), range(40), "f" * 64)
    record, rows = example()
    record |= records.identity(
        asked.network, asked.routine, data, asked.seed, asked.profile, asked.recorded()
    )
    folder = tmp_path_factory.mktemp("run")
    records.save_record(folder, record)
    records.save_epochs(folder, rows)
    run = records.load_run(folder)
    assert (run.spec.sizes(), run.recipe) == (asked.network.sizes(), asked.routine)
    records.require_same_run(folder, run.record, record)


CHANGES = {"label_smoothing": 0.1, "warmup_epochs": 1}


@pytest.mark.parametrize("given", [CHANGES, json.dumps(CHANGES)], ids=["mapping", "text"])
def test_recipe_is_changed_by_name_after_it_is_scaled(given):
    asked, plain = Settings(recipe_changes=given), Settings()
    assert (asked.routine.label_smoothing, asked.routine.warmup_epochs) == (0.1, 1.0)
    assert asked.routine.peak_learning_rate == plain.routine.peak_learning_rate
    assert asked.recorded()["recipe_changes"] == CHANGES


@pytest.mark.parametrize("given, meant", [("true", True), ("False", False), (True, True)])
def test_flag_is_understood_as_papermill_gives_it(given, meant):
    assert from_notebook(parameters_cell() | {"hold_out": given}).hold_out is meant


def test_unknown_parameter_of_the_notebook_is_refused():
    imports = {"json": json, "Path": Path, "chain": chain, "parameters_cell": parameters_cell}
    own = {"In": [""], "Out": {}, "exit": 1, "quit": 1, "open": open, "get_ipython": print, "_i1": ""}
    known = parameters_cell() | imports | own
    assert from_notebook(known) == Settings()
    with pytest.raises(UserError, match="parameter 'learning_rate' is unknown; choose one of profile, "):
        from_notebook(known | {"learning_rate": 1e-3})


def test_drawing_notebook_takes_its_own_parameters_and_no_other():
    require_text({"In": [], "figures_dir": "x"}, "figures_dir")
    with pytest.raises(UserError, match="parameter 'figure_dir' is unknown; .* Did you mean 'figures_dir'?"):
        require_text({"figure_dir": "x", "figures_dir": "figures"}, "figures_dir")
    with pytest.raises(UserError, match="figures_dir is 3; it must be text."):
        require_text({"figures_dir": 3}, "figures_dir")


def test_command_line_asks_for_the_same_as_the_settings():
    values = {"block": "se", "data_root": "-odd name", "width": 0.75, "seed": 3, "run_dir": "x"}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    assert from_arguments([*options, "--hold-out"], "", "") == Settings(hold_out=True, **values)


@pytest.mark.parametrize(
    "option, told",
    [
        ("--epoch=3", "option '--epoch' is unknown; .* Did you mean '--epochs'?"),
        ("--epochs=few", "argument --epochs: invalid int value: 'few'; see --help."),
        ("--hold-out=yes", "argument --hold-out: ignored explicit argument 'yes'; see --help."),
    ],
)
def test_option_that_is_unknown_or_of_another_type_is_one_line(option, told):
    with pytest.raises(UserError, match=told):
        from_arguments(["--run-dir", "x", option], "train", "")


def test_record_gets_every_setting_but_the_places():
    recorded = Settings(data_root="/data", run_dir="/runs/x").recorded()
    assert set(recorded) == set(NAMES) - {"data_root", "run_dir"}

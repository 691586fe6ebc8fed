"""The one list of runs, and what is said of mistakes in it."""

import re
from pathlib import Path

import pytest

from xnnlib.errors import UserError
from xnnlib.profiles import load_profile, load_profiles, profile_names

ROOT = Path(__file__).resolve().parents[1]
BASE = "dataset: shapes\nnum_classes: 10\nepochs: 2\nrecipe_changes: {momentum: 0.8}\n"
RUNS = """\
plain: {blocks: [standard, se], seeds: [0, 3]}
changed:
  base: plain
  blocks: [se]
  seeds: [0]
  parameters: {width: 0.5, recipe_changes: {label_smoothing: 0.1}}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/runs.yaml").write_text(RUNS)
    (tmp_path / "profiles/plain.yaml").write_text(BASE)
    return tmp_path


def test_profile_has_every_block_with_every_seed(project):
    profile = load_profile(project, "plain")
    assert profile.run_names() == ["standard-seed0", "standard-seed3", "se-seed0", "se-seed3"]
    settings = profile.settings("se", 3)
    assert (settings.profile, settings.block, settings.seed, settings.epochs) == ("plain", "se", 3, 2)
    assert Path(settings.run_dir) == Path("results/plain/se-seed3")


def test_experiment_is_its_base_with_changes(project):
    values = load_profiles(project)["changed"].values()
    assert values == {
        "profile": "changed",
        "dataset": "shapes",
        "num_classes": 10,
        "epochs": 2,
        "width": 0.5,
        "recipe_changes": {"momentum": 0.8, "label_smoothing": 0.1},
    }


def test_profiles_of_this_project_are_those_of_its_records():
    profiles = load_profiles(ROOT)
    committed = {path.name for path in (ROOT / "results").iterdir() if path.name != "quick"}
    for name in committed & profiles.keys():
        trained = {path.parent.name for path in (ROOT / "results" / name).glob("*/record.json")}
        assert trained <= set(profiles[name].run_names())
    assert {"small", "small-recipe"} <= committed & profiles.keys()


@pytest.mark.parametrize(
    "file, text, told",
    [
        ("plain", "epochs:\t2\n", "profiles/plain.yaml: line 1: "),
        ("plain", "- epochs\n", "profiles/plain.yaml: it is no list"),
        ("plain", "", "profiles/plain.yaml: it is no list"),
        ("plain", "epoch: 2\n", "profiles/plain.yaml: parameter 'epoch' is unknown"),
        ("plain", "epochs: two\n", "profiles/plain.yaml: epochs"),
        ("plain", "epochs: 2\nepochs: 3\n", "profiles/plain.yaml: line 2: 'epochs' stands here twice"),
        ("plain", "block: se\n", "profiles/plain.yaml: block follows from profiles/runs.yaml; remove it"),
        ("plain", "profile: other\n", "profiles/plain.yaml: profile is 'other'; it must be 'plain'"),
        ("plain", b"dataset: \xff\n", "profiles/plain.yaml: it is not UTF-8"),
        ("plain", None, "profiles/plain.yaml is missing"),
        ("runs", None, "profiles/runs.yaml is missing"),
        ("runs", "plain:\t{}\n", "profiles/runs.yaml: line 1: "),
        ("runs", "plain:\n", "profiles/runs.yaml: plain is None"),
        ("runs", "other: {blocks: [se], seeds: [0]}\n", "profile 'plain' is unknown"),
        ("runs", "plain: {blocks: [sse], seeds: [0]}\n", "profiles/runs.yaml: plain: blocks.0: "),
        ("runs", "plain: {blocks: [], seeds: [0]}\n", "plain: blocks: it must name at least one"),
        (
            "runs",
            "plain: {blocks: [se], seeds: [0, 0]}\n",
            "plain: seeds: it must name at least one, and none twice",
        ),
        ("runs", "plain: {blocks: [se], seeds: [-1]}\n", "profiles/runs.yaml: plain: seeds.0: "),
        ("runs", 'plain: {blocks: [se], seeds: ["0"]}\n', "profiles/runs.yaml: plain: seeds.0: "),
        ("runs", "plain: {blocks: [se]}\n", "profiles/runs.yaml: plain: seeds: field required"),
        ("runs", "plain: {blocks: [se], seed: [0], seeds: [0]}\n", "Did you mean 'seeds'?"),
        ("runs", "plain: {1: 2, blocks: [se], seeds: [0]}\n", "profiles/runs.yaml: plain has a name"),
        ("runs", "plain: {blocks: [se], seeds: [0], parameters: {widht: 1}}\n", "Did you mean 'width'?"),
        ("runs", "plain: {blocks: [se], seeds: [0], parameters: {seed: 1}}\n", "seed follows from"),
    ],
    ids=str,
)
def test_mistakes_are_one_line_that_names_the_file(project, file, text, told):
    path = project / f"profiles/{file}.yaml"
    path.unlink()
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        load_profile(project, "plain")
    assert str(error.value).startswith("profiles/") and "\n" not in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "name, told",
    [("1_2", "12 is not text to YAML"), ("my plain", "'my plain' does not"), ("../x", "'../x' does not")],
)
def test_name_that_makes_no_folder_is_refused_and_leaves_the_others(project, name, told):
    with open(project / "profiles/runs.yaml", "a") as runs:
        runs.write(f"{name}: {{base: plain, blocks: [se], seeds: [0]}}\n")
    *others, last = profile_names(project)
    assert [load_profile(project, other).name for other in others] == ["plain", "changed"]
    with pytest.raises(UserError, match=f"^profiles/runs.yaml: the name {re.escape(told)}"):
        load_profile(project, last)

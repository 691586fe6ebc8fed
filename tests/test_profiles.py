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
study/changed:
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


@pytest.mark.parametrize("changes", ["{momentum: 0.8}", "'{momentum: 0.8}'"])
def test_experiment_is_its_base_with_changes(project, changes):
    (project / "profiles/plain.yaml").write_text(BASE.replace("{momentum: 0.8}", changes))
    changed = load_profiles(project)["study/changed"]
    assert changed.settings("se", 0).run_dir == "results/study/changed/se-seed0"
    assert changed.values() == {
        "profile": "study/changed",
        "dataset": "shapes",
        "num_classes": 10,
        "epochs": 2,
        "width": 0.5,
        "recipe_changes": {"momentum": 0.8, "label_smoothing": 0.1},
    }


def test_the_base_of_an_experiment_may_be_another_experiment(project):
    with open(project / "profiles/runs.yaml", "a") as runs:
        runs.write("more: {base: study/changed, blocks: [se], seeds: [1], parameters: {epochs: 3}}\n")
    settings = load_profile(project, "more").settings("se", 1)
    assert (settings.profile, settings.num_classes, settings.epochs, settings.width) == ("more", 10, 3, 0.5)
    assert settings.recipe_changes == {"momentum": 0.8, "label_smoothing": 0.1}


def test_profiles_of_this_project_are_those_of_its_records():
    profiles, trained = load_profiles(ROOT), set()
    for record in (ROOT / "results").rglob("record.json"):
        profile = record.parents[1].relative_to(ROOT / "results").as_posix()
        if profile in profiles:
            assert record.parent.name in profiles[profile].run_names()
            trained.add(profile)
    assert {"small", "small-recipe"} <= trained


def runs(entry: str) -> tuple[str, str]:
    """profiles/runs.yaml with this entry for the profile plain."""
    return "runs", f"plain: {{{entry}}}\n"


@pytest.mark.parametrize(
    "file, text, told",
    [
        ("plain", "epochs:\t2\n", "profiles/plain.yaml: line 1: "),
        ("plain", "- epochs\n", "profiles/plain.yaml: it is not a mapping"),
        ("plain", "epoch: 2\n", "profiles/plain.yaml: parameter 'epoch' is unknown"),
        ("plain", "epochs: two\n", "profiles/plain.yaml: epochs"),
        (
            "plain",
            "epochs: 2\nepochs: 3\n",
            "profiles/plain.yaml: line 2: 'epochs' is a duplicate or unhashable key",
        ),
        ("plain", "block: se\n", "profiles/plain.yaml: block follows from profiles/runs.yaml; remove it"),
        ("plain", "profile: other\n", "profiles/plain.yaml: profile is 'other'; it must be 'plain'"),
        ("plain", b"dataset: \xff\n", "profiles/plain.yaml: it is not UTF-8"),
        ("plain", None, "profiles/plain.yaml cannot be read (No such file"),
        ("runs", "plain:\n", "profiles/runs.yaml: plain is None"),
        ("runs", "other: {blocks: [se], seeds: [0]}\n", "profile 'plain' is unknown"),
        (*runs("blocks: [sse], seeds: [0]"), "Did you mean 'se'?"),
        (*runs("blocks: [], seeds: [0]"), "plain: blocks is []; it must be a list of at least one"),
        (*runs("blocks: [se], seeds: [0, 0]"), "plain: seeds is [0, 0]; it must be a list"),
        (*runs("blocks: [se], seeds: [-1]"), "plain: seeds.0 is -1; it must be at least 0"),
        (*runs('blocks: [se], seeds: ["0"]'), "plain: seeds.0 is '0'; it must be an integer"),
        (*runs("blocks: [se]"), "profiles/runs.yaml: plain: seeds is missing"),
        (*runs("blocks: [se], seed: [0], seeds: [0]"), "Did you mean 'seeds'?"),
        (*runs("1: 2, blocks: [se], seeds: [0]"), "profiles/runs.yaml: plain: entry '1' is unknown"),
        (*runs("blocks: [se], seeds: [0], parameters: {widht: 1}"), "Did you mean 'width'?"),
        (*runs("blocks: [se], seeds: [0], parameters: {seed: 1}"), "seed follows from"),
        (*runs("blocks: [se], seeds: [0], base: ../x"), "plain: base is '../x'; it must be letters"),
        (
            *runs("base: a, blocks: [se], seeds: [0]}\na: {base: plain, blocks: [se], seeds: [0]"),
            "based on it",
        ),
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
    [
        ("1_2", "12: to YAML this name is not text"),
        ("my plain", "my plain: name is 'my plain'; it must be letters"),
        ("../x", "../x: name is"),
        ("a/b/c", "a/b/c: name is"),
        ("a/", "a/: name is"),
    ],
)
def test_name_that_makes_no_folder_is_refused_and_leaves_the_others(project, name, told):
    with open(project / "profiles/runs.yaml", "a") as runs:
        runs.write(f"{name}: {{base: plain, blocks: [se], seeds: [0]}}\n")
    *others, last = profile_names(project)
    assert [load_profile(project, other).name for other in others] == ["plain", "study/changed"]
    for asked in (last, str(last)):  # as YAML reads it and as a command line gives it
        with pytest.raises(UserError, match=f"^profiles/runs.yaml: {re.escape(told)}"):
            load_profile(project, asked)

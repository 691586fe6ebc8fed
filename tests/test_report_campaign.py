"""The campaign's tables: what was run, what was not, and what each network costs."""

import json

import pytest
import yaml
from report_runs import write_run

from xnnlib.complexity import count, total
from xnnlib.errors import UserError
from xnnlib.report.campaign import (
    campaign_numbers,
    experiment_numbers,
    experiment_table,
    load_campaign,
    recipe_table,
)
from xnnlib.report.summary import millions
from xnnlib.spec import NetworkSpec

LIST = [
    {"results": "paper", "base": "base", "blocks": ["standard", "se"], "seeds": [0]},
    {
        "results": "paper-reference",
        "base": "base",
        "blocks": ["standard"],
        "seeds": [0, 1],
        "parameters": {"recipe": "reference"},
    },
    {"results": "paper", "base": "base", "blocks": ["se"], "seeds": [1]},
    {
        "results": "search",
        "base": "base",
        "blocks": ["standard"],
        "seeds": [0],
        "parameters": {"hold_out": True},
        "candidates": ["", "weight_decay=5e-4, averaging_decay=0.9995"],
    },
    {"results": "tuned", "base": "base", "blocks": ["standard"], "seeds": [0, 1], "best_of": "search"},
    {"results": "r-2", "base": "base", "blocks": ["se"], "seeds": [0], "parameters": {"reduction": 2}},
]
MORE = [{"results": "r-8", "base": "base", "blocks": ["se"], "seeds": [0, 1], "parameters": {"reduction": 8}}]


@pytest.fixture
def project(tmp_path):
    """A project with a list and nothing run."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "results").mkdir()
    base = {"profile": "x", "dataset": "shapes", "epochs": 3, "num_classes": 10}
    (tmp_path / "profiles" / "base.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "profiles" / "campaign.yaml").write_text(yaml.safe_dump(LIST))
    return tmp_path


def row(table, *cells):
    """The one row that begins with the cells."""
    (found,) = [row for row in table.rows if row[: len(cells)] == cells]
    return found


def test_what_was_not_run_is_in_the_tables_with_what_it_costs(project):
    groups = load_campaign(project)
    recipes, experiments = recipe_table(groups), experiment_table(groups)
    assert [line[0] for line in recipes.rows] == [
        *("paper", "paper", "paper-reference", "search-1", "search-2", "tuned")
    ]
    assert row(recipes, "tuned")[1:] == (
        *("paper; the best of search", "3", "validation", "A", "0 of 2", "not run"),
    )
    assert (
        row(recipes, "search-2")[1] == "paper; weight decay 5e-4; averaging of weights, decay a step 0.9995"
    )
    assert row(recipes, "search-2")[3] == "held-out tenth"
    costs = [total(count(NetworkSpec("se", 10, reduction=size))) for size in (4, 2)]
    shown = [(millions(macs), millions(coefficients)) for macs, coefficients in costs]
    assert [line[:4] for line in experiments.rows] == [("B", "none", *shown[0]), ("B", "R 2", *shown[1])]
    numbers = campaign_numbers(groups)
    assert (numbers["campaign.runs"].text, numbers["campaign.complete"].text) == ("10", "0")
    assert numbers["campaign.experiments"].text == "1"
    assert numbers["campaign.tuned_gain"].text == "waits for a GPU"


def test_what_was_run_is_compared(project):
    for profile, block, seed, shift in (
        ("paper", "se", 0, 0.0),
        ("paper", "se", 1, 2.0),
        ("paper-reference", "standard", 0, 0.0),
        ("search-1", "standard", 0, 0.0),
        ("search-2", "standard", 0, 1.0),
        ("tuned", "standard", 0, 3.0),
        ("r-2", "se", 0, 4.0),
    ):
        write_run(project, block, seed, shift, profile=profile)
    groups = load_campaign(project)
    assert row(recipe_table(groups), "paper", "paper", "3", "validation", "B")[5:] == (
        *("2 of 2", "44.4 ± 12.7"),
    )
    # 43.4 + 4 against the mean of 43.4 and 45.4, whose standard deviation it is taken to have: 1.414.
    assert row(experiment_table(groups), "B", "R 2")[4:] == ("1 of 1", "bfloat16", "47.4", "+3.0 ± 22.0")
    numbers = experiment_numbers(groups)
    assert numbers["r-2.se.top1_gain"].text == "+3.0 ± 22.0"
    assert numbers["r-2.se.top1_gain"].source == ", ".join(
        f"results/{run}" for run in ("r-2/se-seed0", "paper/se-seed0", "paper/se-seed1")
    )
    assert (numbers["paper.se.top1"].text, numbers["paper.se.seeds"].text) == ("44.4 ± 12.7", "2")
    assert numbers["paper.se.precision"].text == "bfloat16"
    sizes = {name: numbers[f"other-sizes.{name}"].text for name in ("seeds", "epochs", "precision")}
    assert sizes == {"seeds": "1", "epochs": "3", "precision": "bfloat16"}
    assert numbers["other-sizes.seeds"].source == "results/r-2/se-seed0"
    assert "paper.se.top1_gain" not in numbers and "paper.standard.top1" not in numbers
    assert numbers["search-2.standard.recipe"].text.startswith("paper; weight decay 5e-4; averaging")
    # There is no run of A unchanged.
    assert "search-2.standard.top1_gain" not in numbers
    write_run(project, "standard", 0, -1.0, profile="paper")
    assert experiment_numbers(load_campaign(project))["search-2.standard.top1_gain"].text == "+2.0"
    numbers = campaign_numbers(groups)
    assert numbers["campaign.complete"].text == "7"
    assert numbers["campaign.experiments_complete"].text == "1"
    assert numbers["campaign.tuned_gain"].text == "+3.0"
    assert "averaging of weights" in numbers["campaign.tuned_recipe"].text


def test_runs_in_other_sizes_are_counted_together(project):
    (project / "profiles" / "campaign.yaml").write_text(yaml.safe_dump(LIST + MORE))
    for profile, seed in (("r-2", 0), ("r-8", 0), ("r-8", 1)):
        write_run(project, "se", seed, profile=profile)
    number = experiment_numbers(load_campaign(project))["other-sizes.seeds"]
    assert number.text == "1 or 2"
    assert number.source == ", ".join(
        f"results/{run}" for run in ("r-2/se-seed0", "r-8/se-seed0", "r-8/se-seed1")
    )


def test_the_unchanged_recipe_can_be_the_best_one(project):
    write_run(project, "standard", 0, 1.0, profile="search-1")
    write_run(project, "standard", 0, 0.0, profile="search-2")
    groups = load_campaign(project)
    assert row(recipe_table(groups), "tuned")[1] == "paper"
    assert campaign_numbers(groups)["campaign.tuned_recipe"].text == "paper"


def edit(run, **changes):
    path = run.path / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_run_that_is_not_complete_or_has_diverged_does_not_count(project):
    edit(write_run(project, "standard", 0, profile="paper-reference"), complete=False)
    diverged = {"epoch": 1, "step": 1, "steps_per_epoch": 1, "learning_rate": 50.0, "checkpoint": None}
    edit(write_run(project, "standard", 1, profile="paper-reference"), complete=False, diverged=diverged)
    shown = row(recipe_table(load_campaign(project)), "paper-reference")
    assert shown[5:] == ("0 of 2, 1 diverged", "not run")


def test_a_run_that_is_not_what_the_list_asks_is_refused(project):
    run = write_run(project, "se", 0, profile="r-2")
    edit(run, parameters={"reduction": 2, "checkpoint_seconds": 5.0})
    load_campaign(project)
    edit(run, parameters={"reduction": 8})
    with pytest.raises(UserError, match="r-2/se-seed0 was trained with reduction 8, .* asks for 2"):
        load_campaign(project)

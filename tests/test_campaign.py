"""The campaign's list and its runner; one tiny campaign is run for real."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import yaml
from report_runs import example

from xnnlib import campaign
from xnnlib.errors import UserError
from xnnlib.records import save_epochs, save_record
from xnnlib.verify import check_files

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("campaign_runner", ROOT / "tools" / "campaign.py")
runner = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runner)


def leave(results: Path, profile: str, top1: float) -> None:
    """A complete run of a candidate."""
    record, rows = example(profile=profile)
    record["last"]["top1"] = top1
    save_record(results / profile / "standard-seed0", record)
    save_epochs(results / profile / "standard-seed0", rows)


def test_runs_come_in_the_lists_order_and_the_best_candidate_goes_on(tmp_path):
    entries = [
        {"results": "first", "base": "b", "blocks": ["se", "standard"], "seeds": [0, 1]},
        {
            "results": "search",
            "base": "b",
            "blocks": ["standard"],
            "seeds": [0],
            "candidates": ["", "epochs=9"],
        },
        {"results": "tuned", "base": "b", "blocks": ["se"], "seeds": [3], "best_of": "search"},
    ]
    leave(tmp_path, "search-1", 30.0)
    leave(tmp_path, "search-2", 31.0)
    made = list(campaign.jobs(entries, tmp_path, tmp_path, partial(campaign.best_changes, entries, tmp_path)))
    names = [job.folder.relative_to(tmp_path).as_posix() for job in made]
    assert names == [
        *(f"first/{run}" for run in ("se-seed0", "standard-seed0", "se-seed1", "standard-seed1")),
        "search-1/standard-seed0",
        "search-2/standard-seed0",
        "tuned/se-seed3",
    ]
    assert made[-1].parameters == {"profile": "tuned", "block": "se", "seed": 3, "recipe_changes": "epochs=9"}


def test_nothing_is_chosen_before_every_candidate_has_been_run(tmp_path):
    entries = [{"results": "search", "candidates": ["", "epochs=9"]}]
    leave(tmp_path, "search-1", 30.0)
    with pytest.raises(UserError, match="search-2"):
        campaign.best_changes(entries, tmp_path, "search")


def test_a_candidate_that_diverged_is_not_the_best(tmp_path):
    entries = [{"results": "search", "candidates": ["", "peak_learning_rate=50"]}]
    leave(tmp_path, "search-1", 30.0)
    leave(tmp_path, "search-2", 99.0)
    path = tmp_path / "search-2" / "standard-seed0" / "record.json"
    diverged = {"epoch": 1, "step": 1, "steps_per_epoch": 1, "learning_rate": 50.0, "checkpoint": None}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"complete": False, "diverged": diverged}))
    assert campaign.best_changes(entries, tmp_path, "search") == ""


def test_the_papers_campaign_asks_for_what_there_is(tmp_path):
    entries = yaml.safe_load((ROOT / "profiles" / "campaign.yaml").read_text())
    campaign.check(entries, tmp_path, ROOT / "profiles")
    assert [entry["results"] for entry in entries][:3] == ["paper", "paper-reference", "paper"]


def test_the_experiments_at_the_scale_of_a_cpu_change_one_thing_of_what_they_are_compared_with(tmp_path):
    entries = campaign.read(ROOT / "profiles" / "campaign-small.yaml")
    unchanged = {}
    for job in campaign.jobs(entries, tmp_path, ROOT / "profiles", best=None):
        asked = job.settings().recorded()
        base = unchanged.setdefault(asked["block"], asked)
        assert base["profile"] == "small"
        changed = {name for name in asked if asked[name] != base[name]} - {"profile", "seed"}
        assert len(changed) == (asked["profile"] != "small"), job.folder


def test_the_other_routine_at_the_scale_of_a_cpu_is_a_candidate_of_the_search():
    full, small = (yaml.safe_load((ROOT / file).read_text()) for file in campaign.LISTS)
    (candidates,) = (entry["candidates"] for entry in full if "candidates" in entry)
    (changes,) = (
        entry["parameters"]["recipe_changes"] for entry in small if entry["results"] == "small-recipe"
    )
    assert changes in candidates


ENTRY = {"results": "x", "base": "quick", "blocks": ["se"], "seeds": [0]}


@pytest.mark.parametrize(
    "entries, words",
    [
        ([ENTRY | {"seed": 1}], "the campaign's key 'seed' is unknown; .* Did you mean 'seeds'"),
        ([{"results": "x", "base": "quick", "seeds": [0]}], "lacks 'blocks'"),
        ([ENTRY | {"seeds": 3}], "cannot be read"),
        ([3], "cannot be read"),
        ([ENTRY | {"blocks": ["SE"]}], "block 'SE' is unknown"),
        ([ENTRY | {"parameters": {"epoch": 3}}], "x on quick.yaml: parameter 'epoch' is unknown"),
        ([ENTRY | {"candidates": ["", "momentum=x"]}], "'momentum=x' gives no float"),
        ([ENTRY | {"base": "quik"}], "quik.yaml is missing; an entry's `base` names a profile"),
    ],
    ids=str,
)
def test_a_mistake_in_the_list_is_one_line_before_any_work(tmp_path, entries, words):
    with pytest.raises(UserError, match=words):
        campaign.check(entries, tmp_path, ROOT / "profiles")


@pytest.mark.parametrize(
    "text, words", [("{}", "is no list of entries"), ("- {a: [", "is no YAML"), (None, "is missing")], ids=str
)
def test_a_file_that_is_no_list_is_one_line(tmp_path, text, words):
    path = tmp_path / "list.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=words) as error:
        campaign.read(path)
    assert "\n" not in str(error.value)


@pytest.fixture
def tiny(tmp_path):
    """A campaign of one run that takes seconds."""
    base = {"profile": "x", "recipe": "paper", "dataset": "shapes", "num_classes": 2, "train_images": 200}
    base |= {"val_images": 8, "epochs": 1, "batch_size": 10, "crop": 16}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    entry = {"results": "tiny", "base": "base", "blocks": ["standard"], "seeds": [0]}
    entry["parameters"] = {"hold_out": True, "width": 0.5, "recipe_changes": "label_smoothing=0.1"}
    (tmp_path / "list.yaml").write_text(yaml.safe_dump([entry]))
    return tmp_path


def test_a_campaign_runs_once_and_keeps_to_its_time(tiny, capsys, monkeypatch):
    monkeypatch.setenv("XNNLIB_CACHE", str(tiny / "cache"))
    command = [str(tiny / "list.yaml"), "--results", str(tiny / "results")]
    start = time.monotonic()
    assert runner.main([*command, "--minutes", "0.01"]) == 1
    assert time.monotonic() - start < 20
    run = tiny / "results" / "tiny" / "standard-seed0"
    assert "the time is up" in capsys.readouterr().out
    assert not (run / "record.json").exists()  # papermill was still starting
    assert runner.main(command) == 0
    record = json.loads((run / "record.json").read_text())
    assert record["profile"] == "tiny" and record["dataset"]["train_images"] == 180
    assert record["network"]["width"] == 0.5 and record["recipe"]["label_smoothing"] == 0.1
    assert str(ROOT) not in (run / "train.ipynb").read_text() and not (run / "weights.safetensors").exists()
    assert check_files(run.parent) == {}
    note = json.loads((run / "inputs.json").read_text())
    assert {"xnnlib.training", "torch in constraints.txt", "epochs in profiles/base.yaml"} <= note.keys()
    capsys.readouterr()
    assert runner.main(command) == 0
    assert "training" not in capsys.readouterr().out


def test_a_campaign_that_is_asked_to_end_leaves_no_training_behind(tiny, monkeypatch):
    monkeypatch.setenv("XNNLIB_CACHE", str(tiny / "cache"))
    command = [sys.executable, runner.__file__, tiny / "list.yaml", "--results", tiny / "results"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "tiny/standard-seed0: training\n"
    while len(started := psutil.Process(process.pid).children(recursive=True)) < 2:  # papermill, its kernel
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert printed.splitlines() == [
        "stopped as asked; the same command goes on from there",
        "0 runs complete, more to come",
    ]
    assert process.returncode == 1 and not any(child.is_running() for child in started)


def test_a_campaign_that_is_asked_to_end_while_nothing_trains_says_so(tiny, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "check", interrupted)
    assert runner.main([str(tiny / "list.yaml"), "--results", str(tiny / "results")]) == 1
    assert capsys.readouterr().out.startswith("stopped as asked; the same command goes on from there\n0 runs")

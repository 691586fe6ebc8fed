"""What makes a step stale, what does not, and what becomes of a run that is trained again."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from staleness import Profile, main
from tiny_project import NOTEBOOKS, leave_record, make_everything, make_project, write_notebook

ROOT = Path(__file__).resolve().parents[1]
RUNS = {"standard-seed0", "se-seed0"}
MADE = RUNS | {"results", "book", "summary"}


@pytest.fixture
def project(tmp_path):
    make_project(tmp_path)
    make_everything(tmp_path)
    return tmp_path


def stale(project) -> set[str]:
    return {name for name, text in Profile("quick", project).status() if text != "up to date"}


def replace(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_what_was_just_made_is_up_to_date(project):
    assert stale(project) == set()


def test_time_stamps_comments_and_outputs_make_nothing_stale(project):
    replace(project / "xnnlib/layers.py", "a gate", "the gate")
    write_notebook(project / "notebooks/train.ipynb", NOTEBOOKS["train"], prose="Other words.", output="1")
    for file in project.rglob("*"):
        os.utime(file, (2e9, 2e9))
    assert stale(project) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "expected", "why"),
    [
        ("xnnlib/layers.py", "gate = 1", "gate = 2", RUNS | {"design"}, "xnnlib.model changed"),
        ("xnnlib/report/curves.py", "1", "2", {"results"}, "xnnlib.report.curves changed"),
        (
            "xnnlib/report/tables.py",
            "table'",
            "Table'",
            {"implementation", "book", "summary"},
            "report.tables",
        ),
        ("xnnlib/images.py", "0", "1", {"data"}, "xnnlib.images changed"),
        ("notebooks/train.ipynb", "fit", "load_runs as fit", RUNS, "notebooks/train.ipynb changed"),
        ("notebooks/design.ipynb", "Words", "Others", {"design"}, "notebooks/design.ipynb changed"),
        ("profiles/quick.yaml", "epochs: 2", "epochs: 3", RUNS, "profiles/quick.yaml was 2, is 3"),
        (
            "constraints.txt",
            "torch==2.13.0",
            "torch==2.14.0",
            RUNS | {"book"},
            "torch in constraints.txt was 2.13.0",
        ),
        ("constraints.txt", "pypdf==5.0", "pypdf==5.1", {"book"}, "constraints.txt changed"),
        ("book/page.md", "Text", "More text", {"book"}, "book/page.md changed"),
        ("benchmarks/results/a-processor/throughput.json", "{}", "[]", {"book"}, "throughput.json changed"),
        ("results/tenth/se-seed0/record.json", "{}", "[]", {"results", "book"}, "record.json changed"),
        ("_build/quick/data.txt", "abc", "def", RUNS, "the data's fingerprint changed"),
        ("results/quick/se-seed0/epochs.csv", "2", "3", {"results", "book", "summary"}, "epochs.csv changed"),
    ],
)
def test_a_change_makes_stale_what_is_made_from_it_and_nothing_else(project, file, old, new, expected, why):
    replace(project / file, old, new)
    told = dict(Profile("quick", project).status())
    assert {name for name, text in told.items() if text != "up to date"} == expected
    assert all(told[name].startswith("stale: ") and why in told[name] for name in expected - {"book"})


def test_a_run_without_a_note_is_judged_by_its_commit(project):
    def git(*arguments):
        command = ("git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments)
        return subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    git("add", "xnnlib", "notebooks", "profiles", "constraints.txt")
    git("commit", "-qm", "all")
    for run in RUNS:
        (project / "results/quick" / run / "inputs.json").unlink()
    leave_record(project / "results/quick/se-seed0", commit=git("rev-parse", "HEAD").strip())
    replace(project / "xnnlib/layers.py", "gate = 1", "gate = 2")
    told = dict(Profile("quick", project).status())
    assert told["se-seed0"] == "stale: xnnlib.model changed"
    assert told["standard-seed0"].startswith("up to date as far as is known")
    assert Profile("quick", project).stale_runs() == ["se-seed0"]


def test_what_compiles_for_a_gpu_makes_no_run_of_a_processor_stale(project):
    for run, device in (("standard-seed0", "cpu"), ("se-seed0", "cuda")):
        leave_record(project / "results/quick" / run, device={"type": device})
    replace(project / "xnnlib/compiling.py", "1", "2")
    assert Profile("quick", project).stale_runs() == ["se-seed0"]


@pytest.mark.parametrize("checkpoint", ["checkpoint.pt", "checkpoint-previous.pt"])
def test_what_is_not_whole_is_said_to_be_so(project, checkpoint):
    results = project / "results/quick"
    leave_record(results / "se-seed0", complete=False, diverged={"epoch": 2})
    (results / "standard-seed0/record.json").unlink()
    assert dict(Profile("quick", project).status())["standard-seed0"] == "missing"  # nothing to go on from
    (results / "standard-seed0" / checkpoint).touch()
    told = dict(Profile("quick", project).status())
    assert told["se-seed0"] == "diverged"
    assert told["standard-seed0"] == "interrupted in epoch 3"
    assert "se-seed0 is missing" in told["results"]
    assert told["design"] == "up to date"
    (results / "standard-seed0/epochs.csv").unlink()
    assert dict(Profile("quick", project).status())["standard-seed0"] == "interrupted in epoch 1"


def test_a_trained_run_is_made_again_unless_it_is_kept_and_so_is_what_reads_it(project):
    replace(project / "profiles/quick.yaml", "epochs: 2", "epochs: 3")
    steps = Profile("quick", project)
    assert {name for name in steps.steps if steps.to_make_again(name, keep=False)} == MADE
    assert not any(steps.to_make_again(name, keep=True) for name in steps.steps)


def test_the_run_that_is_replaced_is_put_aside(project):
    replace(project / "profiles/quick.yaml", "epochs: 2", "epochs: 3")
    steps = Profile("quick", project)
    steps.begin("se-seed0", again=True)
    assert [file.name for file in (project / "results/quick/se-seed0").iterdir()] == ["inputs.json"]
    assert (project / "_build/quick/replaced/se-seed0/record.json").exists()
    assert steps.changes("se-seed0") == "the data's fingerprint changed"  # no record yet


@pytest.mark.parametrize("checkpoint", ["checkpoint.pt", "checkpoint-previous.pt"])
def test_a_run_that_goes_on_keeps_the_note_of_its_beginning(project, checkpoint):
    run = project / "results/quick/se-seed0"
    (run / "record.json").unlink()
    (run / checkpoint).touch()
    replace(project / "xnnlib/layers.py", "gate = 1", "gate = 2")
    Profile("quick", project).begin("se-seed0", again=False)
    leave_record(run)
    assert Profile("quick", project).changes("se-seed0") == "xnnlib.model changed"


@pytest.mark.parametrize(
    ("code", "told"), [("def broken(", "was never closed"), ("import xnnlib.gone", "xnnlib.gone is im")]
)
def test_code_that_cannot_be_read_is_one_line(project, monkeypatch, capsys, code, told):
    (project / "xnnlib/layers.py").write_text(code)
    monkeypatch.chdir(project)
    assert main(["begin", "quick", "design"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and printed.count("\n") == 1 and told in printed


@pytest.mark.parametrize("profile", yaml.safe_load((ROOT / "profiles/runs.yaml").read_text()))
def test_every_step_of_the_real_project_can_be_judged(profile):
    steps = Profile(profile, ROOT)
    assert [name for name, _ in steps.status()] == list(steps.steps)
    for step in steps.steps.values():
        assert step.inputs(), step.output  # also what no output asks for yet


def test_the_images_are_looked_through_once(project, monkeypatch):
    (project / "images").mkdir()
    replace(project / "profiles/quick.yaml", "shapes", f"folder\ndata_root: {project}/images")
    seen, walk = [], Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: seen.append(path) or walk(path, pattern))
    assert dict(Profile("quick", project).status())["data"].startswith("stale: dataset")
    assert seen.count(project / "images") == 1


def test_what_becomes_of_stale_runs_is_asked_but_in_the_quick_profile(project):
    replace(project / "profiles/quick.yaml", "epochs: 2", "epochs: 3")
    assert not Profile("quick", project).keeps_runs("")
    (project / "profiles/runs.yaml").write_text("paper:\n  blocks: [se]\n  seeds: [0]\n")
    (project / "profiles/quick.yaml").rename(project / "profiles/paper.yaml")
    (project / "results/quick").rename(project / "results/paper")
    steps = Profile("paper", project)
    with pytest.raises(ValueError, match="runs that are stale: se-seed0 .*STALE=keep .*STALE=retrain"):
        steps.keeps_runs("")
    assert steps.keeps_runs("keep")
    assert not steps.keeps_runs("retrain")
    with pytest.raises(ValueError, match="STALE is 'yes'; choose keep or retrain"):
        steps.keeps_runs("yes")


def test_an_unknown_profile_is_one_line(project):
    with pytest.raises(ValueError, match="profile 'quik' is not in profiles/runs.yaml; choose one of quick"):
        Profile("quik", project)

"""What `make status` prints of a tiny project."""

import json

import pytest
from status import main
from tiny_project import leave_record, make_everything, make_project

PAPER = "paper:\n  blocks: [se]\n  seeds: [0, 1]\n"
# A run of a profile, one that only the list has, and one that was not begun.
CAMPAIGN = """\
- {results: quick, base: quick, blocks: [se], seeds: [0, 1]}
- {results: wide, base: quick, blocks: [se], seeds: [0], parameters: {width: 2}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    make_project(tmp_path)
    make_everything(tmp_path)
    with open(tmp_path / "profiles/runs.yaml", "a") as plan:
        plan.write(PAPER)
    (tmp_path / "profiles/paper.yaml").write_text("dataset: shapes\n")
    (tmp_path / "profiles/campaign.yaml").write_text("[]\n")
    (tmp_path / "profiles/campaign-small.yaml").write_text(CAMPAIGN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys) -> list[str]:
    assert main() == 0
    return capsys.readouterr().out.splitlines()


def test_every_profile_is_printed(project, capsys):
    images = project / "xnnlib/images.py"
    images.write_text(images.read_text().replace("0", "1"))
    lines = printed(capsys)
    assert lines[:2] == ["quick:", "  data             stale: xnnlib.images changed"]
    assert lines[-3] == "paper: nothing made yet"


def test_of_a_campaign_the_runs_are_printed_that_no_profile_has(project, capsys):
    assert printed(capsys)[-2:] == [
        "profiles/campaign.yaml: 0 of 0 runs complete",
        "profiles/campaign-small.yaml: 1 of 3 runs complete",
    ]
    run = project / "results/wide/se-seed0"
    run.mkdir(parents=True)
    assert printed(capsys)[-1].split(maxsplit=1) == ["wide/se-seed0", "missing"]
    leave_record(run)
    (run / "train.ipynb").write_text("{}")
    told = "up to date as far as is known: what it was made from was not noted"
    assert printed(capsys)[-2:] == [
        "profiles/campaign-small.yaml: 2 of 3 runs complete",
        f"  {'wide/se-seed0':38} {told}",
    ]
    note = json.loads((project / "results/quick/se-seed0/inputs.json").read_text())
    (run / "inputs.json").write_text(json.dumps(note))
    assert printed(capsys)[-1].split(maxsplit=1) == ["wide/se-seed0", "up to date"]
    layers = project / "xnnlib/layers.py"
    layers.write_text(layers.read_text().replace("gate = 1", "gate = 2"))
    assert printed(capsys)[-1].split(maxsplit=1) == ["wide/se-seed0", "stale: xnnlib.model changed"]


@pytest.mark.parametrize(
    "file, text, told",
    [
        ("xnnlib/layers.py", "def broken(", "was never closed"),
        ("xnnlib/layers.py", "import xnnlib.gone", "xnnlib.gone is im"),
        ("profiles/campaign.yaml", "{}", "is no list of entries"),
        ("profiles/campaign.yaml", None, "is missing"),
        ("profiles/runs.yaml", None, "runs.yaml"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_read_is_one_line(project, capsys, file, text, told):
    (project / file).unlink()
    if text is not None:
        (project / file).write_text(text)
    assert main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and told in error

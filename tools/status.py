"""Say of each profile which of its runs are there, stale or missing, and why: `make status`."""

import io
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

from xnnlib.checkpoint import CHECKPOINT, PREVIOUS
from xnnlib.errors import UserError
from xnnlib.profiles import Profile, load_profile, profile_names
from xnnlib.records import load_run
from xnnlib.runtime import code_digest
from xnnlib.settings import Settings
from xnnlib.spec import upgrade_record

COMPARED = ("model", "block", "seed", "dataset", "num_classes", "train_images", "val_images", "hold_out")
WIDTH = 28  # of the longest name
TRAINED = UP_TO_DATE, OLDER, STALE = "up to date", "made by older code", "stale"
DIVERGED, OTHER = "diverged", "interrupted with other parameters"


def run_status(folder: Path, settings: Settings, fingerprint: str = "") -> str:
    """The state of a run: up to date, made by older code, stale and why; or why it is not trained.

    `settings`: what its profile asks for today; `fingerprint`: that of the data today, if it is known.
    """
    if not (folder / "record.json").exists():
        if not any(folder.glob("checkpoint*.pt")):
            return "missing"
        if reasons := _changes(_begun(folder), settings, fingerprint):
            return f"{OTHER}: {'; '.join(reasons)}"
        rows = (folder / "epochs.csv").read_text().count("\n") if (folder / "epochs.csv").exists() else 1
        return f"interrupted in epoch {rows}"
    try:
        record = load_run(folder).record
    except UserError as error:
        return f"{STALE}: {error}"
    if not record["complete"]:
        return DIVERGED if "diverged" in record else "interrupted"
    if reasons := _changes(record, settings, fingerprint):
        return f"{STALE}: {'; '.join(reasons)}"
    return UP_TO_DATE if "code" in record else f"{OLDER}, commit {record['commit'][:7]}"


def _begun(folder: Path) -> dict | None:
    """The record in a run's newest readable checkpoint, without its code: other code may resume it."""
    for name in (CHECKPOINT, PREVIOUS):
        with suppress(Exception):  # torn or not there: training says so
            content = (folder / name).read_bytes().partition(b"\n")[2]
            record = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)["record"]
            return upgrade_record({key: value for key, value in record.items() if key != "code"})
    return None


def _changes(record: dict | None, settings: Settings, fingerprint: str) -> list[str]:
    """Why a run is not the one that its profile asks for today."""
    if record is None:
        return []
    asked = {name: getattr(settings, name) for name in COMPARED}
    asked |= asdict(settings.routine) | settings.network.sizes()
    del asked["precision"]  # a device without fast bfloat16 trains in float32
    # A record from before there were others is of the paper's network.
    found = {"model": "xnn"} | (record.get("parameters") or {}) | record["recipe"] | record["network"]
    reasons = ["the code changed"] if record.get("code", code_digest()) != code_digest() else []
    for name, value in asked.items():
        if found.get(name, value) != value:
            reasons.append(f"{name} was {found[name]}, is {value}")
    if fingerprint and record["dataset"]["fingerprint"] != fingerprint:
        reasons.append("the data changed")
    return reasons


def statuses(profile: Profile) -> dict[str, str]:
    """The state of each run of a profile, by its name; the data is what was last packed for the profile."""
    packed = Path("_build", profile.name, "data.txt")
    fingerprint = packed.read_text(encoding="utf-8").split()[-1] if packed.exists() else ""
    results = Path("results", profile.name)
    return {run: run_status(results / run, asked, fingerprint) for run, asked in profile.runs().items()}


def table(profile: Profile) -> list[str]:
    """A line for each state that runs of the profile are in."""
    found: dict[str, list[str]] = {}
    for run, text in statuses(profile).items():
        found.setdefault(text, []).append(run)
    lines = {f"{profile.name:{WIDTH}} {len(runs):4}  {text}": runs for text, runs in found.items()}
    return [line + (f" ({', '.join(runs)})" if len(lines) > 1 else "") for line, runs in lines.items()]


def main() -> int:
    """0, or 2 if a profile cannot be read; the others are printed all the same."""
    problems = []
    try:
        names = profile_names()
        print(f"{'profile':{WIDTH}} runs  state")
    except UserError as error:
        names, problems = [], [error]
    for name in names:
        try:
            print("\n".join(table(load_profile(Path(), name))))
        except UserError as error:
            problems.append(error)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 2 if problems else 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `make status | head` has read enough
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

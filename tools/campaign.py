"""Run a campaign, such as profiles/campaign.yaml, run by run through papermill, within a time budget.

A complete run is skipped. When the time is up, the run in progress is stopped and saved; it goes on from
there when the command is given again. A run that fails is named at the end and does not stop the others.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import yaml
from kernels import GRACE, end_papermill

from xnnlib.errors import Diverged, UserError, choose
from xnnlib.records import load_runs
from xnnlib.settings import from_mapping

ROOT = Path(__file__).resolve().parents[1]
KEYS = ("results", "base", "blocks", "seeds", "parameters", "candidates", "best_of")


@dataclass(frozen=True)
class Job:
    """One run: its folder below results/, the profile that it is based on, and what it changes there."""

    folder: Path
    base: Path
    parameters: dict

    @property
    def finished(self) -> bool:
        return (self.folder / "train.ipynb").exists()


def jobs(entries: list[dict], results: Path, profiles: Path, best: Callable[[str], str]) -> Iterator[Job]:
    """The runs of the list in its order, one after the other, as far as earlier ones allow to say.

    `best` says which of a search's candidates goes on. Raises UserError on an entry that cannot be read.
    """
    if not isinstance(entries, list):
        raise UserError("the campaign is no list of entries; see profiles/campaign.yaml for one.")
    for entry in entries:
        try:
            for key in entry:
                choose("the campaign's key", key, KEYS)
            blocks, seeds = list(entry["blocks"]), list(entry["seeds"])
            names, base = entry["results"], profiles / f"{entry['base']}.yaml"
            changes = {"": entry.get("parameters", {}).get("recipe_changes", "")}
            if "candidates" in entry:
                changes = {f"-{number}": text for number, text in enumerate(entry["candidates"], 1)}
        except KeyError as missing:
            raise UserError(f"the campaign's entry {entry} lacks {missing}.") from None
        except (AttributeError, TypeError) as error:
            raise UserError(f"the campaign's entry {entry} cannot be read ({error}).") from None
        if "best_of" in entry:
            changes = {"": best(entry["best_of"])}
        for suffix, text in changes.items():
            for seed in seeds:
                for block in blocks:
                    profile = f"{names}{suffix}"
                    folder = results / profile / f"{block}-seed{seed}"
                    own = {"profile": profile, "block": block, "seed": seed, "recipe_changes": text}
                    yield Job(folder, base, entry.get("parameters", {}) | own)


def check(entries: list[dict], results: Path, profiles: Path) -> None:
    """Raise UserError, before any work, if a run of the list has a parameter that is none or cannot be."""
    for job in jobs(entries, results, profiles, best=lambda search: ""):
        settings = yaml.safe_load(job.base.read_text(encoding="utf-8"))
        from_mapping(settings | job.parameters, f"{job.folder.parent.name} on {job.base.name}")


def best_changes(entries: list[dict], results: Path, search: str) -> str:
    """The recipe changes of the candidate with the highest mean accuracy after its last epoch.

    Raises UserError if a candidate has not been run, if there are none of that name, or if all diverged.
    """
    candidates = [text for entry in entries if entry["results"] == search for text in entry["candidates"]]
    if not candidates:
        raise UserError(f"the campaign has no candidates {search!r} to choose the best of.")
    means = {}
    for number, text in enumerate(candidates, 1):
        try:
            runs = load_runs(results, f"{search}-{number}")
        except Diverged:
            continue
        means[text] = mean(run.record["last"]["top1"] for run in runs)
    if not means:
        raise UserError(f"every candidate of {search!r} has diverged; there is no best one.")
    return max(means, key=means.get)


def run(job: Job, logs: Path, deadline: float) -> str:
    """Run one job; "" if it went well, else what happened: "stopped" or "failed"."""
    log = logs / f"{job.folder.parent.name}-{job.folder.name}.ipynb"
    log.parent.mkdir(parents=True, exist_ok=True)
    job.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "papermill", ROOT / "notebooks" / "train.ipynb", log, "-k", "python3"]
    command += ["--no-progress-bar", "--log-level", "WARNING", "--stderr-file", "-", "-f", job.base]
    for name, value in (job.parameters | {"run_dir": job.folder}).items():
        command += ["-p", name, str(value)]
    # A session of its own: Ctrl-C is for the kernel, which saves, not for papermill, which would end it.
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT, start_new_session=True)
    try:
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        end_papermill(process, GRACE)
        return "stopped"
    if status:
        return "failed"
    subprocess.run([sys.executable, ROOT / "tools" / "drop_progress.py", log], check=True)
    log.replace(job.folder / "train.ipynb")
    return ""


def main(arguments: list[str] | None = None) -> int:
    """0 if every run of the list is complete, 1 if some are left, 2 if the list cannot be read."""
    parser = argparse.ArgumentParser(prog="tools/campaign.py", description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path, help="the list of runs, such as profiles/campaign.yaml")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="the time budget")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="where the run folders are")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    failed, done = [], 0
    try:
        entries = yaml.safe_load(options.list.read_text(encoding="utf-8"))
        results, profiles = options.results.resolve(), options.list.resolve().parent
        check(entries, results, profiles)
        for job in jobs(entries, results, profiles, partial(best_changes, entries, results)):
            name = f"{job.folder.parent.name}/{job.folder.name}"
            if not job.finished:
                print(f"{name}: training", flush=True)
                outcome = run(job, ROOT / "_build" / "campaign", deadline)
                if outcome == "stopped":
                    print(f"{name}: stopped, the time is up; the same command goes on from there")
                    break
                if outcome:
                    failed.append(name)
                    continue
            done += 1
        else:
            print(f"{done} runs complete" + (f"; failed: {', '.join(failed)}" if failed else ""))
            return 1 if failed else 0
    except (UserError, OSError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{done} runs complete, more to come" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1


if __name__ == "__main__":
    sys.exit(main())

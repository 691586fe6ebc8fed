"""Run a campaign, such as profiles/campaign.yaml, run by run through papermill, within a time budget.

A complete run is skipped. When the time is up, the run in progress is stopped and saved; it goes on from
there when the command is given again. A run that fails is named at the end and does not stop the others.
A run keeps its record, its notebook and a note of the code that made it, and its weights only where the list
says so.
"""

import argparse
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from code_digests import in_folder
from kernels import GRACE, end_papermill, requests_to_end
from staleness import NOTE, goes_on, run_inputs, write_note

from xnnlib.campaign import Job, best_changes, check, jobs, read
from xnnlib.errors import UserError
from xnnlib.records import WEIGHTS
from xnnlib.verify import write_checksums

ROOT = Path(__file__).resolve().parents[1]


def in_project(path: Path) -> Path:
    """As seen from the project's root if it is below it: notebooks are shipped with what they were given."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def run(job: Job, logs: Path, deadline: float) -> bool:
    """Run one job; whether it went well.

    Raises TimeoutExpired at the deadline and lets KeyboardInterrupt pass, once the training is saved.
    """
    log = logs / f"{job.folder.parent.name}-{job.folder.name}.ipynb"
    log.parent.mkdir(parents=True, exist_ok=True)
    job.folder.mkdir(parents=True, exist_ok=True)
    if not goes_on(job.folder):
        # As `make reproduce` does: where the code is no checkout, this alone says what code made a run.
        inputs = run_inputs(in_folder(ROOT), job.base.stem, job.base_parameters())
        write_note(job.folder / NOTE, inputs)
    command = [sys.executable, "-m", "papermill", "notebooks/train.ipynb", in_project(log), "-k", "python3"]
    command += ["--no-progress-bar", "--log-level", "WARNING", "--stderr-file", "-"]
    command += ["-f", in_project(job.base)]
    for name, value in (job.parameters | {"run_dir": in_project(job.folder)}).items():
        command += ["-p", name, str(value)]
    # A session of its own: Ctrl-C is for the kernel, which saves, not for papermill, which would end it.
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT, start_new_session=True)
    try:
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        end_papermill(process, GRACE)
        raise
    if status:
        return False
    subprocess.run([sys.executable, ROOT / "tools" / "drop_progress.py", log], check=True)
    log.replace(job.folder / "train.ipynb")
    if not job.keeps_weights:
        (job.folder / WEIGHTS).unlink()
    write_checksums(job.folder.parent)
    return True


def main(arguments: list[str] | None = None) -> int:
    """0 if every run of the list is complete, 1 if some are left, 2 if the list cannot be read."""
    parser = argparse.ArgumentParser(prog="tools/campaign.py", description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path, help="the list of runs, such as profiles/campaign.yaml")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="the time budget")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="where the run folders are")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    failed, done, stopped = [], 0, ""
    try:
        entries = read(options.list)
        results, profiles = options.results.resolve(), options.list.resolve().parent
        check(entries, results, profiles)
        for job in jobs(entries, results, profiles, partial(best_changes, entries, results)):
            if not job.finished:
                print(f"{job.name}: training", flush=True)
                if not run(job, ROOT / "_build" / "campaign", deadline):
                    failed.append(job.name)
                    continue
            done += 1
    except subprocess.TimeoutExpired:
        stopped = "the time is up"
    except KeyboardInterrupt:
        stopped = "stopped as asked"
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if stopped:
        print(f"{stopped}; the same command goes on from there")
    more = ", more to come" if stopped else ""
    print(f"{done} runs complete{more}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if stopped or failed else 0


if __name__ == "__main__":
    # Without this a scheduler's SIGTERM would end this process alone, and papermill would go on training.
    for number in requests_to_end():
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())

"""Make everything of one profile, from its data to its book: `make reproduce`.

Snakemake does the work; this says which trained runs stay, how many trainings fit on the machine, and how far
they are. Stopped, it leaves nothing running; killed, it leaves that to the next command. Either way the same
command resumes.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from sessions import end_session, renice_kernels
from status import DIVERGED, OLDER, OTHER, STALE, TRAINED, statuses

from xnnlib.errors import UserError, choose
from xnnlib.files import locked
from xnnlib.profiles import Profile, load_profile
from xnnlib.records import load_runs
from xnnlib.report.tables import table_3
from xnnlib.spec import BLOCKS

SESSION = Path(".snakemake/session")  # the session of the Snakemake that was started last


def main(name: str, stale: str, *options: str) -> int:
    """`PROFILE STALE [options of Snakemake, files to make]`: its exit status, or 2 if nothing can be run."""
    try:
        with locked(SESSION.parent):
            if SESSION.exists() and (session := SESSION.read_text()):  # of a command that was killed
                end_session(int(session))
            profile = load_profile(Path(), name)
            if stale:
                choose("STALE", stale, ("keep", "retrain"))
            dry = any(re.fullmatch(r"--dry.*|-[pkqF]*n[pkqF]*", option) for option in options)
            prepare(profile, stale, dry)
            status = run(profile, list(options))
            if not dry and status < 128:
                conclude(profile, status)
            return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before there was anything to stop
        return _stopped(signal.SIGINT)


def _stopped(number: int) -> int:
    """Say so; the exit status that a shell expects."""
    print("\nstopped; the same command resumes", file=sys.stderr)
    return 128 + number


def prepare(profile: Profile, stale: str, dry: bool) -> None:
    """Pack the data and put aside the runs to train again.

    Raises UserError if trained runs are stale and STALE does not say what to do.
    """
    if set(profile.blocks) != set(BLOCKS):
        print(f"A book compares {', '.join(BLOCKS)}: this profile has no book of its own, only runs.")
    found = statuses(profile)
    missing = [run for run, text in found.items() if not text.startswith(TRAINED)]
    if not dry and (missing or stale != "keep"):
        pack = [sys.executable, "tools/pack_data.py", profile.name]
        # With nothing to train, data that is not there just cannot be compared.
        quiet = None if missing or stale == "retrain" else subprocess.DEVNULL
        if subprocess.run(pack, stderr=quiet).returncode and quiet is None:
            sys.exit(2)  # it has said why
        found = statuses(profile)  # which the data's fingerprint may have changed
    # Of older code nobody can say whether it has changed: only who asks to retrain gets it trained again.
    kinds = (STALE, OLDER, DIVERGED, OTHER) if stale == "retrain" else (STALE, OTHER)
    old = [run for run, text in found.items() if text.startswith(kinds)]
    begun = [run for run, text in found.items() if text.startswith(OTHER)]
    if begun and (stale == "keep" or not stale and profile.name != "quick"):
        raise UserError(
            f"results/{profile.name} holds interrupted runs with other parameters: {', '.join(begun)} (`make "
            "status` says which); give them back their parameters, or add STALE=retrain to train anew."
        )
    if old and not stale and profile.name != "quick":
        raise UserError(
            f"results/{profile.name} holds trained runs that are stale: {', '.join(old)} (`make status` says "
            "why); add STALE=keep to go on with them, or STALE=retrain to train anew."
        )
    retrained = [] if stale == "keep" else old
    if dry:
        first = [run for run in missing if run not in retrained]
        print(f"To train anew: {', '.join(retrained) or 'none'}; to train: {', '.join(first) or 'none'}")
        return
    for run in retrained:
        aside = Path("_build", profile.name, "replaced", run)
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(Path("results", profile.name, run), aside)
    # Snakemake goes by these files alone.
    for run in missing:
        Path("results", profile.name, run, "train.ipynb").unlink(missing_ok=True)
    if missing or retrained:
        Path("results", profile.name, "SHA256SUMS").unlink(missing_ok=True)


def run(profile: Profile, options: list[str]) -> int:
    """Snakemake's exit status; nothing that it started on this machine is left when it ends."""
    results = f"results/{profile.name}"
    # The slowest block first: two runs side by side end together.
    first = [f"{results}/{run}/train.ipynb" for run in profile.run_names() if run.startswith("se_cond")]
    command = [*options, *(["--prioritize", *first] if first else [])]
    if not any(option.startswith(("--profile", "--workflow-profile")) for option in options):
        # A cluster's profile has limits of its own.
        command += ["--resources", "gpu=1", f"mem_mb={memory_mb()}"]
    command += ["--config", f"results={results}", f"gpu={int(torch.cuda.is_available())}"]
    logs = Path("_build", profile.name, "logs")
    for left in logs.glob("*.progress"):
        left.unlink()

    received = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda number, frame: received.append(number))
    # Its own lock outlives a kill and would have to be removed by hand. In a session of its own, Ctrl-C does
    # not reach it.
    command = [sys.executable, "-m", "snakemake", "--nolock", *command]
    os.environ.pop("SLURM_CPUS_PER_TASK", None)  # of an allocation around this; a job has its own
    process = subprocess.Popen(command, start_new_session=True)
    SESSION.write_text(str(process.pid))
    shown = time.monotonic()
    while process.poll() is None and not received:
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
        renice_kernels(process.pid)
        if time.monotonic() - shown > (2 if sys.stdout.isatty() else 60):
            show_progress(logs)
            shown = time.monotonic()
    end_session(process.pid)
    SESSION.unlink(missing_ok=True)
    status = -received[0] if received else process.wait()
    return status if status >= 0 else _stopped(-status)


def memory_mb() -> int:
    """The memory that trainings may take: what is free, and what a container allows."""
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.exists() else "max"
    free = psutil.virtual_memory().available
    return min(free, int(allowed) if allowed.isdigit() else free) // 2**20


def show_progress(logs: Path) -> None:
    """One line with the last frame of each running training's progress bar."""
    shown = []
    for file in sorted(logs.glob("*.progress")):
        with suppress(OSError):  # the training has just ended
            frames = re.findall(r"(\d+%)\|.*?\[(.*?),", file.read_text(errors="replace")[-2000:])
            shown += [f"{file.stem} {' '.join(frames[-1])}"] if frames else []
    line = "   ".join(shown)
    if sys.stdout.isatty():
        # The cursor goes back, so that what a job prints replaces the line.
        print(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}", end="\r", flush=True)
    elif line:
        print(line, flush=True)


def conclude(profile: Profile, status: int) -> None:
    """Say what came of it."""
    build = Path("_build", profile.name)
    untrained = [run for run, text in statuses(profile).items() if not text.startswith(TRAINED)]
    if not untrained:
        print(f"\n{table_3(load_runs('results', profile.name))}\n")
    for run in untrained if status else []:
        log = build / "logs" / f"{run}.ipynb"
        print(f"not trained: {run}" + (f", see {log}" if log.exists() else ""), file=sys.stderr)
    if profile.name == "quick":
        print("The quick profile on the embedded data: not the paper's result.")
    if status == 0 and (book := build / "_build/html/index.html").exists():
        print(f"The book: {book.resolve()}")


if __name__ == "__main__":
    usage = "usage: tools/reproduce.py PROFILE STALE [options of Snakemake, files to make]"
    sys.exit(main(*sys.argv[1:]) if sys.argv[2:] else usage)

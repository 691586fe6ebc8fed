"""Run Snakemake alone in this folder, and take down what it started when it goes: `make reproduce`.

A second one is refused while the first is there. A kill of Snakemake, even one that it cannot handle, ends
the trainings that it started on this machine; the same command then goes on, with nothing to unlock.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from kernels import GRACE, end_kernels, requests_to_end
from staleness import Profile

from xnnlib.files import held


def main(arguments: list[str]) -> int:
    """`PROFILE STALE [options of Snakemake, files to make]`: its exit status, or 2 if nothing can be run."""
    profile, stale, *options = arguments
    # Snakemake takes every word after --config for a setting, a file to make too.
    command = [*options, "--config", f"profile={profile}", f"stale={stale}"]
    try:
        with held(Path(".snakemake")):
            steps = Profile(profile)
            steps.keeps_runs(stale)
            if not steps.finished("data") or steps.to_make_again("data", keep=False):
                # By themselves: only their fingerprint says whether the runs that are there are of them.
                status = run([str(steps.steps["data"].output), *command])
                if status:
                    return status
                Profile(profile).keeps_runs(stale)
            return run(command)
    except (ValueError, SyntaxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(arguments: list[str]) -> int:
    """Snakemake's exit status; nothing that it started on this machine is left when it ends."""
    # Its own lock outlives a kill and would have to be removed by hand.
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--nolock", *arguments], start_new_session=True
    )

    def hand_on(number, frame=None):
        end_kernels(process.pid, GRACE)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    for number in requests_to_end():
        signal.signal(number, hand_on)
    status = process.wait()
    hand_on(signal.SIGKILL)
    if status < 0:
        print("error: Snakemake was killed; the same command goes on from there", file=sys.stderr)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

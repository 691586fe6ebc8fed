"""Say for each profile and each campaign what is stale, and why; `make status` runs this."""

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from code_digests import in_folder
from staleness import NOTE, Profile, read_note, run_inputs, run_status

from xnnlib.campaign import LISTS, jobs, read

RUNS = Path("profiles/runs.yaml")


def profile_lines(profile: Profile) -> Iterator[str]:
    """What there is to say of each step of a profile."""
    steps = list(profile.status())
    if all(text == "missing" for _, text in steps):
        yield f"{profile.name}: nothing made yet"
        return
    yield f"{profile.name}:"
    yield from (f"  {step:16} {text}" for step, text in steps)


def campaign_lines(file: Path, shown: set[Path]) -> Iterator[str]:
    """How many runs of a list are complete, and what there is to say of those that are not `shown`."""
    # Whatever candidate goes on from a search, its folder is the same.
    asked = list(jobs(read(file), Path("results"), file.parent, best=lambda search: ""))
    done = sum(job.finished for job in asked)
    yield f"{file}: {done} of {len(asked)} runs complete"
    for job in asked:
        if job.folder.exists() and job.folder not in shown:
            now = run_inputs(in_folder(Path()), job.base.stem, job.base_parameters())
            yield f"  {job.name:38} {run_status(job.folder, read_note(job.folder / NOTE), now)}"


def main() -> int:
    try:
        profiles = [Profile(name) for name in yaml.safe_load(RUNS.read_text(encoding="utf-8"))]
        shown = {profile.results / run for profile in profiles for run in profile.runs}
        lines = [line for profile in profiles for line in profile_lines(profile)]
        lines += [line for file in LISTS for line in campaign_lines(Path(file), shown)]
    except (ValueError, SyntaxError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())

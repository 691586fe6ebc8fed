"""What is stale in a profile, and why: by content, never by time stamp.

Each step of a profile (data, a run, a report, the book, the summary) notes what it is made from before it
begins: the code that it imports, its notebook, its parameters, the pins of its packages, the data's
fingerprint. It is stale when one of these is another today. A run has its note in its own folder; one that
has none is judged by the commit that its record names, and is not stale where git does not know that.

`make status` says it (tools/status.py); `begin` is what a step calls before it starts.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from code_digests import Reader, at_commit, code_digest, code_inputs, digest, in_folder, notebook_code

from xnnlib.campaign import LISTS
from xnnlib.files import write_atomically
from xnnlib.report import BESIDE
from xnnlib.settings import from_mapping

NOTEBOOKS = ("design", "results", "implementation")
NOTE, RECORD = "inputs.json", ("record.json", "epochs.csv")
DATA_SETTINGS = ("dataset", "num_classes", "train_images", "val_images", "hold_out", "recipe", "crop")
IMAGES, FINGERPRINT = "the images' files", "the data's fingerprint"
COMPILER = "xnnlib.compiling"  # on a processor it leaves the network as it is
UNKNOWN = "up to date as far as is known: what it was made from was not noted"

Inputs = dict[str, str]  # the digest, or the value where it is short, of each thing that a step is made from


@dataclass(frozen=True)
class Step:
    """One output of a profile, what it is made from, and the steps whose outputs it reads."""

    output: Path
    note: Path
    inputs: Callable[[], Inputs]
    after: tuple[str, ...] = ()


class Profile:
    """The steps of one profile of the project in `root`, by name in their order.

    Raises ValueError, one line, if there is no such profile.
    """

    def __init__(self, name: str, root: Path = Path()):
        self.name, self.root, self.read = name, root, in_folder(root)
        plans = yaml.safe_load(self.read("profiles/runs.yaml"))
        if name not in plans:
            known = ", ".join(plans)
            raise ValueError(f"profile {name!r} is not in profiles/runs.yaml; choose one of {known}.")
        profile = f"profiles/{name}.yaml"
        self.settings = from_mapping(yaml.safe_load(self.read(profile)), profile)
        plan = plans[name]
        self.runs = tuple(f"{block}-seed{seed}" for block in plan["blocks"] for seed in plan["seeds"])
        self.build, self.results = root / "_build" / name, root / "results" / name
        self.steps = {"data": self._built("data", "data.txt", cache(self._data))}
        for run in self.runs:
            folder = self.results / run
            self.steps[run] = Step(folder / "train.ipynb", folder / NOTE, self._run)
        for report in NOTEBOOKS:
            runs = self.runs if report == "results" else ()
            inputs = lambda report=report, runs=runs: self._report(report, runs)  # noqa: E731
            self.steps[report] = self._built(report, f"source/notebooks/{report}.ipynb", inputs, runs)
        made = (*self.runs, *NOTEBOOKS)
        self.steps["book"] = self._built("book", "_build/html/index.html", self._book, made)
        self.steps["summary"] = self._built("summary", "summary.txt", self._summary, self.runs)

    def changes(self, name: str) -> str:
        """What is another today than when the step was made; "" if nothing is, or if that is unknown."""
        made = self._made_from(name)
        return "" if made is None else changes(made, self.steps[name].inputs(), self._record(name))

    def trained(self, name: str) -> bool:
        """Whether the step is a run that was trained to its end; its notebook may still be missing."""
        return name in self.runs and bool(self._record(name).get("complete"))

    def finished(self, name: str) -> bool:
        """Whether the step's output is there and whole."""
        return self.steps[name].output.exists() and (name not in self.runs or self.trained(name))

    def stale_runs(self) -> list[str]:
        """The runs that were trained to their end, but from something else than there is today."""
        return [run for run in self.runs if self.trained(run) and self.changes(run)]

    def keeps_runs(self, stale: str | None) -> bool:
        """Whether trained runs that are stale stay as they are, by the wish `stale`: keep, retrain or none.

        Without a wish the profile quick trains them again. Raises ValueError, one line, if another has some,
        or if the wish is an unknown one.
        """
        if stale and stale not in ("keep", "retrain"):
            raise ValueError(f"STALE is {stale!r}; choose keep or retrain.")
        runs = [] if stale or self.name == "quick" else self.stale_runs()
        if runs:
            raise ValueError(
                f"{self.results} holds trained runs that are stale: {', '.join(runs)} "
                "(`make status` says why); add STALE=keep to go on with them, or STALE=retrain to train anew."
            )
        return stale == "keep"

    def to_make_again(self, name: str, keep: bool) -> bool:
        """Whether a step whose output is there must be made again; with `keep`, a trained run never is."""
        if self.trained(name):
            return not keep and bool(self.changes(name))
        if not self.finished(name):
            return self.steps[name].output.exists()
        before = self.steps[name].after
        return bool(self.changes(name)) or any(
            not self.finished(step) or self.to_make_again(step, keep) for step in before
        )

    def put_aside(self, run: str) -> None:
        """Keep a run that is to be trained again, in the place of the one that was kept before."""
        aside = self.build / "replaced" / run
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.results / run, aside)

    def begin(self, name: str, again: bool) -> None:
        """Note what a step is made from, before it starts; a trained run that is made `again` is put aside.

        A run that goes on from a checkpoint keeps the note of its beginning.
        """
        step = self.steps[name]
        if again and self.trained(name):
            self.put_aside(name)
        elif self.trained(name) or self._goes_on(name):
            return
        write_note(step.note, step.inputs())

    def status(self) -> Iterator[tuple[str, str]]:
        """Each step with what there is to say of it."""
        for name, step in self.steps.items():
            if name in self.runs:
                yield name, run_status(self.results / name, self._made_from(name), step.inputs())
            else:
                yield name, self._status(name, step)

    def _status(self, name: str, step: Step) -> str:
        if not step.output.exists():
            return "missing"
        reasons = [self.changes(name)] if self.changes(name) else []
        reasons += [f"{before} is missing" for before in step.after if not self.finished(before)]
        return f"stale: {'; '.join(reasons)}" if reasons else "up to date"

    def _goes_on(self, name: str) -> bool:
        return name in self.runs and goes_on(self.results / name)

    def _record(self, run: str) -> dict:
        return record_of(self.results / run)

    def _made_from(self, name: str) -> Inputs | None:
        made = read_note(self.steps[name].note)
        if made is None:
            if name not in self.runs:
                return {}  # of no known origin: it is made again, which takes seconds
            read = at_commit(self.root, self._record(name).get("commit", ""))
            made = self._training(read) if read and read("notebooks/train.ipynb") else None
        if name in self.runs and made:
            made |= {FINGERPRINT: self._record(name).get("dataset", {}).get("fingerprint", "")}
        return made

    # What each kind of step is made from.

    def _built(self, name: str, output: str, inputs: Callable, after: tuple[str, ...] = ()) -> Step:
        return Step(self.build / output, self.build / "inputs" / f"{name}.json", inputs, after)

    def _training(self, read: Reader) -> Inputs:
        settings = yaml.safe_load(read(f"profiles/{self.name}.yaml") or "{}")
        return run_inputs(read, self.name, settings)

    def _run(self) -> Inputs:
        inputs = self._training(self.read)
        if self.finished("data") and not self.changes("data"):
            said = (self.build / "data.txt").read_text(encoding="utf-8").split("fingerprint: ")
            inputs |= {FINGERPRINT: said[-1].strip()}
        return inputs

    def _data(self) -> Inputs:
        settings = {key: getattr(self.settings, key) for key in DATA_SETTINGS}
        inputs = code_inputs(self.read, [self.read("tools/pack_data.py")]) | parameters(self.name, settings)
        place = Path(self.settings.data_root or os.environ.get("XNNLIB_TINY_IMAGENET") or "nowhere")
        if self.settings.dataset != "shapes" and place.exists():
            stats = [(str(file), file.stat()) for file in sorted([place, *place.rglob("*")])]
            inputs |= {IMAGES: digest([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])}
        return inputs

    def _report(self, report: str, runs: tuple[str, ...]) -> Inputs:
        path = f"notebooks/{report}.ipynb"
        text = self.read(path)
        cells = [(cell["cell_type"], cell["source"]) for cell in json.loads(text)["cells"]]
        records = [f"results/{self.name}/{run}/{file}" for run in runs for file in RECORD]
        records += [f"results/{BESIDE}/*/{file}" for file in RECORD if runs]
        files = self._files("xnnlib/report/*.mplstyle", *records)
        return code_inputs(self.read, [notebook_code(text)]) | {path: digest(cells)} | files

    def _book(self) -> Inputs:
        extension = [file.read_text(encoding="utf-8") for file in self.root.glob("book/_ext/*.py")]
        reports = [f"_build/{self.name}/source/notebooks/{report}.ipynb" for report in NOTEBOOKS]
        sources = ("_config.yml", "_toc.yml", "references.bib", "constraints.txt", "book/**/*")
        sources += ("benchmarks/results/*/*.json", *LISTS, "profiles/paper.yaml", "profiles/small.yaml")
        entries = [entry for name in LISTS for entry in yaml.safe_load(self.read(name) or "[]")]
        shown = [BESIDE, *(f"{entry['results']}*" for entry in entries)]
        sources += tuple(f"results/{name}/*/[!.]*" for name in shown)
        return code_inputs(self.read, extension) | self._files(*sources, *reports) | self._run_folders()

    def _summary(self) -> Inputs:
        code = code_inputs(self.read, ["import xnnlib.verify, xnnlib.report.tables"])
        return code | self._run_folders()

    def _run_folders(self) -> Inputs:
        return self._files(*(f"results/{self.name}/{run}/[!.]*" for run in self.runs))

    def _files(self, *patterns: str) -> Inputs:
        files = sorted({file for pattern in patterns for file in self.root.glob(pattern)})
        kept = [file for file in files if file.is_file() and "__pycache__" not in file.parts]
        return {
            file.relative_to(self.root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:16]
            for file in kept
        }


def run_inputs(read: Reader, profile: str, settings: dict) -> Inputs:
    """What a run of a profile with these settings is made from, but for its images.

    What its notebook shows of it, with xnnlib.report, is no part of the training.
    """
    code = notebook_code(read("notebooks/train.ipynb"))
    modules = code_inputs(read, [code], without="xnnlib.report")
    return modules | {"notebooks/train.ipynb": code_digest(code)} | parameters(profile, settings)


def parameters(profile: str, settings: dict) -> Inputs:
    """The settings of a profile; where its images lie is none that matters."""
    own = {key: value for key, value in settings.items() if key != "data_root"}
    return {f"{key} in profiles/{profile}.yaml": str(value) for key, value in own.items()}


def changes(made: Inputs, now: Inputs, record: dict) -> str:
    """What is another in `now` than in `made`, in one line; `record` says on what device a run was made."""
    found: dict[str, list[str]] = {}
    on_processor = record.get("device", {}).get("type") == "cpu"
    for key in made | now:
        if key == COMPILER and on_processor:
            continue
        # Images that are not here cannot be compared.
        if made.get(key) != now.get(key) and (key in now or key not in (IMAGES, FINGERPRINT)):
            found.setdefault(_change(key, made.get(key), now.get(key)), []).append(key)
    return "; ".join(f"{', '.join(keys)} {change}" for change, keys in found.items())


def run_status(folder: Path, made: Inputs | None, now: Inputs) -> str:
    """What there is to say of a run that was `made` from that, if it is known, and would be from `now`."""
    record = record_of(folder)
    if not record.get("complete"):
        if record.get("diverged"):
            return "diverged"
        rows = (folder / "epochs.csv").read_text().count("\n") if (folder / "epochs.csv").exists() else 1
        return f"interrupted in epoch {rows}" if goes_on(folder) else "missing"
    if made and (changed := changes(made, now, record)):
        return f"stale: {changed}"
    if not (folder / "train.ipynb").exists():
        return "trained, but its executed notebook is missing"
    return "up to date" if made else UNKNOWN


def record_of(run: Path) -> dict:
    """The record in a run's folder, unchecked; an empty one if there is none."""
    try:
        return json.loads((run / "record.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def goes_on(run: Path) -> bool:
    """Whether a run was begun and not ended: it has a checkpoint, or the one before it after a kill."""
    return any(run.glob("checkpoint*.pt"))


def read_note(path: Path) -> Inputs | None:
    """What a step was made from; None if that was not noted."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_note(path: Path, inputs: Inputs) -> None:
    """Note what a step is made from."""
    content = json.dumps(inputs, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(content.encode()))


def _change(key: str, old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return "new" if old is None else "gone"
    return f"was {old}, is {new}" if " in " in key else "changed"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/staleness.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("begin", help="note what a step is made from")
    begin.add_argument("profile")
    begin.add_argument("step", help="data, a run, a report, book or summary")
    begin.add_argument("marker", nargs="*", help="given: put a trained run aside and train it again")
    options = parser.parse_args(arguments)
    try:
        Profile(options.profile).begin(options.step, bool(options.marker))
    except (ValueError, SyntaxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Verification: are the shipped files those of the records, and do the weights do what the records say?

`python -m xnnlib.verify results/small` checks the files of a profile against their checksums, evaluates the
weights of each run again on the data that its record names, and prints a verdict for each run.
Of a profile with several seeds not every run need come with its weights; the verdict then says so.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from xnnlib import records, runtime
from xnnlib.data import Dataset, load_dataset
from xnnlib.errors import UserError
from xnnlib.files import sha256, write_atomically
from xnnlib.records import Run, load_trained
from xnnlib.report.summary import network_title
from xnnlib.report.tables import Table
from xnnlib.training import evaluate

CHECKSUMS = "SHA256SUMS"  # one line a file, `<SHA-256>  <name>`, as `sha256sum -c` reads it

# Tolerances between the record and an evaluation of the shipped weights, which are stored in half precision
# and which another device rounds differently. Rounding trained weights at random to that precision moved the
# loss by 0.0007 to 0.0017 and two or three images (standard deviations, on 500 and on 5,000 images).
LOSS_TOLERANCE, TOP1_TOLERANCE, IMAGES_TOLERANCE = 0.01, 0.5, 8
NO_WEIGHTS = "files ok; no weights are shipped"


def write_checksums(folder: Path) -> None:
    """Write the checksums of every file of the profile's runs."""
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
    write_atomically(folder / CHECKSUMS, lambda file: file.write("".join(lines).encode()))


def read_checksums(folder: Path) -> dict[str, str]:
    """The checksum of each file of the profile's runs, by its name. Raises UserError if there are none."""
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except FileNotFoundError:
        found = ", ".join(sorted(path.parent.name for path in folder.parent.glob(f"*/{CHECKSUMS}")))
        choice = f"these profiles can be checked: {found or 'none'}."
        raise UserError(f"{folder / CHECKSUMS} is missing; write it with --write; {choice}") from None
    except ValueError:
        raise UserError(f"{folder / CHECKSUMS} is damaged; fetch it again.") from None


def check_files(folder: Path) -> dict[str, str]:
    """What is wrong with each file of the profile's runs that is not as its checksum says, by name.

    Raises UserError if there are no checksums.
    """
    expected = read_checksums(folder)
    there = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    problems = {name: "missing" for name in expected.keys() - there.keys()}
    problems |= {name: "no checksum" for name in there.keys() - expected.keys()}
    for name in tqdm(sorted(expected.keys() & there.keys()), desc="check files", unit="file"):
        if sha256(there[name]) != expected[name]:
            problems[name] = "changed"
    return problems


def check_run(run: Run, dataset: Dataset) -> tuple[str, str, str]:
    """The shipped weights' top-1 in percent and loss on the validation images, as text, and the verdict."""
    if dataset.fingerprint != run.record["dataset"]["fingerprint"]:
        return "-", "-", "FAILED: other data than the record's"
    device = runtime.pick_device()
    recipe = runtime.recipe_on(device, run.recipe)
    loss, top1 = evaluate(load_trained(run, device), dataset.val, recipe, device)
    return f"{top1:.2f}", f"{loss:.4f}", judge(run.record["last"], loss, top1, len(dataset.val))


def judge(last: dict, loss: float, top1: float, images: int) -> str:
    """The verdict on what was evaluated against the record's `last` epoch."""
    allowed = {
        "points of top-1": (abs(top1 - last["top1"]), max(TOP1_TOLERANCE, 100 * IMAGES_TOLERANCE / images)),
        "of the loss": (abs(loss - last["loss"]), LOSS_TOLERANCE),
    }
    # Written so that a NaN loss is off as well.
    off = {what: pair for what, pair in allowed.items() if not pair[0] <= pair[1] + 1e-6}
    found = [f"{by:.4g} {what} off, {most:g} allowed" for what, (by, most) in off.items()]
    return f"FAILED: {', '.join(found)}" if found else "ok"


def load_images_of(run: Run, data_root: str = "") -> Dataset:
    """The images that the run was trained on, by what it asked for. Raises UserError as load_dataset does."""
    given = run.record["dataset"]  # what a run without parameters asked for
    asked = given | (run.record.get("parameters") or {})
    counts = {name: asked[name] for name in ("num_classes", "train_images", "val_images")}
    dataset = load_dataset(given["name"], data_root, **counts, size=run.recipe.resize)
    return dataset.held_out() if asked.get("hold_out") else dataset


def verify(folder: Path, data_root: str = "") -> tuple[Table, bool]:
    """A verdict for each run of the profile in `folder`, and whether all are good.

    Raises UserError on records, checksums or data that cannot be read.
    """
    problems = check_files(folder)
    for name, problem in sorted(problems.items()):
        print(f"{folder / name}: {problem}", file=sys.stderr)
    rows, datasets = [], {}
    damaged = {name.split("/")[0] for name in problems}
    for run in records.load_runs(folder.parent, folder.name):
        top1, loss, verdict = "-", "-", NO_WEIGHTS
        if run.path.name in damaged:
            verdict = "FAILED: files are not those of the record"
        elif (run.path / records.WEIGHTS).exists():
            key = (run.record["dataset"]["fingerprint"], run.recipe.resize)
            if key not in datasets:
                datasets[key] = load_images_of(run, data_root)
            top1, loss, verdict = check_run(run, datasets[key])
        last, title = run.record["last"], network_title(run)
        was = (f"{last['top1']:.2f}", f"{last['loss']:.4f}")
        rows.append((title, str(run.record["seed"]), was[0], top1, was[1], loss, verdict))
    columns = ("Block", "Seed", "Top-1, record (%)", "now (%)", "Loss, record", "now", "Verdict")
    good = not problems and all(row[-1] in ("ok", NO_WEIGHTS) for row in rows)
    return Table(columns, "lrrrrrl", tuple(rows)), good


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.is_file() and not path.name.startswith("."))


def main(arguments: list[str] | None = None) -> int:
    """Verify a profile from the command line; 0 if all is good, 1 if not, 2 if it could not be checked."""
    parser = argparse.ArgumentParser(prog="python -m xnnlib.verify", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the profile's records, such as results/small")
    parser.add_argument("--data-root", default="", help="the data's archive or folder")
    parser.add_argument("--write", action="store_true", help="write the checksums instead, after training")
    options = parser.parse_args(arguments)
    try:
        if options.write:
            write_checksums(options.folder)
            return 0
        table, good = verify(options.folder, options.data_root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was changed.", file=sys.stderr)
        return 130
    print(table)
    evaluated = sum(row[-1] != NO_WEIGHTS for row in table.rows)
    whole = "All runs" if evaluated == len(table.rows) else f"{evaluated} of {len(table.rows)} runs"
    tolerance = f"{LOSS_TOLERANCE} of the loss, {TOP1_TOLERANCE} points of top-1 or {IMAGES_TOLERANCE} images"
    print(f"\n{f'{whole} verified' if good else 'NOT VERIFIED'}; tolerance {tolerance}.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Assemble one archive of everything that a reader needs to check the paper: `make release`.

It holds the built book with its PDF, the records and weights of the profile shown, the records of the one
beside it and of the campaigns, the notebooks and the licences. Built twice from the same commit, in whatever
folder, it has the same bytes.
"""

import hashlib
import sys
from pathlib import Path

from xnnlib.bundles import write_bundle
from xnnlib.campaign import LISTS
from xnnlib.records import EPOCHS, RECORD
from xnnlib.report import BESIDE
from xnnlib.report.campaign import load_campaign

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "_build" / "release" / "_build" / "html"
FOLDERS = ("notebooks", "figures", "profiles")
LEFT_OUT = {"__pycache__", ".buildinfo"}  # Sphinx's note changes with folders that are not shown
FILES = ("LICENSE", "LICENSE-TEXT", "CITATION.cff", "README.md", "references.bib", "constraints.txt")


def contents(profile: str) -> dict[str, Path]:
    """Every file of the release by its name in the archive."""
    shown = (f"results/{profile}", f"results/{BESIDE}")
    folders = {"book": BOOK} | {name: ROOT / name for name in (*FOLDERS, *shown)}
    found = {name: ROOT / name for name in FILES} | {"paper.pdf": BOOK / "paper.pdf"}
    groups = [group for name in LISTS for group in load_campaign(ROOT, name)]
    for run in (run for group in groups for run in group.runs):
        for file in (run.path / name for name in (RECORD, EPOCHS, "train.ipynb")):
            found[file.relative_to(ROOT).as_posix()] = file
    for name, folder in folders.items():
        files = [file for file in folder.rglob("*") if file.is_file() and not LEFT_OUT & set(file.parts)]
        found |= {f"{name}/{file.relative_to(folder).as_posix()}": file for file in files}
    return found


def main(profile: str, version: str) -> None:
    archive = ROOT / "_build" / "release" / f"xnnlib-paper-{version}.zip"
    write_bundle(archive, contents(profile))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    print(f"{archive}: {archive.stat().st_size / 2**20:.1f} MiB, SHA-256 {digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Assemble one archive of everything that a reader needs to check the paper: `make release`.

It holds the built book with its PDF, the records and weights in results/, the notebooks and the licences.
Built twice from the same commit, in whatever folder, it has the same bytes.
"""

import hashlib
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "_build" / "release" / "_build" / "html"
FOLDERS = ("notebooks", "figures", "profiles", "results")
FILES = ("LICENSE", "LICENSE-TEXT", "CITATION.cff", "README.md", "references.bib", "constraints.txt")
# Sphinx's note changes with folders that are not shown; quick runs are each reader's own.
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", ".buildinfo", ".lock", "quick"}


def write_bundle(path: Path, files: Mapping[str, Path]) -> None:
    """Zip `files`, by their names in the archive, into a folder named after the archive, with SHA256SUMS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    checksums = ""
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in sorted(files.items()):
            content = file.read_bytes()
            checksums += f"{hashlib.sha256(content).hexdigest()}  {name}\n"
            archive.writestr(_entry(f"{path.stem}/{name}"), content)
        archive.writestr(_entry(f"{path.stem}/SHA256SUMS"), checksums)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # of 1980, the earliest time that a zip can hold
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, for the permissions
    entry.external_attr = 0o644 << 16
    return entry


def contents(root: Path = ROOT, book: Path = BOOK) -> dict[str, Path]:
    """Every file of the release by its name in the archive."""
    found = {name: root / name for name in FILES} | {"paper.pdf": book / "paper.pdf"}
    for name, folder in {"book": book, **{name: root / name for name in FOLDERS}}.items():
        for file in folder.rglob("*"):
            inside = file.relative_to(folder)
            if file.is_file() and not LEFT_OUT & set(inside.parts) and file.suffix != ".pt":
                found[f"{name}/{inside.as_posix()}"] = file
    return found


if __name__ == "__main__":
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    bundle = ROOT / "_build" / "release" / f"xnnlib-paper-{version}.zip"
    write_bundle(bundle, contents())
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    print(f"{bundle}: {bundle.stat().st_size / 2**20:.1f} MiB, SHA-256 {digest}")

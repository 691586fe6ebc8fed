"""One zip of many files that has the same bytes whenever and wherever it is made."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

# One line a file, `<SHA-256>  <name>`, as `sha256sum -c` reads it.
CHECKSUMS = "SHA256SUMS"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold: entries carry none of their own


def write_bundle(path: Path, files: Mapping[str, Path]) -> None:
    """Write `files`, by their names in the archive, into a folder named after the archive.

    Their checksums go in as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    checksums = ""
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in sorted(files.items()):
            content = file.read_bytes()
            checksums += f"{hashlib.sha256(content).hexdigest()}  {name}\n"
            archive.writestr(_entry(f"{path.stem}/{name}"), content)
        archive.writestr(_entry(f"{path.stem}/{CHECKSUMS}"), checksums)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, for the permissions
    entry.external_attr = 0o644 << 16
    return entry

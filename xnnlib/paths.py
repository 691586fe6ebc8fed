"""Where the project's folders are, from the root or from notebooks/."""

import os
from pathlib import Path


def project_path(path: str | os.PathLike) -> Path:
    """Resolve `path` against the closest folder upwards of the working one that holds the project.

    Notebooks run in the project's root under papermill and in notebooks/ under nbval and Jupyter;
    the same relative path must mean the same file in both. Absolute paths are returned as they are;
    outside a checkout the working folder is the base.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").exists() and (folder / "notebooks").is_dir():
            return folder / path
    return here / path

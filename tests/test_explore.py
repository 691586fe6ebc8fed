"""The notebook that looks into the records, where it was opened without its repository, as Colab does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_runtime import git

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "explore.ipynb"


@pytest.fixture
def published(tmp_path) -> Path:
    """A repository with a library of its own, released as `v7` and changed since."""
    repository = tmp_path / "repository"
    library = repository / "xnnlib" / "__init__.py"
    library.parent.mkdir(parents=True)
    git(repository, "init", "--quiet")
    for text in ("released = True", "released = False"):
        library.write_text(f"{text}\n")
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "-m", text)
        if text == "released = True":
            git(repository, "tag", "v7")
    return repository


def test_a_notebook_that_is_alone_fetches_its_release_once(published, tmp_path):
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "".join(next(cell["source"] for cell in cells if cell["cell_type"] == "code"))
    (given,) = [line for line in code.splitlines() if line.startswith("REPOSITORY, RELEASE = ")]
    code = code.replace(given, f'REPOSITORY, RELEASE = "{published.as_uri()}", "v7"')
    alone = tmp_path / "alone"
    alone.mkdir()
    script = f"{code}\nimport xnnlib\nprint(xnnlib.released)\n"
    for _ in range(2):  # the kernel may be started again in the same folder
        done = subprocess.run([sys.executable, "-c", script], cwd=alone, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
        (alone / "paper" / "mine").touch()
    assert (alone / "paper" / "mine").exists()

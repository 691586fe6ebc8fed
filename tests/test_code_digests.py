"""The digest of the code that training imports: what changes it, and what does not."""

import pytest

from xnnlib.runtime import code_digest

TRAINING = '''"""Training."""
from xnnlib.data import load
from xnnlib import model, report
import torch


def fit():
    from xnnlib.checkpoint import save
    return load(model.gate)  # a gate


def main():
    print("command line")


if __name__ == "__main__":
    main()
'''
FILES = {
    "__init__.py": "",
    "training.py": TRAINING,
    "model.py": "gate = 1\n",
    "checkpoint.py": "def save():\n    return f'{1}'\n",
    "data/__init__.py": "from xnnlib.data.pack import load\n",
    "data/pack.py": "def load(value):\n    return value\n",
    "data/download.py": "url = 1\n",
    "report/__init__.py": "color = 1\n",
    "../torch.py": "version = 1\n",  # beside the package, as where it is installed
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        (tmp_path / "xnnlib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "xnnlib" / name).write_text(text)
    return tmp_path / "xnnlib"


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("training.py", "model.gate", "2"),
        ("model.py", "1", "2"),
        ("checkpoint.py", "1", "2"),  # imported in a function
        ("data/__init__.py", "pack", "download"),
        ("data/pack.py", "value\n", "None\n"),  # imported by what is imported
    ],
)
def test_change_of_what_training_runs_changes_the_digest(package, file, old, new):
    before = code_digest(package)
    (package / file).write_text(FILES[file].replace(old, new))
    code_digest.cache_clear()
    assert code_digest(package) != before


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("training.py", '"""Training."""', '"""Other words."""'),
        ("training.py", "a gate", "the gate"),
        ("training.py", "command line", "other words"),
        ("model.py", "gate = 1", "gate = (  1  )"),
        ("data/download.py", "1", "2"),  # nobody imports it
        ("report/__init__.py", "1", "2"),
        ("../torch.py", "1", "2"),
    ],
)
def test_comments_layout_and_the_report_change_nothing(package, file, old, new):
    before = code_digest(package)
    assert old in FILES[file]
    (package / file).write_text(FILES[file].replace(old, new))
    code_digest.cache_clear()
    assert code_digest(package) == before

"""The digest of the code that training imports: what changes it, and what does not."""

import pytest

from xnnlib.runtime import code_digest

TRAINING = '''"""Training."""
from xnnlib.data import load
from xnnlib import model, report


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
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        (tmp_path / "xnnlib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "xnnlib" / name).write_text(text)
    return tmp_path / "xnnlib"


@pytest.mark.parametrize(
    "file, old, new, changes",
    [
        ("training.py", "model.gate", "2", True),
        ("model.py", "1", "2", True),
        ("checkpoint.py", "1", "2", True),  # imported in a function
        ("data/__init__.py", "pack", "download", True),
        ("data/pack.py", "value\n", "None\n", True),  # imported by what is imported
        ("training.py", '"""Training."""', '"""Other words."""', False),
        ("training.py", "a gate", "the gate", False),
        ("training.py", "command line", "other words", False),
        ("model.py", "gate = 1", "gate = (  1  )", False),
        ("data/download.py", "1", "2", False),  # nobody imports it
        ("report/__init__.py", "1", "2", False),
    ],
)
def test_only_what_training_runs_counts(package, file, old, new, changes):
    before = code_digest(package)
    assert old in FILES[file]
    (package / file).write_text(FILES[file].replace(old, new))
    code_digest.cache_clear()
    assert (code_digest(package) != before) == changes

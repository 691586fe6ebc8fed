"""Which code a result is made by, and which changes of it count."""

import pytest
from code_digests import at_commit, code_digest, code_inputs, in_folder
from tiny_project import make_project


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


def test_imports_are_followed_to_the_modules_and_pins_that_count(project):
    found = code_inputs(in_folder(project), ["from xnnlib import fit\n"])
    assert list(found) == [
        "torch in constraints.txt",
        "xnnlib.compiling",
        "xnnlib.model",
        "xnnlib.training",
    ]
    assert found["torch in constraints.txt"] == "2.13.0"


def test_a_commit_whose_package_imports_what_it_hands_on_is_read_too(project):
    (project / "xnnlib/__init__.py").write_text("from xnnlib.training import fit\n")
    found = code_inputs(in_folder(project), ["from xnnlib import fit\n"])
    assert "xnnlib.training" in found and "xnnlib.model" in found


@pytest.mark.parametrize(
    "source",
    [
        "import xnnlib.report.curves",
        "from xnnlib.report import curves",
        "from xnnlib.report.curves import color",
        "def late():\n    from xnnlib.report.curves import color",
    ],
)
def test_every_way_to_import_is_seen_with_the_package_around_it(project, source):
    read = in_folder(project)
    assert set(code_inputs(read, [source])) == {"xnnlib.report", "xnnlib.report.curves"}
    assert code_inputs(read, [source], without="xnnlib.report") == {}


def test_a_name_that_the_package_does_not_have_is_an_error(project):
    with pytest.raises(ValueError, match="xnnlib has no nothing"):
        code_inputs(in_folder(project), ["from xnnlib import nothing"])


def test_comments_docstrings_and_layout_do_not_count():
    one = 'def f(a,b):\n    """Old."""\n    return (a +\n        b)  # why\n'
    two = '"""Module."""\ndef f(a, b):\n    return a + b\n'
    assert code_digest(one) == code_digest(two)


@pytest.mark.parametrize("other", ["def f(a):\n    return a - 1", "def f(a):\n    return a + 1.0", "'text'"])
def test_what_the_code_does_counts(other):
    assert code_digest("def f(a):\n    return a + 1") != code_digest(other)


def test_a_text_that_is_no_docstring_counts():
    assert code_digest("x = 'one'") != code_digest("x = 'two'")


def test_a_commit_that_git_does_not_know_reads_nothing(tmp_path):
    assert at_commit(tmp_path, "0" * 40) is None
    assert at_commit(tmp_path, "") is None

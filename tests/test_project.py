"""What holds the project's own files together: dependencies, imports, commands, versions."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from book_config import CONFIG, SHOWN_PROFILE
from machine_places import place_in
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from xnnlib.profiles import load_profiles

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}  # where pip knows a package by another name

# Lowest first: a module imports only from the lines above its own. A package is one line.
LAYERS = "errors files spec runtime baselines settings profiles model complexity data parallel".split()
LAYERS += "records checkpoint training analysis routing_study report verify".split()
WITHOUT_TORCH = ("errors", "files", "spec", "settings", "profiles")


def requirements() -> list[Requirement]:
    return [Requirement(line) for line in [*PROJECT["dependencies"], *sum(EXTRAS.values(), [])]]


def pins() -> list[tuple[str, str]]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("==")) for line in lines if line and not line.startswith("#")]


def tracked_files() -> list[Path]:
    try:
        command = ["git", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: the committed files are unknown")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def imported_names(module: Path) -> set[str]:
    """Every module that a file imports, at its top or in a function, as absolute dotted names."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide which way they point"
            own = node.module == "xnnlib"
            names |= {f"xnnlib.{alias.name}" for alias in node.names} if own else {node.module}
    return names


def layer_files(layer: str) -> list[Path]:
    module = ROOT / "xnnlib" / f"{layer}.py"
    return [module] if module.exists() else sorted(module.with_suffix("").rglob("*.py"))


# Dependencies


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_each_dependency_has_one_pin_that_satisfies_it(requirement):
    versions = [version for name, version in pins() if name == canonicalize_name(requirement.name)]
    assert len(versions) == 1
    assert requirement.specifier.contains(versions[0])


def test_constraints_are_exact_and_unique():
    names = [name for name, _ in pins()]
    assert sorted(set(names)) == sorted(names) == sorted(map(canonicalize_name, names))
    assert [version for _, version in pins() if not re.fullmatch(r"[0-9][0-9a-z.]*", version)] == []


def test_make_conda_and_binder_install_through_the_constraints():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (pip,) = [entry["pip"] for entry in environment if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e .[paper,test]"]
    assert "-c constraints.txt -e '.[paper,test]'" in makefile
    binder = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {"-c ../constraints.txt", "-e ."} <= set(binder)
    pythons = [entry for entry in environment if str(entry).startswith("python=")]
    pythons.append((ROOT / "binder" / "runtime.txt").read_text(encoding="utf-8").replace("-", "=").strip())
    for python in pythons:
        assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.split("=")[1])


def test_library_declares_what_it_imports_and_nothing_else():
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    names = set().union(*map(imported_names, (ROOT / "xnnlib").rglob("*.py")))
    tops = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    assert {DISTRIBUTIONS.get(top, top) for top in tops} - {"xnnlib", "torchvision", "timm"} == declared


# Imports, sizes


def test_each_module_of_the_library_has_its_layer():
    paths = [path for path in (ROOT / "xnnlib").glob("[a-z]*") if path.is_dir() or path.suffix == ".py"]
    assert {path.stem for path in paths} == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_down(layer):
    allowed = {*LAYERS[: LAYERS.index(layer)], layer}
    allowed -= {"training"} if layer == "report" else set()  # nothing that reads records ever trains
    for file in layer_files(layer):
        names = imported_names(file)
        imported = {name.split(".")[1] for name in names if name.startswith("xnnlib.")}
        assert imported <= allowed, f"{file.relative_to(ROOT)} imports {sorted(imported - allowed)}"
        assert layer not in WITHOUT_TORCH or "torch" not in {name.split(".")[0] for name in names}


@pytest.mark.slow
def test_training_imports_few_of_our_modules():
    # The files of packages only pass names on.
    code = "import sys, xnnlib.training; print(*(name for name, module in sys.modules.items()"
    code += " if name.startswith('xnnlib.') and not hasattr(module, '__path__')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(done.stdout.split()) <= 20, done.stdout


def test_no_file_is_longer_than_400_lines():
    files = [path for path in tracked_files() if path.suffix == ".py"]
    lengths = {str(path.relative_to(ROOT)): len(path.read_bytes().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


# Commands


def make_targets() -> dict[str, str]:
    """Each target of the Makefile that a user may name, with its help."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)[1].split()
    described = dict(re.findall(r"^([a-z]+):.*?##\s*(.+)$", makefile, re.MULTILINE))
    return {target: described.get(target, "") for target in phony}


def test_each_make_target_has_a_help_line():
    assert [target for target, text in make_targets().items() if not text] == []


@pytest.mark.parametrize("page", ["README.md", "book/reproduce.md"])
def test_each_command_that_is_told_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    told = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert "reproduce" in told <= set(make_targets())
    assert set(re.findall(r"PROFILE=([\w/.-]+)", text)) <= load_profiles(ROOT).keys()


@pytest.mark.parametrize("name", ["tiny data.zip", 'a "quoted" name', "it's"])
def test_verify_gets_a_name_as_it_is_given(name, tmp_path):
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    values = [f"BIN={tmp_path}", "PROFILE=small", f"DATA={name}"]
    command = ["make", "-s", "-o", ".venv/.installed", *values, "verify"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["-m", "xnnlib.verify", "results/small", "--data-root", name]


def test_git_changes_no_line_ends(tmp_path):
    (tmp_path / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    command = ["git", "-c", "core.autocrlf=true", "check-attr", "text", ".ci/run", "results/small/SHA256SUMS"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [".ci/run: text: unset", "results/small/SHA256SUMS: text: unset"]


# Versions and traces


@pytest.mark.parametrize("name", ["results", "analysis", "explore"])
def test_notebooks_show_the_profile_that_the_book_shows(name):
    (shown,) = re.findall(r'^profile = "([a-z]+)"$', code_files()[f"notebooks/{name}.ipynb"], re.MULTILINE)
    assert shown == SHOWN_PROFILE


def test_all_agree_on_author_place_and_release():
    assert [author["name"] for author in CITATION["authors"]] == [PROJECT["authors"][0]["name"]]
    assert CITATION["version"] == PROJECT["version"]
    published = CONFIG["repository"]
    assert published == {"url": CITATION.get("repository-code", ""), "branch": f"v{PROJECT['version']}"}
    constants = f'REPOSITORY, RELEASE = "{published["url"]}", "{published["branch"]}"'
    assert constants in code_files()["notebooks/explore.ipynb"].splitlines()


def test_committed_text_names_no_place_of_one_machine():
    for file in tracked_files():
        text = file.read_text(encoding="utf-8", errors="replace")
        assert not place_in(text), f"{file.relative_to(ROOT)} names {place_in(text)!r}"


def test_a_place_of_one_machine_is_seen():
    for text in ("see /ho" + "me/someone/x", "file:" + "///x", f"{ROOT}/results", "/ro" + "ot/.cache"):
        assert place_in(text)
    assert not place_in("results/small/se-seed0, root of the project, localhost")


def code_files() -> dict[str, str]:
    """The project's Python by its place: modules, tools, the book's extension, the notebooks' cells."""
    modules = [path for top in ("xnnlib", "tools", "book/_ext") for path in (ROOT / top).rglob("*.py")]
    code = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in modules}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        code[str(path.relative_to(ROOT))] = "\n".join(sources)
    return code


# What reads a format that can name code to run: pickle, and YAML with all its tags.
UNSAFE = re.compile(
    r"^\s*(?:import|from) (?:c?pickle|_pickle|cloudpickle|dill|joblib|marshal|shelve)\b"
    r"|torch\.load\((?!.*weights_only=True)|yaml\.(?!safe_)(?:\w+_)?load(?:_all)?\(|allow_pickle=(?!False)",
    re.MULTILINE | re.IGNORECASE,
)


def unsafe_loads(code: str) -> list[str]:
    return UNSAFE.findall(ast.unparse(ast.parse(code)))  # each call on one line, no comments


def test_no_code_reads_what_could_run_code():
    files = code_files()
    assert {"xnnlib/records.py", "notebooks/train.ipynb"} <= files.keys()
    assert {place: unsafe for place, code in files.items() if (unsafe := unsafe_loads(code))} == {}


def test_code_that_could_run_code_is_found():
    for code in (
        "from pickle import loads",
        "torch.load(\n    open(path)\n)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text)",
        "yaml.unsafe_load_all(text)",
        "numpy.load(path, allow_pickle=True)",
    ):
        assert unsafe_loads(code), code
    for code in ("torch.load(path, weights_only=True)", "yaml.safe_load(text)", "numpy.load(path)"):
        assert not unsafe_loads(code), code


# Guarantees


def test_each_test_that_the_guarantees_name_is_there():
    page = (ROOT / "book" / "guarantees.md").read_text(encoding="utf-8")
    missing = []
    for group in re.findall(r"`(\w+\.py(?:::\w+)?`(?:, `::\w+`)*)", page):  # `test_x.py::a`, `::b`
        file, _, tests = group.replace("`", "").replace(", ", "").partition("::")
        text = (ROOT / "tests" / file).read_text(encoding="utf-8") if (ROOT / "tests" / file).exists() else ""
        named = [f"def {test}(" for test in tests.split("::") if test] or ["def test_"]
        missing += [f"{file}::{name}" for name in named if name not in text]
    assert page.count("test_") > 40 and missing == []

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
from machine_places import place_in
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from xnnlib.profiles import load_profiles

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))

DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}  # where pip knows a package by another name

# Lowest first: a module imports only from the lines above its own. A package is one line.
LAYERS = (
    "errors",
    "files",
    "spec",
    "settings",
    "profiles",
    "runtime",
    "model",
    "complexity",
    "data",
    "parallel",
    "records",
    "checkpoint",
    "training",
    "analysis",
    "report",
    "verify",
)
WITHOUT_TORCH = ("errors", "files", "spec", "settings", "profiles")


def requirements() -> list[Requirement]:
    return [Requirement(line) for line in [*PROJECT["dependencies"], *sum(EXTRAS.values(), [])]]


def pins() -> list[tuple[str, str]]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("==")) for line in lines if line and not line.startswith("#")]


def tracked_files() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: the committed files are unknown")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def imported_names(module: Path, package: str = "xnnlib") -> set[str]:
    """Every module that a file imports, at its top or in a function, as absolute dotted names."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide which way they point"
            if node.module == package:
                names |= {f"{package}.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


def layer_files(layer: str) -> list[Path]:
    module, folder = ROOT / "xnnlib" / f"{layer}.py", ROOT / "xnnlib" / layer
    return [module] if module.exists() else sorted(folder.rglob("*.py"))


def make_targets() -> dict[str, str]:
    """Each target of the Makefile that a user may name, with its help."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)[1].split()
    described = dict(re.findall(r"^([a-z]+):.*?##\s*(.+)$", makefile, re.MULTILINE))
    return {target: described.get(target, "") for target in phony}


# Dependencies


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_each_dependency_has_one_pin_that_satisfies_it(requirement):
    versions = [version for name, version in pins() if name == canonicalize_name(requirement.name)]
    assert len(versions) == 1
    assert requirement.specifier.contains(versions[0])


def test_constraints_are_exact_and_unique():
    names = [name for name, _ in pins()]
    assert sorted(set(names)) == sorted(names)
    for name, version in pins():
        assert name == canonicalize_name(name)
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}=={version}"


def test_conda_and_make_install_every_extra_through_the_constraints():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", f"-e .[{','.join(EXTRAS)}]"]
    assert f"-c constraints.txt -e '.[{','.join(EXTRAS)}]'" in (ROOT / "Makefile").read_text(encoding="utf-8")
    python = next(entry for entry in conda if entry.startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.split("=")[1])


def imported_distributions(file: Path) -> set[str]:
    """What the file imports, by the names that pip knows it by."""
    tops = {name.split(".")[0] for name in imported_names(file)}
    return {DISTRIBUTIONS.get(top, top.lower()) for top in tops}


def test_library_declares_what_it_imports_and_nothing_else():
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    # runtime cures torchvision where it is installed; the library itself does without.
    known = declared | set(sys.stdlib_module_names) | {"xnnlib", "torchvision"}
    imported = {file: imported_distributions(file) for file in (ROOT / "xnnlib").rglob("*.py")}
    assert {str(file): names - known for file, names in imported.items() if names - known} == {}
    assert declared <= set().union(*imported.values())


# Imports


def test_each_module_of_the_library_has_its_layer():
    found = {
        path.stem
        for path in (ROOT / "xnnlib").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - {"__init__"} == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_down(layer):
    allowed = set(LAYERS[: LAYERS.index(layer)]) | {layer}
    if layer == "report":
        allowed -= {"training"}  # tables and figures read records: nothing downstream ever trains
    for file in layer_files(layer):
        imported = {name.split(".")[1] for name in imported_names(file) if name.startswith("xnnlib.")}
        assert imported <= allowed, f"{file.relative_to(ROOT)} imports {sorted(imported - allowed)}"


@pytest.mark.parametrize("layer", WITHOUT_TORCH)
def test_plain_data_needs_no_torch(layer):
    for file in layer_files(layer):
        assert "torch" not in {name.split(".")[0] for name in imported_names(file)}


@pytest.mark.slow
def test_training_imports_few_of_our_modules():
    code = "import sys, xnnlib.training; print(sum(name.split('.')[0] == 'xnnlib' for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 20


# Commands


def test_each_make_target_has_a_help_line():
    assert [target for target, text in make_targets().items() if not text] == []


@pytest.mark.parametrize("page", ["README.md", "book/reproduce.md", "book/cluster.md"])
def test_each_make_command_that_is_told_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    told = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert "reproduce" in told
    assert told <= set(make_targets())


@pytest.mark.parametrize("name", ["tiny data.zip", 'a "quoted" name', "it's"])
def test_verify_gets_a_name_as_it_is_given(name, tmp_path):
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    values = [f"BIN={tmp_path}", "PROFILE=small", f"DATA={name}"]
    command = ["make", "-s", "-o", ".venv/.installed", *values, "verify"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["-m", "xnnlib.verify", "results/small", "--data-root", name]


def test_profiles_that_are_told_exist():
    told = set(re.findall(r"PROFILE=([a-z]+)", README))
    assert {"small", "paper"} <= told <= load_profiles(ROOT).keys()


def test_the_readme_says_how_many_runs_there_are_and_how_long_they_took():
    profiles = load_profiles(ROOT)
    rows = re.findall(r"^\| `([a-z]+)` \|.*\| (\d) blocks, (\d) seeds? \|.*\| (.*) \|$", README, re.MULTILINE)
    assert {"quick", "small", "paper"} == {name for name, *_ in rows}
    for name, blocks, seeds, time in rows:
        assert (int(blocks), int(seeds)) == (len(profiles[name].blocks), len(profiles[name].seeds))
        if name == "small":
            records = [json.loads(path.read_bytes()) for path in ROOT.glob(f"results/{name}/*/record.json")]
            assert time == f"{sum(record['train_seconds'] for record in records) / 3600:.1f} hours"


def test_checkout_with_other_line_ends_keeps_every_byte(tmp_path):
    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    files = {".gitattributes", ".ci/run", "results/small/SHA256SUMS"}
    git("init", "-q")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all")
    for name in files:
        (tmp_path / name).unlink()
    git("-c", "core.autocrlf=true", "checkout", "-q", "--", ".")
    assert {name: (tmp_path / name).read_bytes() for name in files} == {
        name: (ROOT / name).read_bytes() for name in files
    }


@pytest.mark.parametrize("name", ["results", "explore"])
def test_notebooks_show_the_profile_that_the_book_shows(name):
    (shown,) = re.findall(r'^profile = "([a-z]+)"$', code_files()[f"notebooks/{name}.ipynb"], re.MULTILINE)
    assert shown == CONFIG["sphinx"]["config"]["paper_profile"]


# Versions and traces


def test_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert [author["name"] for author in citation["authors"]] == [PROJECT["authors"][0]["name"]]


def test_all_agree_where_the_project_is_published_and_as_which_release():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    published = CONFIG["repository"]
    assert published["url"] == citation.get("repository-code", "")
    assert published["branch"] == f"v{PROJECT['version']}"
    constants = f'REPOSITORY, RELEASE = "{published["url"]}", "{published["branch"]}"'
    assert constants in code_files()["notebooks/explore.ipynb"].splitlines()


def test_binder_installs_the_library_through_the_constraints():
    lines = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {"-c ../constraints.txt", "-e ."} <= set(lines)
    python = (ROOT / "binder" / "runtime.txt").read_text(encoding="utf-8").strip().removeprefix("python-")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)


def test_committed_text_names_no_place_of_one_machine():
    for file in tracked_files():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        assert not place_in(text), f"{file.relative_to(ROOT)} names {place_in(text)!r}"


# Data that could run code


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


@pytest.mark.parametrize(
    "code, unsafe",
    [
        ("import pickle", True),
        ("from pickle import loads", True),
        ("torch.load(\n    open(path, 'rb')\n)", True),
        ("torch.load(path, weights_only=False)", True),
        ("torch.load(path, weights_only=True)", False),
        ("yaml.load(text)", True),
        ("yaml.unsafe_load_all(text)", True),
        ("yaml.safe_load(text)", False),
        ("numpy.load(path, allow_pickle=True)", True),
        ("numpy.load(path)", False),
    ],
)
def test_code_that_could_run_code_is_found(code, unsafe):
    assert bool(unsafe_loads(code)) == unsafe


def test_a_place_of_one_machine_is_seen():
    for text in ("see /ho" + "me/someone/x", "file:" + "///x", f"{ROOT}/results", "/ro" + "ot/.cache"):
        assert place_in(text)
    assert not place_in("results/small/se-seed0, root of the project, localhost")


# Guarantees


def test_each_test_that_the_guarantees_name_is_there():
    page = (ROOT / "book" / "guarantees.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+\.py)(?:::(\w+))?`", page)
    assert len(named) > 40
    for file, test in named:
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"def {test}(" in text if test else "def test_" in text, f"{file}::{test}"

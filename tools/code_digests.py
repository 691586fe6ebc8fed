"""What Python code a result is made by: a digest of each module that it imports, now or at a commit.

A digest is over the code alone: comments, docstrings and layout are not in it.
"""

import ast
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

Reader = Callable[[str], str | None]  # the text of a file by its path from the root, None if there is none

PACKAGE = "xnnlib"
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}  # where pip knows a package by another name


def in_folder(root: Path) -> Reader:
    """Reads the files as they are now."""

    @cache
    def read(path: str) -> str | None:
        file = root / path
        return file.read_text(encoding="utf-8") if file.is_file() else None

    return read


@cache
def at_commit(root: Path, commit: str) -> Reader | None:
    """Reads the files as they were at a commit; None where git does not know it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout

    try:
        files = set(git("ls-tree", "-r", "--name-only", commit, "--", ".").splitlines())
    except (OSError, subprocess.CalledProcessError):
        return None
    return cache(lambda path: git("show", f"{commit}:./{path}") if path in files else None)


def digest(value: object) -> str:
    """The first 16 digits of the SHA-256 of a text, or of a value that JSON can write."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def notebook_code(text: str) -> str:
    """The code cells of a notebook."""
    cells = json.loads(text)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@cache
def code_digest(source: str) -> str:
    """The digest of Python source that stays when only comments, docstrings or layout change."""
    return digest(_plain(ast.parse(source)))


def _plain(node: object) -> object:
    # Not ast.dump, whose text is another one in each version of Python.
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    given = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        given["body"] = given["body"][ast.get_docstring(node, clean=False) is not None :]
    fields = {name: _plain(value) for name, value in given.items() if value not in (None, [])}
    return [type(node).__name__, fields]


def code_inputs(read: Reader, sources: Iterable[str], without: str = "") -> dict[str, str]:
    """The digest of each module of the package that the sources import, and the pins of other packages.

    Imports are followed through the package's modules, in functions too; `without` names a part of the
    package that is left out, such as xnnlib.report. Keys: "xnnlib.training", "torch in constraints.txt".
    """
    pins = dict(line.split("==") for line in (read("constraints.txt") or "").splitlines() if "==" in line)
    found, waiting = {}, [name for source in sources for name in _imports(read, source)]
    while waiting:
        name = waiting.pop()
        top = name.split(".")[0]
        if top != PACKAGE:
            distribution = DISTRIBUTIONS.get(top, top).lower().replace("_", "-")
            if top not in sys.stdlib_module_names and distribution in pins:
                found[f"{distribution} in constraints.txt"] = pins[distribution]
        elif name not in found and not (without and f"{name}.".startswith(f"{without}.")):
            source = _source(read, name)
            if source is None:
                raise ValueError(f"the module {name} is imported, but it is not there.")
            found[name] = code_digest(source)
            waiting += _imports(read, source)
            parent = name.rpartition(".")[0]
            waiting += [parent] if parent != PACKAGE else []  # a package's own code runs first
    return dict(sorted(found.items()))


def _source(read: Reader, module: str) -> str | None:
    path = module.replace(".", "/")
    package = read(f"{path}/__init__.py")
    return read(f"{path}.py") if package is None else package


@cache
def _imports(read: Reader, source: str) -> tuple[str, ...]:
    """The modules that a source imports; a name that the package hands on counts for where it is from."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in names:
            if module.split(".")[0] != PACKAGE:
                found.append(module)
            elif name and _source(read, f"{module}.{name}") is not None:
                found.append(f"{module}.{name}")
            elif name and module == PACKAGE:
                found.append(_handed_on(read, name))
            else:
                found.append(module)
    return tuple(found)


def _handed_on(read: Reader, name: str) -> str:
    for node in ast.parse(_source(read, PACKAGE) or "").body:
        # As commits before the table of homes did it.
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return node.module
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            homes = ast.literal_eval(node.value)
            if name in homes:
                return f"{PACKAGE}.{homes[name]}"
    raise ValueError(f"{PACKAGE} has no {name}")

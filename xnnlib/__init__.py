"""The library behind a paper that rebuilds itself: three block variants of one small network."""

from xnnlib.data import load_dataset
from xnnlib.errors import UserError
from xnnlib.network import Network
from xnnlib.paths import project_path
from xnnlib.records import load_run, load_runs
from xnnlib.spec import BLOCKS, RECIPES, TABLE_1, NetworkSpec, Recipe, recipe_for
from xnnlib.training import fit

__all__ = [
    "BLOCKS",
    "RECIPES",
    "TABLE_1",
    "Network",
    "NetworkSpec",
    "Recipe",
    "UserError",
    "fit",
    "load_dataset",
    "load_run",
    "load_runs",
    "project_path",
    "recipe_for",
]

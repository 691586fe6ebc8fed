"""The library behind a paper that rebuilds itself: three block variants of one small network."""

from importlib import import_module

# Where each name lives. They are fetched when they are used, so that what needs no torch, such as the
# settings that the Snakefile reads, starts without its seconds.
_LAZY_EXPORTS = {
    "BLOCKS": "spec",
    "RECIPES": "spec",
    "TABLE_1": "spec",
    "Network": "model",
    "NetworkSpec": "spec",
    "Recipe": "spec",
    "UserError": "errors",
    "fit": "training",
    "load_dataset": "data",
    "load_images": "data",
    "load_run": "records",
    "load_runs": "records",
    "project_path": "files",
    "recipe_for": "spec",
    "train": "training",
}
__all__ = list(_LAZY_EXPORTS)


def __getattr__(name: str):
    if name not in _LAZY_EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY_EXPORTS[name]}"), name)

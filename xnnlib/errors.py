"""The exceptions that a user meets: a mistake, a run that diverged, an interrupt."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in the input: one line that says which file or parameter, what is wrong, what to do."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this before it prints an exception: in a notebook and under papermill
        # the reader sees the line, not the library's stack.
        return [f"error: {self}"]


class Diverged(UserError):
    """The loss of a run ceased to be finite."""


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop, by Ctrl-C or by SIGTERM, and has saved what there was to save."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_status = 128 + signal_number  # what a shell expects: 130 for Ctrl-C

    def _render_traceback_(self) -> list[str]:
        return [f"interrupted: {self}"]


def choose(what: str, value: str, known: Iterable[str]) -> str:
    """Return `value` if it is one of `known`.

    Raises UserError that lists the known names and points at the nearest one.
    """
    known = tuple(known)
    if value in known:
        return value
    near = get_close_matches(str(value), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"{what} {value!r} is unknown; choose one of {', '.join(known)}.{hint}")

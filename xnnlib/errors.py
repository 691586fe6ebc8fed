"""The exceptions that a user meets: a mistake, a run that diverged, an interrupt."""

import functools
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import repr as shortened

from pydantic import ValidationError


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
    raise UserError(_unknown(what, value, known))


def _unknown(what: str, value: object, known: tuple[str, ...]) -> str:
    near = get_close_matches(str(value), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{what} {value!r} is unknown; choose one of {', '.join(known)}.{hint}"


# What pydantic's kinds of error ask for, in the words of a message to a user.
_WANTED = {
    "int": "an integer",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "finite": "a finite number",
    "dict": "a mapping of name: value",
    "model": "a mapping of name: value",
    "list": "a list",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "below {lt:g}",
    "multiple_argument_values": "given once",
}


def explain(error: ValidationError, known: Iterable[str] = ()) -> str:
    """The first of pydantic's errors as a sentence; `known` names the fields there are, in their order."""
    first, known = error.errors()[0], tuple(known)
    parts = list(first["loc"])
    if parts and isinstance(parts[0], int):  # an argument that was given by position
        parts[0] = known[parts[0]]
    name = ".".join(map(str, parts))
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    if isinstance(context.get("error"), UserError):
        return str(context["error"])
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return _unknown("parameter", name, known)
    if kind in ("missing", "missing_argument"):
        return f"{name} is missing."
    if kind == "literal_error":
        expected = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return _unknown(name, value, tuple(expected))
    if kind == "value_error":  # a validator of our own says what a value must be
        return f"{name} is {shortened(value)}; it must be {context['error']}."
    wanted = next((words for start, words in _WANTED.items() if kind.startswith(start)), first["msg"])
    return f"{name} is {shortened(value)}; it must be {wanted.format_map(context)}."


def one_line_errors(cls: type) -> type:
    """Class decorator: what pydantic refuses when an instance is made is one UserError."""
    construct = cls.__init__

    @functools.wraps(construct)
    def __init__(self, *arguments, **values):
        try:
            construct(self, *arguments, **values)
        except ValidationError as error:
            known = getattr(cls, "model_fields", None) or getattr(cls, "__dataclass_fields__", ())
            raise UserError(explain(error, known)) from None

    cls.__init__ = __init__
    return cls

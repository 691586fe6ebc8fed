"""What would betray the machine that something was made on."""

import getpass
import re
import socket
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Taken apart, so that this file does not find itself.
_PATHS = (
    "file:" + "//",
    "/ho" + "me/[a-z]",
    "/Us" + "ers/[a-z]",
    "/ro" + "ot/",
    "/wo" + "rk/",
    re.escape(f"{ROOT}/"),
)
# Names that every machine has, and short ones that are parts of words, betray nothing.
_COMMON = ("localhost", "root", "runner", "user", "ubuntu")


def _names() -> list[str]:
    found = {socket.gethostname()}
    try:
        found.add(getpass.getuser())
    except (KeyError, OSError):  # a user without a name
        pass
    return [rf"\b{re.escape(name)}\b" for name in found if len(name) > 5 and name not in _COMMON]


PLACES = re.compile("|".join((*_PATHS, *_names())))


def place_in(text: str) -> str:
    """The first place of this machine that the text names, with what follows it; "" if there is none."""
    found = PLACES.search(text)
    return text[found.start() : found.end() + 30] if found else ""

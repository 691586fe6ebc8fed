"""The book as a Sphinx extension, `xnnlib.report.book`; its parts lie with the pages, in `book/_ext`.

Jupyter Book can be told of that folder, but the `conf.py` that it writes for Sphinx alone cannot.
"""

import sys
from pathlib import Path


def setup(app) -> dict:
    """Called by Sphinx with its application, whose `srcdir` is the project's root."""
    extension = str(Path(app.srcdir, "book", "_ext"))
    if extension not in sys.path:
        sys.path.insert(0, extension)
    app.setup_extension("paper")
    return {"parallel_read_safe": False, "parallel_write_safe": True}

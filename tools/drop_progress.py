"""Take the frames of the progress bars, which are all that goes to stderr, out of an executed notebook."""

import sys
from pathlib import Path

import nbformat


def main(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        kept = [output for output in outputs if output.get("name") != "stderr"]
        if kept != outputs:
            # The lines that the bars stood between belong together.
            streams = [output for output in kept if output.output_type == "stream"]
            for later in streams[1:]:
                streams[0].text += later.text
            cell.outputs = [output for output in kept if output not in streams[1:]]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(Path(name))

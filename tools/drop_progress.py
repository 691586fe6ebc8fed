"""Take out of an executed notebook what says nothing of the run.

What goes to stderr, the frames of the progress bars and the state of the cache, and the place where papermill
wrote it before it came into the run folder.
"""

import sys

import nbformat


def main(path: str) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    for cell in (cell for cell in notebook.cells if "outputs" in cell):
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.get("papermill", {}).pop("output_path", None)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1])

import io
import re
import sys

import pytest
from small_archives import image_folder, write_folder

from xnnlib.data.__main__ import main


def test_prints_what_the_cache_holds(tmp_path, capsys):
    root = write_folder(tmp_path / "own", image_folder())
    options = ["--dataset", "folder", "--data-root", str(root), "--cache-dir", str(tmp_path / "cache")]
    assert main([*options, "--num-classes", "2", "--train-images", "6"]) == 0
    output = capsys.readouterr().out
    assert "folder: 2 classes, from cat to dog" in output
    assert "train: 6 images of 64x64 to 64x64 pixels" in output and "val: 4 images" in output
    assert re.search(r"^fingerprint: [0-9a-f]{64}$", output, re.MULTILINE)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_terminal_without_the_class_names_letters(tmp_path, monkeypatch, encoding):
    root = write_folder(tmp_path / "own", image_folder(classes=("naïve 犬", "zèbre")))
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert (
        main(["--dataset", "folder", "--data-root", str(root), "--cache-dir", str(tmp_path / "cache")]) == 0
    )
    stdout.flush()
    assert rb"\u72ac" in stdout.buffer.getvalue() and b"fingerprint: " in stdout.buffer.getvalue()


@pytest.mark.parametrize(
    "options, message", [(["--dataset", "shape"], "Did you mean"), (["--size", "3"], "size is 3")]
)
def test_mistake_is_one_line_and_a_failing_status(tmp_path, capsys, options, message):
    assert main([*options, "--cache-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1

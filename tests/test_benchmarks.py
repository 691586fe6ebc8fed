import json
from pathlib import Path

import host_memory
from peak_memory import private_memory

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def test_host_memory_measures_and_cleans_up(tmp_path):
    measured = host_memory.measure(images=100, batches=3, batch_size=16, crop=28, folder=tmp_path)
    assert measured["images"] == 100 and measured["streamed_images"] == 48
    assert measured["file_bytes"] > 1100 * 3 * 64 * 64
    assert set(measured["private_bytes"]) == {"before", "packing", "loading", "streaming"}
    assert all(2**20 < peak <= measured["peak_rss_bytes"] for peak in measured["private_bytes"].values())
    assert list(tmp_path.iterdir()) == []


def test_private_memory_sees_what_is_allocated():
    before = private_memory()
    held = bytearray(b"1" * 2**26)
    assert private_memory() - before > 0.9 * len(held)


def test_too_small_a_disk_is_one_line(tmp_path, capsys):
    assert host_memory.main(["--images", str(10**12), "--folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --folder") and error.count("\n") == 1


def test_host_memory_does_not_grow_with_the_images():
    """As measured: between the sizes, less than one percent of what the pixels grow by."""
    result = json.loads((FOLDER / "results" / "host_memory.json").read_text(encoding="utf-8"))
    small, large = result["sizes"]
    assert (small["images"], large["images"]) == (50_000, 1_000_000)
    for phase, peak in large["private_bytes"].items():
        assert peak - small["private_bytes"][phase] < 0.01 * (large["file_bytes"] - small["file_bytes"])

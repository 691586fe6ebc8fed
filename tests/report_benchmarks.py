"""Made-up results of the speed benchmark, for the tests of the report and of the book."""

import json
from pathlib import Path

CPU = {"type": "cpu", "name": "a processor", "threads": 2}
H100 = {"type": "cuda", "name": "NVIDIA H100 80GB HBM3"}


def entry(network: str, variant: str, rates: list[float], **fields: object) -> dict:
    """One network's images/s in training by one thread; two are 1.5 times as fast."""
    training = {"1": rates, "2": [1.5 * rate for rate in rates]}
    shared = {"network": network, "variant": variant, "precision": "bfloat16", "macs": 1_000_000}
    return shared | {"training": training} | fields


def example(device: dict = CPU, started: str = "2026-01-01T00:00:00Z") -> dict:
    """What benchmarks/benchmark.py writes after three rounds: A, B slower, C folded, A in the plain step."""
    latency = {"1": [0.01, 0.01, 0.01], "32": [0.2, 0.2, 0.3]}
    return {
        "device": device,
        "versions": {"torch": "2.13.0"},
        "commit": "f" * 40,
        "started": started,
        "load_average": 0.1,
        "batch_size": 32,
        "matmul": {"1": [3e9, 3e9, 3e9], "2": [6e9, 6e9, 6e9]},
        "entries": [
            entry("standard", "project", [100.0, 50.0, 90.0], latency=latency, peak_bytes=81_000_000),
            entry("se", "project", [80.0, 40.0, 63.0]),
            entry("se_cond", "folded", [], training={}, latency=latency),
            entry("standard", "plain", [25.0, 12.5, 22.5], precision="float32"),
        ],
    }


def write(root: Path, content: dict, name: str = "a-processor") -> Path:
    """Write the device's file in the project at `root`."""
    path = root / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path

"""Made-up results of the throughput benchmark, for the tests of the report and of the book."""

import json
from pathlib import Path

from xnnlib.spec import BLOCKS

CPU = {"type": "cpu", "name": "a processor", "threads": 2}
H100 = {"type": "cuda", "name": "NVIDIA H100 80GB HBM3"}
# Images a second of the model in the order of BLOCKS; the plain way has a quarter of it.
SPEEDS = {"cpu": (96.0, 80.0, 60.0), "cuda": (25_000.0, 22_000.0, 15_000.0)}


def measured(network: str, way: str, speed: float, batch_size: int, scope: str = "model", **more) -> dict:
    """One row, whose repeats lie within a tenth of its speed."""
    return {
        "id": f"{way}-{network}-{scope}",
        "network": network,
        "way": way,
        "scope": scope,
        "precision": "float32" if way == "plain" else "bfloat16",
        "memory_format": "contiguous" if way == "plain" else "channels_last",
        "images_per_second": speed,
        "lowest": 0.9 * speed,
        "highest": 1.1 * speed,
        "step_milliseconds": 1000 * batch_size / speed,
        "peak_memory_megabytes": 1203.0,
        "compile_seconds": 0.0,
    } | more


def example(device: dict = CPU, batch_size: int = 32, started: str = "2026-01-01T00:00:00Z") -> dict:
    """What the benchmark writes for a device."""
    speeds = dict(zip(BLOCKS, SPEEDS[device["type"]], strict=True))
    rows = []
    for block, speed in speeds.items():
        rows += [
            measured(block, way, speed / part, batch_size) for way, part in (("xnnlib", 1), ("plain", 4))
        ]
        rows.append(measured(block, "timm-eager", speed / 2, batch_size))
        rows.append(measured(block, "timm-compiled", speed / 2.5, batch_size, compile_seconds=61.4))
    rows += [
        measured("standard", way, speeds["standard"] / part, batch_size, "end-to-end")
        for way, part in (("xnnlib", 1.25), ("plain", 8))
    ]
    rows.append(measured("mobilenet_v2", "compiled", 51.3, batch_size, compile_seconds=40.0))
    failed = {"id": "compiled-mnasnet_100-model", "network": "mnasnet_100", "way": "compiled"}
    rows.append(failed | {"scope": "model", "error": "InductorError: no compiler in 3 places"})
    rounds = [
        {"network": block, "round": number, "xnnlib": ratio, "plain": 1.0}
        for number, ratio in enumerate((3.8, 4.3, 4.0) if device["type"] == "cpu" else ())
        for block in BLOCKS
    ]
    kernels = [{"name": "aten::convolution_backward", "share": 0.42}, {"name": "aten::mul", "share": 0.125}]
    results = {
        "device": device,
        "versions": {"python": "3", "torch": "2"},
        "commit": "f" * 40,
        "started": started,
        "settings": {
            "batch_size": batch_size,
            "crop": 56,
            "num_classes": 100,
            "repeats": 7,
            "rounds": len(rounds) // len(BLOCKS),
            "data": "shapes",
            "workers": 2,
        },
        "copy_gigabytes_per_second": 27.1,
        "rows": rows,
        "pairs": rounds,
        "roofline": {
            block: {"bytes_per_image": 123_456_789, "images_per_second": 219.5, "share": speed / 219.5}
            for block, speed in speeds.items()
        },
        "growth": [
            {
                "batch_size": batch_size * size,
                "train_images": 3125 * images,
                "images_per_second": 90.0,
                "peak_memory_megabytes": 1000.0 + 300 * size,
            }
            for size, images in ((1, 1), (2, 1), (4, 1), (1, 4), (1, 16))
        ],
        "kernels": dict.fromkeys(BLOCKS, kernels),
    }
    return json.loads(json.dumps(results))  # nothing in it is shared: a test may change it


def write(root: Path, results: object, name: str = "a-processor") -> Path:
    """The benchmark's file for a device below `root`, the project's folder; returns it."""
    path = root / "benchmarks" / "results" / name / "throughput.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results))
    return path


def example_layers(device: dict = CPU) -> dict:
    """What the benchmark of the layers writes for a device, cut to a layer of each kind."""
    shape = {"in_channels": 96, "out_channels": 96, "size": 56, "stride": 2, "layers": 1}
    way = {"precision": "bfloat16", "memory_format": "channels_last", "kernels": "torch"}
    parts = {"forward": 2.54, "input_gradient": 84.5, "filter_gradient": 4.8}
    times = {"mixed": 8.2, "mixed_channels_last": 7.7, "stacked": 12.2}
    results = {
        "device": device,
        "commit": "e" * 40,
        "started": "2026-01-01T00:00:00Z",
        "depthwise": [shape | {"ways": [way | parts]}],
        "depthwise_per_image": [shape | {"ways": [way | parts | {"forward": 3.5}], "copies": 9.04}],
        "conditional": [shape | {"out_channels": 24, "milliseconds": times}],
    }
    return json.loads(json.dumps(results))

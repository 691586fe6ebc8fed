"""What the benchmark measures and how it keeps it; no test times anything."""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import command
import jpegs
import layers
import measure
import plan
import psutil
import pytest
import rivals
import roofline
import steps
import stopwatch
import throughput
import torch
from torch import nn

from xnnlib import runtime
from xnnlib.model import CondConv2d, Network, untrained
from xnnlib.spec import BLOCKS, NetworkSpec, Stage

CPU = torch.device("cpu")
SETTINGS = {"batch_size": 2, "crop": 16, "num_classes": 3, "repeats": 2, "rounds": 2}
SETTINGS |= {"data": "shapes", "workers": 1}
FIGURES = {
    "precision",
    "memory_format",
    "images_per_second",
    "lowest",
    "highest",
    "step_milliseconds",
    "peak_memory_megabytes",
    "compile_seconds",
}
TOP = ["device", "versions", "commit", "started", "settings", "copy_gigabytes_per_second"]
TOP += ["rows", "pairs", "roofline", "growth", "kernels"]


@pytest.fixture(autouse=True)
def one_thread():
    """The tensors are so small that a second thread would only be waited for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Networks to compare with


def gradients(network: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of every parameter and of the images, by xnnlib's names; and the output."""
    images = images.clone().requires_grad_()
    output = network(images)
    torch.sin(output).sum().backward()
    found = {"images": images.grad, "output": output.detach()}
    for name, weight in network.named_parameters():
        for theirs, ours in (("convolution.", ""), ("fc1", "reduce"), ("fc2", "expand")):
            name = name.replace(theirs, ours)
        found[name] = weight.grad.flatten()
    return found


@pytest.mark.parametrize("block", BLOCKS)
def test_the_network_from_known_layers_computes_the_same(block):
    network = Network(block, num_classes=5, experts=3, width=0.25).double()
    for name, weight in network.named_parameters():
        if "routing" in name:  # zero at first, which would hide how the experts are mixed
            nn.init.normal_(weight)
    rival = rivals.from_known_layers(network)
    foreign = {type(module).__module__.split(".")[0] for module in rival.modules() if not module._modules}
    assert foreign <= {"torch", "timm"}
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    ours, theirs = gradients(network, images), gradients(rival, images)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(theirs[name], gradient, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("name", plan.KNOWN)
def test_known_networks_see_small_images_as_table_1_does(name):
    network = rivals.known_network(name, num_classes=100).eval()
    features = network.features if name == "mobilenet_v2" else network.forward_features
    with torch.no_grad():
        assert features(torch.zeros(1, 3, 56, 56)).shape[2:] == (7, 7)
        assert network(torch.zeros(1, 3, 56, 56)).shape == (1, 100)


# Roofline

TABLE = (
    Stage("stem", 1, 3, 8, 4, filter_size=3),
    Stage("block", 1, 4, 8, 4, filter_size=3, expansion=4),
    Stage("classifier", 1, 4, 8, 0),
)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_count_equals_the_count_by_hand(block):
    image, narrow, wide = 3 * 64, 4 * 64, 16 * 64
    norm_relu, norm = 8 + 5, 8
    stem = 2 * image + 2 * narrow + norm_relu * narrow
    convolutions = (3 * narrow + 3 * wide) + (3 * wide + 3 * wide) + (3 * wide + 3 * narrow)
    others = norm_relu * wide + norm_relu * wide + norm * narrow + 6 * narrow
    expected = stem + convolutions + others + 2 * narrow
    if block != "standard":
        expected += 11 * wide
    if block == "se_cond":
        expected += 3 * (narrow + wide + wide) + 6 * (4 * 16 + 16 * 9 + 16 * 4)
    assert roofline.elements_per_image(NetworkSpec(block, 5, table=TABLE), 8) == expected


@pytest.mark.parametrize("block", BLOCKS)
def test_every_module_is_counted_or_left_out_on_purpose(block):
    left_out = (nn.Linear, nn.Flatten, nn.Sequential, Network)
    modules = untrained(NetworkSpec(block)).modules()
    assert [m for m in modules if not roofline.passes_of(m) and not isinstance(m, left_out)] == []


def test_the_share_is_of_what_the_copy_speed_allows():
    row = {"id": "xnnlib-se-model", "network": "se", "precision": "bfloat16", "images_per_second": 10.0}
    bound = roofline.roofline([row], 1.0, num_classes=100, crop=56)["se"]
    assert bound["bytes_per_image"] == 2 * roofline.elements_per_image(NetworkSpec("se"), 56)
    assert bound["images_per_second"] == pytest.approx(1e9 / bound["bytes_per_image"], abs=0.05)
    assert bound["share"] == pytest.approx(10e-9 * bound["bytes_per_image"], abs=1e-4)
    assert roofline.roofline([row], None, 100, 56) == {}


# Measuring


def test_a_loop_is_warmed_up_timed_and_watched():
    steps = []

    def loop(on_step):
        for step in itertools.count(1):
            steps.append(step)
            on_step()

    timing = stopwatch.timed(loop, CPU, repeats=3)
    assert len(timing.seconds) == 3
    assert len(steps) == 1 + stopwatch.WARM_UP["cpu"] + 3 + 1
    assert timing.peak_bytes > 2**20


def test_a_loop_that_ends_is_no_measurement():
    with pytest.raises(ValueError, match="ended"):
        stopwatch.timed(lambda on_step: on_step(), CPU, repeats=3)


@pytest.mark.parametrize(
    "way, network, scope",
    [
        ("xnnlib", "standard", "model"),
        ("xnnlib", "se", "end-to-end"),
        ("plain", "se_cond", "model"),
        ("plain", "standard", "end-to-end"),
        ("timm-eager", "se_cond", "model"),
    ],
)
def test_a_row_has_the_figures_of_the_table(tmp_path, monkeypatch, way, network, scope):
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measure, "TRAIN_IMAGES", 12)
    job = {"way": way, "network": network, "scope": scope}
    figures = measure.row(job, SETTINGS, CPU, tmp_path)
    assert figures.keys() == FIGURES
    assert figures["lowest"] <= figures["images_per_second"] <= figures["highest"]
    if way == "plain":
        assert (figures["precision"], figures["memory_format"]) == ("float32", "contiguous")


def test_growth_and_kernels_have_their_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path))
    grown = measure.growth({"batch_size": 4, "train_images": 12}, SETTINGS, CPU, tmp_path)
    assert grown.keys() == {"images_per_second", "peak_memory_megabytes"}
    operations = measure.kernels({"network": "standard"}, SETTINGS, CPU, tmp_path)["operations"]
    shares = [operation["share"] for operation in operations]
    assert len(operations) == 8 and shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1.001
    assert "convolution_backward" in {operation["name"] for operation in operations}


def test_jpegs_come_as_the_project_s_batches_do(tmp_path, monkeypatch):
    monkeypatch.setenv("XNNLIB_CACHE", str(tmp_path / "cache"))
    jpegs.write_jpegs("shapes", 3, 6, tmp_path / "images")
    assert len(list((tmp_path / "images").glob("00?/*.jpg"))) == 6
    images, labels = next(jpegs.batches(tmp_path / "images", 4, 16, 1, CPU))
    assert images.shape == (4, 3, 16, 16) and images.dtype == torch.float32
    assert set(labels.tolist()) <= {0, 1, 2}


def test_what_fails_leaves_one_line_without_places(tmp_path):
    asked = {"job": {"kind": "row", "way": "plain", "network": "sex", "scope": "model"}, "settings": SETTINGS}
    (tmp_path / "job.json").write_text(json.dumps(asked))
    measure.main(tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result.keys() == {"error"} and "'sex' is unknown" in result["error"]
    error = RuntimeError("no compiler at /some/where/c++: failed\nand more")
    assert measure.one_line(error) == "RuntimeError: no compiler at c++: failed"


def test_a_benchmark_that_is_asked_to_end_takes_what_is_measuring_with_it(tmp_path):
    command = [sys.executable, throughput.__file__, "--only", "copy", "--output", tmp_path]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not any("measure" in " ".join(child.cmdline()) for child in _children(process)):
        assert process.poll() is None
        time.sleep(0.1)
    measuring = _children(process)
    process.terminate()
    assert "interrupted; the same command goes on" in process.communicate(timeout=60)[1]
    assert process.returncode == 130 and not any(child.is_running() for child in measuring)


def _children(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def test_a_process_that_ends_without_a_result_is_an_error(monkeypatch):
    monkeypatch.setattr(throughput.sys, "executable", "false")
    assert throughput.measured({"id": "copy", "kind": "copy"}, SETTINGS) == {
        "error": "its process ended with status 1"
    }


# The file


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """The command with made-up figures; which rows it measured; `bench.fails` names those that fail."""
    monkeypatch.setenv("XNNLIB_TINY_IMAGENET", "")
    monkeypatch.setattr(throughput.runtime, "pick_device", lambda: CPU)
    monkeypatch.setattr(throughput.runtime, "commit", lambda: "c0ffee")

    def figures(job, settings):
        bench.ran.append(job["id"])
        bench.ways.append(job.get("way"))
        if job["id"] in bench.fails:
            return {"error": "CppCompileError: no compiler"}
        if job["kind"] == "copy":
            return {"gigabytes_per_second": 20.0}
        if job["kind"] == "kernels":
            return {"operations": [{"name": "convolution", "share": 0.5}]}
        numbers = dict.fromkeys(FIGURES, 1.0) | {"precision": "float32"}
        names = FIGURES if job["kind"] == "row" else ("images_per_second", "peak_memory_megabytes")
        return {name: numbers[name] for name in names}

    def bench(*arguments):
        bench.ran, bench.ways = [], []
        status = throughput.main(["--output", str(tmp_path), *arguments])
        (bench.file,) = tmp_path.glob("*/throughput.json") if bench.ran else (None,)
        return status

    bench.fails = ()
    monkeypatch.setattr(throughput, "measured", figures)
    return bench


def read(file: Path) -> dict:
    return json.loads(file.read_text())


def test_the_file_is_as_its_readers_expect_it(bench, capsys):
    assert bench() == 0
    result = read(bench.file)
    assert list(result) == TOP
    assert set(result["settings"]) == set(SETTINGS)
    assert {"torch", "timm", "torchvision"} <= set(result["versions"])
    ids = [row["id"] for row in result["rows"]]
    assert len(ids) == len(set(ids)) == 19 and ids[0] == "xnnlib-standard-model"
    assert all(row.keys() == FIGURES | {"id", "network", "way", "scope"} for row in result["rows"])
    assert [(g["batch_size"], g["train_images"]) for g in result["growth"]] == [
        (32, 3125),
        (128, 3125),
        (512, 3125),
        (32, 12500),
        (32, 50000),
    ]
    assert set(result["growth"][0]) == {
        "batch_size",
        "train_images",
        "images_per_second",
        "peak_memory_megabytes",
    }
    assert set(result["kernels"]) == set(result["roofline"]) == set(BLOCKS)
    printed = capsys.readouterr()
    assert "SHAPES" in printed.err and "efficientnet_lite0" in printed.out


def test_what_is_measured_is_not_measured_again(bench):
    assert bench("--only", "plain-se-model,copy") == 0
    assert bench.ran == ["copy", "plain-se-model"]
    assert bench("--only", "xnnlib-se-model,plain-se-model") == 0
    assert bench.ran == ["xnnlib-se-model"]
    assert [row["id"] for row in read(bench.file)["rows"]] == ["xnnlib-se-model", "plain-se-model"]
    assert bench() == 0
    assert len(set(bench.ran)) == len(plan.jobs({"batch_size": 32, "rounds": plan.ROUNDS["cpu"]})) - 3


def test_other_settings_and_commits_start_the_file_anew(bench, capsys, monkeypatch):
    bench("--only", "copy")
    assert bench("--only", "xnnlib-se-model", "--repeats", "3") == 0
    assert "of another settings" in capsys.readouterr().err
    assert read(bench.file)["copy_gigabytes_per_second"] is None
    monkeypatch.setattr(throughput.runtime, "commit", lambda: "another")
    bench("--only", "copy", "--repeats", "3")
    assert "of another commit" in capsys.readouterr().err
    assert read(bench.file)["rows"] == []


def test_a_row_that_failed_says_why_and_is_tried_again(bench, capsys):
    bench.fails = ("timm-compiled-se-model", "growth-32-12500", "kernels-se", "copy")
    assert bench() == 1
    row = next(row for row in read(bench.file)["rows"] if row["id"] == "timm-compiled-se-model")
    assert row == {
        "id": "timm-compiled-se-model",
        "network": "se",
        "way": "timm-compiled",
        "scope": "model",
        "error": "CppCompileError: no compiler",
    }
    assert "timm-compiled-se-model: CppCompileError" in capsys.readouterr().err
    failed, bench.fails = bench.fails, ()
    assert bench() == 0
    assert sorted(bench.ran) == sorted(failed)


def test_a_round_measures_both_ways_in_turn_and_is_tried_again_if_one_fails(bench):
    bench.fails = ("pair-se-1",)
    assert bench("--only", "pair-se-0,pair-se-1") == 1
    assert bench.ran == ["pair-se-0", "pair-se-0", "pair-se-1"]
    assert bench.ways[:2] == ["plain", "xnnlib"]
    assert read(bench.file)["pairs"] == [
        {"network": "se", "round": 0, "plain": 1.0, "xnnlib": 1.0},
        {"network": "se", "round": 1, "error": "CppCompileError: no compiler"},
    ]
    bench.fails = ()
    assert bench("--only", "pair-se-0,pair-se-1") == 0
    assert bench.ways == ["xnnlib", "plain"]  # the other way round


def test_a_gpu_has_no_rounds():
    kinds = [
        {job["kind"] for job in plan.jobs(SETTINGS | {"rounds": plan.ROUNDS[kind]})}
        for kind in ("cpu", "cuda")
    ]
    assert kinds[0] - kinds[1] == {"pair"}


def test_when_the_time_is_up_the_same_command_goes_on(bench, capsys):
    assert bench("--minutes", "0") == 3
    assert bench.ran == [] and "goes on from there" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--batch-size", "0"], ["--repeats", "0"], ["--only", "xnnlib-sex-model"]]
)
def test_a_mistake_is_one_line(bench, capsys, monkeypatch, arguments):
    monkeypatch.setattr(throughput, "data_set", lambda: "shapes")
    assert bench(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_a_device_has_a_folder_of_its_own():
    assert command.slug({"type": "cpu", "name": "AMD EPYC", "threads": 2}) == "amd-epyc-2-threads"
    assert command.slug({"type": "cuda", "name": "NVIDIA H100 80GB HBM3"}) == "nvidia-h100-80gb-hbm3"


@pytest.mark.parametrize("way", layers.WAYS)
def test_each_way_of_a_conditional_convolution_is_the_layer_s(way):
    layer = CondConv2d(6, 10).double()
    nn.init.normal_(layer.routing.weight)
    x = torch.randn(3, 6, 5, 5, dtype=torch.float64, requires_grad=True)
    routing = torch.sigmoid(layer.routing(x.mean((2, 3)) / 6**0.5))
    compute, _ = layers.WAYS[way]
    found, expected = compute(layer, x, routing), layer(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(y.square().sum(), (x, layer.weight)) for y in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_the_layers_measured_are_all_that_the_networks_have():
    depthwise = layers.shapes("standard", layers.DepthwiseConv2d)
    assert sum(shape["layers"] for shape in depthwise) == 16
    assert sum(shape["stride"] == 2 for shape in depthwise) == 3
    assert sum(shape["layers"] for shape in layers.shapes("se_cond", CondConv2d)) == 32


def test_the_layers_go_on_where_they_stopped(monkeypatch):
    shapes = [{"in_channels": 4, "size": size} for size in (8, 4)]
    monkeypatch.setattr(layers, "shapes", lambda block, kind: shapes)
    monkeypatch.setattr(layers, "depthwise", lambda shape, batch, per_image, *others: per_image)
    monkeypatch.setattr(layers, "conditional", lambda *arguments: 1.0)
    monkeypatch.setattr(layers, "copies", lambda *arguments: 2.0)
    parts = [json.loads(json.dumps(measure())) for measure in layers.measurements(SETTINGS, CPU, {})]
    assert len(parts) == 6 and all(len(parts[-1][kind]) == 2 for kind in parts[-1])
    assert set(parts[-1]["depthwise_per_image"][0]["ways"]) == {True}
    rest = [measure() for measure in layers.measurements(SETTINGS, CPU, parts[3])]
    assert len(rest) == 2 and rest[-1] == parts[-1]


def test_a_way_that_the_device_cannot_compute_is_left_out(monkeypatch, capsys):
    def depthwise(shape, batch, per_image, way, *others):
        if way["memory_format"] == "channels_last":
            raise RuntimeError("too many groups\nfor this device")
        return way

    monkeypatch.setattr(layers, "shapes", lambda block, kind: [{"size": 8}])
    monkeypatch.setattr(layers, "depthwise", depthwise)
    result = next(layers.measurements(SETTINGS, CPU, {}))()
    assert {way["memory_format"] for way in result["depthwise"][0]["ways"]} == {"contiguous"}
    assert "depthwise, float32, channels_last, torch: too many groups\n" in capsys.readouterr().err


def test_the_layers_table_names_every_layer_and_way():
    shape = {"in_channels": 4, "out_channels": 4, "size": 6, "stride": 1, "layers": 1}
    ways = [layers.depthwise(shape, 2, False, way, CPU, 1) for way in layers.depthwise_ways(CPU)][:2]
    times = {way: layers.conditional(shape, way, 2, CPU, 1) for way in layers.WAYS}
    result = {
        "depthwise": [shape | {"ways": ways}],
        "depthwise_per_image": [shape | {"ways": ways[:1], "copies": layers.copies(shape, 2, CPU, 1)}],
        "conditional": [shape | {"milliseconds": times}],
    }
    assert len(layers.table(result).splitlines()) == 5


def test_every_step_adds_one_thing_and_a_gpu_has_more_of_them():
    for device, most in (("cpu", 4), ("cuda", 7)):
        taken = [job["taken"] for job in steps.jobs(device) if job["network"] == "se"]
        assert [len(each) for each in taken] == list(range(most + 1))
        assert all(later[:-1] == earlier for earlier, later in itertools.pairwise(taken))


@pytest.mark.parametrize("taken", [[], ["layers"], list(steps.STEPS)])
def test_each_step_trains_the_same_network(taken, monkeypatch):
    monkeypatch.setattr(measure.runtime, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(measure.runtime, "has_bfloat16", lambda device: True)
    subject = measure.part_way("se_cond", taken, SETTINGS, CPU)
    subject.step(*measure.random_batch(subject.layout, SETTINGS, CPU))
    assert subject.recipe.precision == ("bfloat16" if "bfloat16" in taken else "float32")
    assert subject.compile_seconds == 0.0


def test_the_steps_go_on_where_they_stopped(monkeypatch):
    asked = []

    def measured(job, settings):
        asked.append(job)
        return {"error": "no room"} if len(asked) == 2 else {"images_per_second": 1.0}

    monkeypatch.setattr(steps, "measured", measured)
    first = [measure() for measure in steps.measurements(SETTINGS, CPU, {})]
    assert [len(part["rows"]) for part in first] == list(range(1, 16))
    (again,) = [measure() for measure in steps.measurements(SETTINGS, CPU, first[-1])]
    assert asked[-1] == asked[1]  # the one that failed
    assert [(row["network"], row["taken"]) for row in again["rows"]] == [
        (job["network"], job["taken"]) for job in steps.jobs("cpu")
    ]
    assert list(steps.measurements(SETTINGS, CPU, again)) == []


@pytest.fixture
def in_one_file(tmp_path, monkeypatch):
    """The command of a benchmark with one file and a made-up measurement; its exit status."""
    monkeypatch.setattr(command.runtime, "pick_device", lambda: CPU)
    monkeypatch.setattr(command.runtime, "commit", lambda: "c0ffee")

    def run(rows, *arguments):
        def measurements(settings, device, before):
            yield lambda: {"rows": rows}

        given = ["--output", str(tmp_path), *arguments]
        return command.measure_and_save("", "steps.json", measurements, lambda result: "a table", given)

    run.file = tmp_path / command.slug(runtime.describe_device(CPU)) / "steps.json"
    return run


def test_a_file_says_what_was_measured_and_whether_all_was(in_one_file):
    assert in_one_file([{"network": "se"}], "--batch-size", "5") == 0
    result = read(in_one_file.file)
    assert result["rows"] == [{"network": "se"}]
    assert result["settings"]["batch_size"] == 5 and result["commit"] == "c0ffee"
    assert in_one_file([{"network": "se", "error": "no compiler"}]) == 1


def test_nothing_is_begun_when_the_time_is_up(in_one_file, capsys):
    assert in_one_file([{"network": "se"}], "--minutes", "0") == 3
    assert "The time is up; the same command goes on" in capsys.readouterr().out
    assert not in_one_file.file.exists()


@pytest.mark.parametrize("arguments", [["--batch-size", "0"], ["--repeats", "0"]])
def test_a_mistake_leaves_the_file_as_it_is(in_one_file, capsys, arguments):
    in_one_file([{"network": "se"}])
    before = in_one_file.file.read_bytes()
    capsys.readouterr()
    assert in_one_file([], *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert in_one_file.file.read_bytes() == before


def test_a_damaged_file_is_one_line(in_one_file, capsys):
    in_one_file([])
    in_one_file.file.write_text("{")
    capsys.readouterr()
    assert in_one_file([]) == 2
    error = capsys.readouterr().err
    assert "steps.json cannot be read" in error and "remove it" in error and error.count("\n") == 1

"""One step, one epoch and a whole run, against torch's own schedulers and a plain loop."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_run import ARGUMENTS, CPU, RECIPE, SPEC, at_step, result
from torch import nn, optim
from torch.nn import functional as F

from xnnlib import records, runtime, training
from xnnlib.checkpoint import TrainingState
from xnnlib.data import train_batches
from xnnlib.errors import Diverged, UserError
from xnnlib.model import Network
from xnnlib.settings import Settings
from xnnlib.spec import BLOCKS, RECIPES, NetworkSpec, Recipe
from xnnlib.training import evaluate, fit, learning_rate, make_optimizer, train_epoch, train_step

REFERENCE = RECIPES["reference"]


def test_learning_rate_has_the_paper_s_values():
    values = [learning_rate(REFERENCE, epoch) for epoch in (0, 5, 30, 55)]
    assert values == pytest.approx([0.002, 0.2, (0.2 + 0.0002) / 2, 0.0002])
    assert learning_rate(REFERENCE, 4.9) == learning_rate(REFERENCE, 4)
    assert learning_rate(replace(REFERENCE, learning_rate_set="step"), 2.5) == pytest.approx(0.101)


def test_learning_rate_of_every_epoch_is_torch_s():
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=0.2)
    warmup = optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=5)
    cosine = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.0002)
    schedule = optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[5])
    for epoch in range(55):
        assert learning_rate(REFERENCE, epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        schedule.step()


def test_weight_decay_is_on_all_parameters_or_on_filters_alone():
    network = Network("se", 3, width=0.25)
    (group,) = make_optimizer(network, Recipe("r")).param_groups
    assert len(group["params"]) == len(list(network.parameters())) and group["weight_decay"] == 5e-5
    decayed, free = make_optimizer(network, Recipe("r", weight_decay_on="filters")).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (5e-5, 0)
    names = {id(weight): name for name, weight in network.named_parameters()}
    assert all(weight.ndim > 1 for weight in decayed["params"])
    assert all(names[id(weight)].endswith(("bias", "1.weight")) for weight in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(names)


@pytest.fixture
def double(monkeypatch):
    """Networks are computed in double precision, whatever the recipe says."""
    monkeypatch.setattr(training, "logits_of", lambda network, images, *_: network(images.double()))


@pytest.mark.parametrize("routing, routed", [("equalised", 48), ("shared", 16), ("frozen", 48)])
def test_routing_has_its_own_learning_rate(dataset, routing, routed, double):
    """After one plain step each weight has moved by its gradient times its rate."""
    recipe = replace(RECIPE, routing_learning_rate=5.0, momentum=0.0, weight_decay=0.0)
    network = Network("se_cond", 3, width=0.25, routing=routing).double()
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    state = TrainingState(network, make_optimizer(network, recipe), 0, CPU)
    train_epoch(network, dataset.train.select(torch.arange(8)), state, recipe, CPU)
    for name, weight in network.named_parameters():
        if "routing" in name and routing == "frozen":
            assert torch.equal(weight, before[name])
        else:
            rate = learning_rate(recipe, 0) * (5.0 if "routing" in name else 1.0)
            torch.testing.assert_close(weight, before[name] - rate * weight.grad, msg=name)
    assert sum("routing" in name for name in before) == routed


# An epoch and an evaluation


def test_one_epoch_equals_a_plain_loop_over_torch_s_own_optimiser(dataset, double):
    recipe = replace(REFERENCE.scaled(epochs=11, batch_size=8, crop=16), label_smoothing=0.1)
    networks = [Network("standard", 3, width=0.25).double() for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    state, epoch = TrainingState(networks[0], make_optimizer(networks[0], recipe), 7, CPU), 4
    state.rows = [{}] * epoch
    train_epoch(networks[0], dataset.train, state, recipe, CPU)

    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-5}
    optimizer = optim.SGD(networks[1].parameters(), lr=learning_rate(recipe, epoch), **options)
    losses, hits = [], []
    for images, labels in train_batches(dataset.train, 8, 16, torch.Generator().manual_seed(7), CPU):
        logits = networks[1].train()(images.double())
        loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        hits.append((logits.argmax(1) == labels).double().mean().item())
    assert state.sums.mean_loss() == pytest.approx(sum(losses) / 3, rel=1e-6)
    assert state.sums.top1() == pytest.approx(100 * sum(hits) / 3)
    for mine, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


def test_evaluation_counts_every_image_whatever_the_batch(dataset):
    network = Network("standard", 3, width=0.25)
    whole, parts = (replace(RECIPE, batch_size=size) for size in (9, 4))
    whole = evaluate(network, dataset.val, whole, CPU)
    assert evaluate(network, dataset.val, parts, CPU) == pytest.approx(whole)
    logits = training.predict(network, dataset.val, parts, CPU)
    assert 100 * (logits.argmax(1) == dataset.val.labels).float().mean() == pytest.approx(whole[1])


@pytest.mark.slow
def test_compiled_network_trains_as_the_plain_one(monkeypatch):
    # Traced and differentiated as for a GPU, but run as it is: no C++ to compile for seconds.
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, options: compile(network, backend="aot_eager"))
    recipe = replace(RECIPE, batch_size=4, precision="float32")
    networks = [Network("se_cond", 3, width=0.25) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    fast, seconds = runtime.compile_network(networks[1], recipe, CPU)
    assert seconds > 0
    for name, value in networks[1].state_dict().items():
        assert torch.equal(value, networks[0].state_dict()[name]), f"compiling changed {name}"
    assert all(weights.grad is None for weights in networks[1].parameters())
    images = torch.randn(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    for network, trained in zip(networks, (networks[0], fast), strict=True):
        optimizer = make_optimizer(network, recipe)
        for _ in range(2):
            train_step(trained.train(), images, torch.tensor([0, 1, 2, 0]), optimizer, recipe, CPU)
    for name, value in networks[1].state_dict().items():
        torch.testing.assert_close(value, networks[0].state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)


def test_network_that_does_not_compile_trains_as_it_is(monkeypatch, capsys):
    known = torch.compile

    def fails(network, options):
        known(network, options=options)  # refuses an option that it does not know
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(torch, "compile", fails)
    network = Network("standard", 3, width=0.25)
    assert runtime.compiled(network, RECIPE, torch.device("cuda")) == (network, 0.0)
    assert capsys.readouterr().out == "warning: not compiled, trains slower: no compiler\n"
    assert runtime.compiled(network, RECIPE, CPU) == (network, 0.0)
    assert capsys.readouterr() == ("", "")


# A run


@pytest.mark.parametrize("block", BLOCKS)
def test_same_seed_gives_the_same_run_and_another_seed_another(dataset, block, tmp_path):
    spec = NetworkSpec(block, num_classes=3, width=0.25)
    for name, seed in (("first", 0), ("second", 0), ("third", 1)):
        fit(spec, dataset, RECIPE, tmp_path / name, seed, device=CPU)
    assert result(tmp_path / "first") == result(tmp_path / "second")
    assert result(tmp_path / "first")[1] != result(tmp_path / "third")[1]


def test_complete_run_is_not_trained_again(dataset, tmp_path, monkeypatch):
    first = fit(SPEC, dataset, RECIPE, tmp_path / "p" / "se-seed0", profile="p", device=CPU)
    assert records.load_runs(tmp_path, "p") == [first]
    monkeypatch.setattr(training, "Trainer", None)
    assert fit(SPEC, dataset, RECIPE, first.path, profile="p", device=CPU) == first
    with pytest.raises(UserError, match="holds a run with seed 0, not 5"):
        fit(SPEC, dataset, RECIPE, first.path, seed=5, profile="p", device=CPU)


def test_run_folder_without_parameters_holds_the_whole_story(dataset, tmp_path):
    spec = NetworkSpec("se_cond", 3, width=0.25)
    run = fit(spec, dataset, RECIPE, tmp_path / "run", profile="quick", device=CPU)
    files = {path.name for path in run.path.iterdir() if not path.name.startswith(".")}
    assert files == {"epochs.csv", "record.json", "weights.safetensors"}
    record = run.record
    assert (record["profile"], record["block"], record["complete"]) == ("quick", "se_cond", True)
    assert record["parameters"] == {} and run.spec.sizes() == spec.sizes()
    described = {"name": "shapes", "num_classes": 3, "train_images": 24, "val_images": 9}
    assert record["dataset"] == described | {"fingerprint": dataset.fingerprint}
    assert record["last"]["top1"] == run.epochs["val_top1"][-1]
    assert record["best"]["top1"] == max(run.epochs["val_top1"])
    assert run.epochs["epoch"] == [1, 2]
    assert record["code"] == runtime.code_digest()
    assert record["device"]["type"] == "cpu" and record["versions"]["torch"] == torch.__version__
    loss, top1 = evaluate(records.load_trained(run, CPU), dataset.val, run.recipe, CPU)
    assert loss == pytest.approx(record["last"]["loss"], rel=1e-2)
    assert round(top1, 4) == record["last"]["top1"]


@pytest.mark.parametrize("there, ran", [(True, "bfloat16"), (False, "float32")])
def test_record_names_the_precision_that_the_device_has(there, ran, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "has_bfloat16", lambda device: there)
    run = fit(SPEC, dataset, RECIPE, tmp_path / "run", device=CPU)
    assert run.record["recipe"]["precision"] == ran


def test_slow_run_has_a_speed_that_can_be_read(dataset, tmp_path, monkeypatch):
    def wait():
        clock = training.time.perf_counter
        monkeypatch.setattr(training.time, "perf_counter", lambda: clock() + 1e6)

    at_step(monkeypatch, 1, 2, wait)
    run = fit(SPEC, dataset, RECIPE, tmp_path / "run", device=CPU)
    assert 0 < run.record["images_per_second"] < 0.05


@pytest.mark.parametrize(
    "asked, line",
    [
        ({"spec": replace(SPEC, num_classes=4)}, "num_classes is 4, but the data has 3 classes."),
        ({"profile": "mine\n"}, r"profile is 'mine\\n'; it must be one line of printable text .*"),
        ({"seed": 2**63}, f"seed is {2**63}; it must be below .*"),
        ({"parameters": {"x": {1, 2}}}, "parameters cannot be written into the record .*"),
        ({"parameters": [1]}, r"parameters is \[1\]; it must be a mapping of name: value."),
    ],
    ids=str,
)
def test_fit_refuses_before_any_work_what_its_record_could_not_hold(dataset, tmp_path, asked, line):
    usual = {"spec": SPEC, "dataset": dataset, "recipe": RECIPE, "run_dir": tmp_path / "run"}
    with pytest.raises(UserError, match=f"^{line}$"):
        fit(**usual | asked)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seconds, saved", [(0, 1), (60, 0)])  # looked at after each step, or after the epoch
def test_loss_that_is_not_finite_stops_the_run_and_is_recorded(
    dataset, tmp_path, monkeypatch, seconds, saved
):
    diverged = (
        r"diverged: the loss was not finite at epoch 2, step 2 of 3, learning rate 0\.00\d+ \(last good "
        rf"checkpoint: epoch 2, step {saved}\); train with a lower learning rate in another run_dir"
    )
    nan = torch.full((8, 3), float("nan"))

    def fail():
        monkeypatch.setattr(training, "logits_of", lambda network, *_: next(network.parameters()).sum() * nan)

    run = tmp_path / "p" / "run"
    at_step(monkeypatch, 2, 1, fail)
    with pytest.raises(Diverged, match=diverged):
        fit(SPEC, dataset, RECIPE, run, profile="p", device=CPU, checkpoint_seconds=seconds)
    record = json.loads((run / "record.json").read_text())
    assert record["complete"] is False and not (run / "weights.safetensors").exists()
    assert record["diverged"]["checkpoint"] == {"epoch": 2, "step": saved}
    with pytest.raises(Diverged, match=diverged):
        records.load_runs(tmp_path, "p")
    with pytest.raises(Diverged, match=diverged):
        fit(SPEC, dataset, RECIPE, run, profile="p")


def test_validation_loss_that_is_not_finite_counts_as_well(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "evaluate", lambda *_: (float("inf"), 0.0))
    with pytest.raises(Diverged, match="not finite at epoch 1, step 3 of 3, .*last good checkpoint: none"):
        fit(SPEC, dataset, RECIPE, tmp_path, device=CPU)


def test_ctrl_c_before_the_first_step_is_one_line(monkeypatch, capsys):
    def interrupted(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    assert training.main(["--run-dir=unused"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_command_line_trains_and_explains(tmp_path, capsys):
    asked = [*ARGUMENTS, "--epochs=1", "--recipe-changes={label_smoothing: 0.1}"]
    assert training.main([*asked, f"--run-dir={tmp_path / 'run'}"]) == 0
    assert "after epoch 1" in capsys.readouterr().out
    run = records.load_run(tmp_path / "run")
    again = Settings(run_dir="x", **run.record["parameters"])
    assert (again.network, again.routine.label_smoothing) == (run.spec, 0.1)
    refused = tmp_path / "refused"
    assert training.main([*asked, "--block=squeeze", f"--run-dir={refused}"]) == 2
    line = "error: block 'squeeze' is unknown; choose one of standard, se, se_cond.\n"
    assert capsys.readouterr().err == line
    assert not refused.exists()

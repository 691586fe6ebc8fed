"""What trained networks do inside: how they route and gate, and what happens to them without it.

Nothing is retrained. `observe` reads the routing weights and the gates of every image; `predict_with` puts
others in their place (the mean over images, or another image's); `fold` makes an ordinary network of one
whose routing is the same for every image.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from xnnlib import runtime
from xnnlib.data import Dataset, Split
from xnnlib.model import CondConv2d, InvertedResidual, Network, Routing, SqueezeExcite, build
from xnnlib.records import Run, load_trained
from xnnlib.spec import Recipe
from xnnlib.training import predict

# Outside these a Sigmoid is saturated.
LOW, HIGH = 0.05, 0.95


@dataclass(frozen=True)
class Observation:
    """What a network did with N images, all float32 on the CPU.

    Logits (N, classes), and by module name the routing weights (N, experts) and the gates (N, channels).
    """

    logits: Tensor
    routing: dict[str, Tensor]
    gates: dict[str, Tensor]


def conditional_modules(network: Network) -> dict[str, nn.Module]:
    """Every `Routing` and `SqueezeExcite` by name, in the order in which they run."""
    kinds = (Routing, SqueezeExcite)
    return {name: module for name, module in network.named_modules() if isinstance(module, kinds)}


@contextmanager
def _hooked(
    modules: dict[str, nn.Module], hook: Callable[[str, bool, Tensor], Tensor | None]
) -> Iterator[None]:
    """Call `hook(name, gate, output)` after each run of a module; what it returns takes the output's place.

    A gate is the Sigmoid of its last linear layer: `output` is what comes before the Sigmoid.
    """
    with ExitStack() as hooks:
        for name, module in modules.items():
            gate = isinstance(module, SqueezeExcite)

            def call(layer, inputs, output, name=name, gate=gate):
                return hook(name, gate, output)

            hooks.enter_context((module.expand if gate else module).register_forward_hook(call))
        yield


def observe(network: Network, split: Split, recipe: Recipe, device: torch.device) -> Observation:
    """Run the network on every image of the split as an evaluation does, and read what it conditions on."""
    modules = conditional_modules(network)
    seen: dict[str, list[Tensor]] = {name: [] for name in modules}

    def note(name: str, gate: bool, output: Tensor) -> None:
        seen[name].append((torch.sigmoid(output) if gate else output).detach().float().cpu())

    with _hooked(modules, note):
        logits = predict(network, split, recipe, device).cpu()
    values = {name: torch.cat(parts) for name, parts in seen.items()}
    routing = {name: value for name, value in values.items() if isinstance(modules[name], Routing)}
    return Observation(logits, routing, {name: values[name] for name in values if name not in routing})


def means_of(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean over images, (1, experts or channels), of what `observe` read."""
    return {name: value.mean(dim=0, keepdim=True) for name, value in values.items()}


def of_another_image(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """What `observe` read, each image's taken from one other image, the same one in every module."""
    count = len(next(iter(values.values())))
    # A random cyclic permutation: it has no fixed point.
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    return {name: value[source] for name, value in values.items()}


def predict_with(
    network: Network, split: Split, recipe: Recipe, device: torch.device, values: dict[str, Tensor]
) -> Tensor:
    """Logits (N, classes) as `predict`, with the modules that `values` names giving those values instead.

    Each is (N, experts or channels), an image's in its row, or (1, ...), the same for all.
    """
    modules = conditional_modules(network)
    batches = {
        name: iter(value.expand(len(split), -1).split(recipe.batch_size)) for name, value in values.items()
    }

    def put(name: str, gate: bool, output: Tensor) -> Tensor:
        value = next(batches[name]).to(output)
        return torch.logit(value.clamp(1e-6, 1 - 1e-6)) if gate else value

    with _hooked({name: modules[name] for name in values}, put):
        return predict(network, split, recipe, device).cpu()


def fold(network: Network, routing: dict[str, Tensor]) -> Network:
    """The ordinary network, block "se", that computes what `network` does when all images route by `routing`.

    `routing` maps each of its routings to weights (1, experts); each conditional convolution becomes an
    ordinary one whose filter is their sum of the experts'. One without gates folds to "standard". On the CPU,
    in evaluation mode.
    """
    kind = "se" if network.spec.gate == "se" else "standard"
    usual = {"routing": "equalised", "conditional_from": 1, "gate": "se"}
    folded = Network.of(replace(network.spec, block=kind, **usual))
    state = network.state_dict()
    for name, layer in network.named_modules():
        if isinstance(layer, Routing):
            del state[f"{name}.weight"]
        elif isinstance(layer, CondConv2d):
            block, *_ = name.rsplit(".", 2)  # whose three convolutions may share one routing
            weights = routing.get(f"{name}.routing", routing.get(f"{block}.routing"))
            mixed = weights.to(layer.weight) @ state[f"{name}.weight"]
            state[f"{name}.weight"] = mixed.view(layer.filter_shape)
    folded.load_state_dict(state)
    return folded.eval()


def weight_statistics(values: Tensor, labels: Tensor) -> dict[str, float]:
    """Of weights (N, experts or channels) in (0, 1), labels (N,): means over the columns.

    `mean` and `sd` over images; `low` and `high`, the shares below 0.05 and above 0.95; `between`, the
    share of the variance that lies between classes (eta squared; 0 where nothing varies).
    """
    values = values.double()
    variance = values.var(dim=0, correction=0)
    counts = torch.bincount(labels)[:, None]  # never 0: each class has an image
    sums = torch.zeros(len(counts), values.shape[1], dtype=torch.float64).index_add_(0, labels, values)
    means, weights = sums / counts, counts / len(labels)
    between = (weights * (means - values.mean(dim=0)) ** 2).sum(dim=0)
    varies = variance > 1e-12
    return {
        "mean": values.mean().item(),
        "sd": variance.sqrt().mean().item(),
        "low": (values < LOW).double().mean().item(),
        "high": (values > HIGH).double().mean().item(),
        "between": (between[varies] / variance[varies]).mean().item() if varies.any() else 0.0,
    }


def expert_similarity(convolution: CondConv2d) -> float:
    """The mean pairwise cosine similarity of the experts' filters; 0 for a single one."""
    experts = nn.functional.normalize(convolution.weight.detach().double(), dim=1)
    similarity = experts @ experts.T
    count = len(experts)
    return ((similarity.sum() - count) / max(1, count * (count - 1))).item()


def initial_similarity(run: Run, network: Network) -> float:
    """The mean cosine similarity of trained depthwise filters and those they started from, over the blocks.

    `network` has the run's last weights; its first ones follow from the run's seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.record["seed"])
        initial = build(run.spec)
    found = []
    for name, block in network.named_modules():
        if isinstance(block, InvertedResidual):
            pair = (of.depthwise[0].weight.detach() for of in (initial.get_submodule(name), block))
            filters = (weight.cpu().double().reshape(-1, run.spec.filter_size**2) for weight in pair)
            found.append(nn.functional.cosine_similarity(*filters).mean().item())
    return sum(found) / len(found)


def paired(logits: Tensor, baseline: Tensor, labels: Tensor) -> dict[str, float | int]:
    """Top-1 in percent, and the images that are right with one of two sets of logits (N, classes) alone.

    `gained` are right in `logits` and wrong in `baseline`, `lost` the other way round: with the number of
    images all that a paired comparison needs (McNemar's test).
    """
    right, before = logits.argmax(1) == labels, baseline.argmax(1) == labels
    return {
        "top1": 100.0 * right.double().mean().item(),
        "gained": int((right & ~before).sum()),
        "lost": int((before & ~right).sum()),
    }


def analyse(runs: dict[str, Run], dataset: Dataset, device: torch.device) -> dict:
    """What the report says of the trained networks, as JSON can hold it; `runs` maps each block to its run.

    Means of routing and gates are over every k-th training image, 5,000 or more of them (all, of fewer than
    10,000), centre cropped; everything else is over the validation images. In `without`,
    `largest_routing_mean` replaces the one routing alone that varies most between images. Raises UserError
    if weights are missing.
    """
    labels = dataset.val.labels
    every = max(1, len(dataset.train) // 5000)
    some = dataset.train.select(torch.arange(0, len(dataset.train), every))
    found: dict = {"images": len(labels), "mean_over": len(some), "without": {}, "modules": []}
    found["initial_similarity"] = {}
    logits = {}
    for block, run in runs.items():
        network, recipe = load_trained(run, device), runtime.recipe_on(device, run.recipe)
        found["initial_similarity"][block] = initial_similarity(run, network)
        seen = observe(network, dataset.val, recipe, device)
        logits[block] = seen.logits
        found["modules"] += [
            _module(block, network, name, values, labels)
            for name, values in (seen.routing | seen.gates).items()
        ]
        if not (seen.routing or seen.gates):
            continue
        usual = observe(network, some, recipe, device)
        replacements = {}
        if seen.routing:
            means = means_of(usual.routing)
            routings = (row for row in found["modules"] if row["block"] == block and row["name"] in means)
            largest = max(routings, key=lambda row: row["sd"])["name"]
            replacements["routing_mean"] = means
            replacements["largest_routing_mean"] = {largest: means[largest]}
            replacements["routing_other"] = of_another_image(seen.routing)
        if seen.gates:
            replacements["gates_mean"] = means_of(usual.gates)
            replacements["gates_other"] = of_another_image(seen.gates)
        found["without"][block] = {
            name: paired(predict_with(network, dataset.val, recipe, device, values), seen.logits, labels)
            for name, values in replacements.items()
        }
        if seen.routing:
            folded = fold(network, means).to(device, memory_format=torch.channels_last)
            logits["folded"] = predict(folded, dataset.val, recipe, device).cpu()
    found["pairs"] = {
        f"{name}-{baseline}": paired(logits[name], logits[baseline], labels)
        for position, name in enumerate(logits)
        for baseline in list(logits)[:position]
    }
    found["top1"] = {name: paired(own, own, labels)["top1"] for name, own in logits.items()}
    return found


def _module(block: str, network: Network, name: str, values: Tensor, labels: Tensor) -> dict:
    """One row of `modules`: where it is, what it is, and `weight_statistics` of what it gave."""
    _, stage, _, part, *_ = name.split(".")
    row = {"block": block, "name": name, "part": part, "level": network.spec.levels()[int(stage)]}
    owner = network.get_submodule(name.rsplit(".", 1)[0])
    if isinstance(owner, CondConv2d):
        row["similarity"] = expert_similarity(owner)
    return row | weight_statistics(values, labels)

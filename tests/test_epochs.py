import pytest
import torch
from torch.nn import functional as F

from xnnlib import epochs
from xnnlib.data import load_dataset, train_batches, val_batches
from xnnlib.epochs import Sums
from xnnlib.model import Network
from xnnlib.schedule import learning_rate
from xnnlib.spec import RECIPES

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return load_dataset("shapes", num_classes=3, train_images=24, val_images=9, size=18, cache_dir=cache)


def test_one_epoch_equals_a_plain_loop_over_torch_s_own_optimiser(dataset, monkeypatch):
    recipe = RECIPES["reference"].scaled(epochs=11, batch_size=8, crop=16)
    networks, optimizers = [], []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(Network("standard", 3).double())
        optimizers.append(
            torch.optim.SGD(networks[-1].parameters(), lr=1, momentum=0.9, nesterov=True, weight_decay=5e-5)
        )
    epoch = 4
    monkeypatch.setattr(epochs, "logits_of", lambda network, images, *_: network(images.double()))
    sums = epochs.train_epoch(
        networks[0], dataset.train, optimizers[0], recipe, epoch, torch.Generator().manual_seed(7), CPU
    )
    optimizers[1].param_groups[0]["lr"] = learning_rate(recipe, epoch)
    losses, hits = [], []
    batches = train_batches(dataset.train, 8, 16, torch.Generator().manual_seed(7), CPU)
    for images, labels in batches:
        logits = networks[1].train()(images.double())
        optimizers[1].zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizers[1].step()
        losses.append(F.cross_entropy(logits, labels).item())
        hits.append((logits.argmax(1) == labels).double().mean().item())
    assert sums.mean_loss() == pytest.approx(sum(losses) / 3, rel=1e-6)
    assert sums.top1() == pytest.approx(100 * sum(hits) / 3)
    for mine, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


def test_evaluation_counts_every_image_whatever_the_batch(dataset):
    torch.manual_seed(0)
    network = Network("standard", 3)
    whole = epochs.evaluate(network, dataset.val, RECIPES["paper"].scaled(1, 9, 16), CPU)
    assert epochs.evaluate(network, dataset.val, RECIPES["paper"].scaled(1, 4, 16), CPU) == pytest.approx(
        whole
    )


def test_it_learns(dataset):
    torch.manual_seed(0)
    network = Network("standard", 3)
    images, labels = next(iter(val_batches(dataset.val, 9, 16, 18, CPU)))
    # At 0.05 the loss of nine images bounces, and the last bits of a sum, which differ from
    # processor to processor, decide which image is missed after the last step.
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(network.train()(images), labels).backward()
        optimizer.step()
    logits = network(images)
    assert (logits.argmax(1) == labels).all()
    assert F.cross_entropy(logits, labels) < 0.01


def test_the_first_step_whose_loss_is_not_finite_is_known(dataset, monkeypatch):
    losses = iter([1.0, float("nan"), 1.0])
    monkeypatch.setattr(epochs.F, "cross_entropy", lambda logits, *_, **__: logits.sum() * 0 + next(losses))
    network, recipe = Network("standard", 3), RECIPES["paper"].scaled(epochs=1, batch_size=8, crop=16)
    optimizer = torch.optim.SGD(network.parameters(), lr=0)
    seen = []
    epochs.train_epoch(
        network, dataset.train, optimizer, recipe, 0, torch.Generator(), CPU,
        on_step=lambda sums: seen.append(sums.first_not_finite()),
    )  # fmt: skip
    assert seen == [None, 1, 1]


def test_an_epoch_goes_on_after_the_steps_that_are_done(dataset):
    recipe = RECIPES["paper"].scaled(epochs=1, batch_size=8, crop=16)
    results = []
    for cut in (None, 2):
        torch.manual_seed(1)
        network = Network("se", 3)
        optimizer = torch.optim.SGD(network.parameters(), lr=0)
        sums = None

        def stop(so_far, cut=cut):
            if so_far.steps == cut:
                raise KeyboardInterrupt

        if cut:
            sums = Sums.zero(CPU)
            with pytest.raises(KeyboardInterrupt):
                epochs.train_epoch(
                    network, dataset.train, optimizer, recipe, 0, torch.Generator(), CPU, stop, sums=sums
                )
        sums = epochs.train_epoch(
            network, dataset.train, optimizer, recipe, 0, torch.Generator(), CPU, sums=sums
        )
        results.append([sums.mean_loss(), sums.top1(), sums.steps, *network.state_dict().values()])
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*results, strict=True))

import pytest
from torch import nn, optim

from xnnlib.schedule import learning_rate
from xnnlib.spec import RECIPES

REFERENCE = RECIPES["reference"]


def test_the_paper_s_values():
    assert learning_rate(REFERENCE, 0) == pytest.approx(0.002)
    assert learning_rate(REFERENCE, 5) == pytest.approx(0.2)
    assert learning_rate(REFERENCE, 30) == pytest.approx((0.2 + 0.0002) / 2)
    assert learning_rate(REFERENCE, 55) == pytest.approx(0.0002)


def test_every_epoch_equals_torch_s_schedulers():
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=0.2)
    warmup = optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=5)
    cosine = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.0002)
    schedule = optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[5])
    for epoch in range(55):
        assert learning_rate(REFERENCE, epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        schedule.step()

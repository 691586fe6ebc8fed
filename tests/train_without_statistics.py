"""`python -m xnnlib.training` where processes can be compared: in double precision, without batch statistics.

The batch norm of a part of a batch differs from that of the whole, and in single precision what rounding
leaves grows, within a few steps, to a difference in the first digits.
"""

import sys

from torch import nn
from torch.nn import functional as F

from xnnlib import training
from xnnlib.model import Network


def scale_and_shift(norm, x):
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False)


single = Network.of
Network.of = lambda spec: single(spec).double()
nn.BatchNorm2d.forward = scale_and_shift
training.logits_of = lambda network, images, recipe, device: network(images.double())
sys.exit(training.main())

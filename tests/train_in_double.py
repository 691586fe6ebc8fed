"""`python -m xnnlib.training` in double precision, where rounding cannot hide a mistake.

In single precision batch norm of a tiny batch makes of a rounding, within a few steps, a difference in the
first digits.
"""

import sys

from xnnlib import epochs
from xnnlib.model import Network
from xnnlib.training import main

single = Network.of
Network.of = lambda spec: single(spec).double()
epochs.logits_of = lambda network, images, recipe, device: network(images.double())
sys.exit(main())

"""Compile the Triton kernels for an NVIDIA H100 as the networks call them; that needs no GPU, only triton."""

import sys
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import triton_depthwise as kernels

HOPPER = GPUTarget("cuda", 90, 32)
TYPES = {"bfloat16": "*bf16", "float64": "*fp64"}
# The stride of what lies side by side in memory is a constant, one.
INNERMOST = {"channels_last": "channel", "contiguous": "column"}


def compile_kernel(kernel: triton.JITFunction, precision: str, layout: str, **constants: int | bool) -> None:
    names = kernel.arg_names
    constants |= {f"{name}_{INNERMOST[layout]}": 1 for name in ("x", "y", "gradient")}
    constants = {name: value for name, value in constants.items() if name in names}
    types = dict.fromkeys(names, "i32") | dict.fromkeys(("x", "filters", "y", "gradient"), TYPES[precision])
    types["sums"] = "*fp64" if precision == "float64" else "*fp32"
    signature = {name: "constexpr" if name in constants else types[name] for name in names}
    triton.compile(ASTSource(kernel, signature, constants), target=HOPPER)


for precision in TYPES:
    for layout in INNERMOST:
        shared = {"SIZE": 3, "STRIDE": 2, "DOUBLE": precision == "float64"}
        pixels, channels = kernels.TILES[layout]
        for transposed in (False, True):
            tile = {"PIXELS": pixels, "CHANNELS": channels, "TRANSPOSED": transposed}
            compile_kernel(kernels.convolve_kernel, precision, layout, **shared, **tile)
        pixels, channels = kernels.SUMMED_TILES[layout]
        tile = {"PIXELS": pixels, "CHANNELS": channels, "TAPS": 16, "SUMMED": kernels.SUMMED_PIXELS}
        compile_kernel(kernels.filter_gradient_kernel, precision, layout, **shared, **tile)
print("compiled")

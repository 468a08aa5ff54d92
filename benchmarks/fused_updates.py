"""What an optimizer's update costs: 10 million parameters in 60 tensors, beside PyTorch.

    python benchmarks/fused_updates.py [--rounds 15] [--parameters 10000000] [--pieces 15,16,17]

Ours is the captured update as a plan runs it, by NumPy alone and by Numba's kernels; PyTorch's
are its default, foreach and fused ones, where it is installed. Each round times every candidate
once, in turn, so that a slow moment of the machine hits all of them. Printed: medians and minima in
milliseconds, the bytes that the update must read and write per second, and a triad's (a + s b → c,
of Numba, on the same threads) for what memory gives; all in place or on pages in use. With
*--pieces*, in their place: Adam by NumPy alone, in pieces of 2 to these powers of elements.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

Step = Callable[[], Any]
#: Optimizer → bytes read and written per parameter in float32.
TRAFFIC = {"adam": 28, "momentum": 20, "triad": 12}
TENSORS = 60


def ours(name: str, size: int, kernels: tuple[str, ...]) -> Step:
    """The bound calls of the update's plan."""
    import agnostic_dl as adl
    from agnostic_dl.testing.programs import update_program

    with adl.use_backend("numpy", kernels=kernels) as backend:
        program = update_program(adl.optimizer(name), size)
        # The gradient lies in the plan already, as a step's backward pass leaves it there.
        inputs = {"buffer.grad" if n == "grad" else n: k for n, k in program.inputs.items()}
        plan = backend.compile(replace(program, inputs=inputs))
    draw = np.random.default_rng(0)
    plan.load({slot: draw.random(size, np.float32) for slot in plan.program.state})
    return partial(plan.run, {n: 0.3 for n in inputs if n not in plan.program.state})


def torchs(name: str, size: int, **options: bool) -> Step:
    """One step of PyTorch's optimizer on as many tensors."""
    import torch

    tensors = [torch.rand(size // TENSORS, requires_grad=True) for _ in range(TENSORS)]
    for tensor in tensors:
        tensor.grad = torch.rand_like(tensor)
    if name == "adam":
        step: Step = torch.optim.Adam(tensors, **options).step
    else:
        step = torch.optim.SGD(tensors, lr=1e-3, momentum=0.9, **options).step
    return step


def triad(size: int) -> Step:
    """a + s b → c by a compiled chain."""
    from agnostic_dl.extend import CHAIN, Instruction, Literal
    from agnostic_dl_numba.chain import CHAINS

    code = (Instruction("multiply", (1, Literal(0.5)), (2,)), Instruction("add", (0, 2), (3,)))
    chain = Instruction(CHAIN, (0, 1), (3,), {"code": code})
    a, b, c = (np.ones(size, np.float32) for _ in range(3))
    call = CHAINS.bind(chain, [a, b], [c])
    assert call is not None
    return call


def candidates(size: int) -> dict[str, Step]:
    """By name, which begins with that of the optimizer."""
    found: dict[str, Step] = {}
    numba = find_spec("numba") is not None
    for name in ("adam", "momentum"):
        found[f"{name}: ours, NumPy"] = ours(name, size, ())
        if numba:
            found[f"{name}: ours, Numba"] = ours(name, size, ("numpy.numba",))
        if find_spec("torch") is not None:
            found[f"{name}: PyTorch"] = torchs(name, size)
            found[f"{name}: PyTorch, foreach"] = torchs(name, size, foreach=True)
            found[f"{name}: PyTorch, fused"] = torchs(name, size, fused=True)
    if numba:
        found["triad: Numba"] = triad(size)
    return found


def in_pieces(size: int, powers: list[int]) -> dict[str, Step]:
    """Adam by NumPy alone, its chain in pieces of 2 to each of *powers* elements."""
    from agnostic_dl_numpy.plan import chains

    found: dict[str, Step] = {}
    for power in powers:
        chains.PIECE = 1 << power
        found[f"adam: pieces of 2^{power}"] = ours("adam", size, ())
    return found


def measure(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of every round, after two that do not count."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number >= 2:
                times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--parameters", type=int, default=10_000_000)
    parser.add_argument("--pieces", type=lambda text: [int(k) for k in text.split(",")])
    options = parser.parse_args()
    size = options.parameters // TENSORS * TENSORS
    steps = in_pieces(size, options.pieces) if options.pieces else candidates(size)
    print(f"{'':26}{'median ms':>10}{'least ms':>10}{'GB/s':>7}")
    for name, times in measure(steps, options.rounds).items():
        median = statistics.median(times)
        speed = TRAFFIC[name.partition(":")[0]] * size / median / 1e9
        print(f"{name:26}{median * 1e3:10.2f}{min(times) * 1e3:10.2f}{speed:7.1f}")


if __name__ == "__main__":
    main()

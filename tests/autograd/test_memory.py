"""What a step computed is gone when the step is over, without the garbage collector's help."""

import gc
import os
import weakref
from pathlib import Path

import numpy as np
import pytest

import agnostic_dl as adl

STEPS, SETTLED = 10_000, 1_000


def _step(xp, w, b, x, y):
    loss = xp.mean((xp.tanh(x @ w + b) - y) ** 2)
    loss.backward()
    for parameter in (w, b):
        parameter.data = parameter.data - 0.01 * parameter.grad.data
        parameter.grad = None
    return loss


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("collecting", [True, False])
def test_ten_thousand_steps_leave_the_resident_size_flat(collecting):
    xp = adl.namespace("numpy")
    draw = np.random.default_rng(0).standard_normal
    w = adl.Tensor(draw((4, 3)), requires_grad=True)
    b = adl.Tensor(draw(3), requires_grad=True)
    x, y = xp.asarray(draw((8, 4))), xp.asarray(draw((8, 3)))
    sizes = []
    try:
        if not collecting:
            gc.disable()
        for step in range(STEPS):
            _step(xp, w, b, x, y)
            if step >= SETTLED and step % 100 == 0:
                sizes.append(_resident())
    finally:
        gc.enable()
    slope = np.polyfit(np.arange(len(sizes)) * 100.0, sizes, 1)[0]
    assert slope <= 10, f"{slope:.1f} bytes per step"


def test_intermediates_go_as_the_walk_goes():
    xp = adl.namespace("numpy")
    x = adl.Tensor(np.ones(3), requires_grad=True)
    hidden = xp.sin(x)
    watched = weakref.ref(hidden._edge[0])
    loss = xp.sum(hidden * hidden)
    del hidden
    assert watched() is not None
    loss.backward()
    assert watched() is None  # though the loss itself is still held
    assert loss.requires_grad

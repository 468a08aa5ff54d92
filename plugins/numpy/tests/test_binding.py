"""Whose kernel a plan calls."""

from functools import partial

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.extend import Instruction
from agnostic_dl.kernels import merged
from agnostic_dl_numpy.plan import Kernel
from agnostic_dl_numpy.plan.binding import Binder


class Ones(Kernel):
    """A kernel for plans that writes ones."""

    def bind(self, instruction, operands, outs):
        return partial(outs[0].fill, 1.0)


def twos(xp, x):
    return xp.full_like(x, 2.0)


@pytest.mark.parametrize("size", [8, 1 << 17])
@pytest.mark.parametrize(
    ("best_first", "found"), [([Ones(), twos], 1.0), ([twos, Ones()], 2.0), ([], 3.0)]
)
def test_the_best_is_asked_first_whatever_door_it_takes(best_first, found, size):
    with adl.use_backend("numpy", kernels=()) as backend:
        pass
    own = backend.own_kernels()
    kernels = merged([*({"relu": kernel} for kernel in best_first), own])
    x, out = np.full(size, 3.0, np.float32), np.zeros(size, np.float32)
    Binder(backend.xp, kernels, own).bind(Instruction("relu", (0,), (1,)), [x], [out])()
    np.testing.assert_array_equal(out, np.full(size, found, np.float32))

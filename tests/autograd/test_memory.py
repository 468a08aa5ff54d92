"""What a step computed is gone when the step is over, without the garbage collector's help."""

import gc
import os
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.errors import UsageError
from agnostic_dl.primitives import PRIMITIVES as P

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


# -- what no rule reads is let go of before the way back -------------------------------------------


def _graph_of(function, shape=(4, 3)):
    """A graph of *function* of an intermediate array, and weak references to it and the result."""
    leaf = adl.Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)
    hidden = leaf * 2.0
    made = function(hidden)
    results = [weakref.ref(out.data) for out in (made if isinstance(made, tuple) else (made,))]
    used = made[0] if isinstance(made, tuple) else made
    return P["sum"](used), leaf, weakref.ref(hidden.data), results


#: What a primitive is given, and whether its argument and its (first) result outlive the forward.
KEPT = {
    "add": (lambda h: h + 1.0, False, False),
    "multiply": (lambda h: h * 3.0, True, False),
    "exp": (lambda h: P["exp"](h), False, True),
    "relu": (lambda h: P["relu"](h), False, True),
    "sin": (lambda h: P["sin"](h), True, False),
    "mean": (lambda h: P["mean"](h, axis=0), False, False),
    "where": (lambda h: P["where"](np.eye(4, 3) > 0, h, 0.0), False, False),
    "concat": (lambda h: P["concat"](h, h), False, False),
    "linear": (lambda h: P["linear"](h, np.ones((3, 2)), np.ones(2)), True, False),
    "batch_norm": (
        lambda h: P["batch_norm"](h, np.ones(3), np.zeros(3), eps=1e-5), True, False
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_the_tape_keeps_what_the_rules_read_and_no_more(name):
    function, argument, result = KEPT[name]
    loss, leaf, hidden, results = _graph_of(function)
    assert (hidden() is not None) is argument
    assert (results[0]() is not None) is result
    loss.backward()
    assert np.all(np.isfinite(leaf.grad.data))


def test_a_rule_that_reads_what_was_not_kept_is_told_so():
    square = adl.primitive(lambda xp, x: xp.multiply(x, x), name="square")
    square.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.multiply(x, 2.0)), keeps=[])
    loss = _graph_of(square)[0]
    with pytest.raises(UsageError, match=r"multiply: a rule reads .* keeps=\[\.\.\.\]"):
        loss.backward()
    square.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.multiply(x, 2.0)))  # everything again
    loss, leaf, *_ = _graph_of(square)
    loss.backward()
    np.testing.assert_allclose(leaf.grad.data, 8.0 * leaf.data)


class Pair(NamedTuple):
    first: Any
    second: Any


def _exp_and(keeps, kind):
    """exp and sin at once, of which the rule reads the first result."""
    function = adl.primitive(lambda xp, x: kind((xp.exp(x), xp.sin(x))), name="exp_and_sin")
    function.defvjp(lambda xp, g, out, x: xp.multiply(g[0], out[0]), keeps=keeps)
    return function


@pytest.mark.parametrize("kind", [tuple, Pair._make], ids=["tuple", "named"])
@pytest.mark.parametrize("keeps", [["out"], [0]])
def test_a_rule_finds_the_results_that_are_kept_by_name_or_by_number(keeps, kind):
    both = _exp_and(keeps, kind)
    loss, leaf, *_ = _graph_of(lambda h: both(h)[0])
    loss.backward()
    np.testing.assert_allclose(leaf.grad.data, 2.0 * np.exp(2.0 * leaf.data))


def test_results_of_which_some_are_kept_are_still_named():
    both = _exp_and([0], Pair._make)
    both.defvjp(lambda xp, g, out, x: xp.multiply(g[0], out.first), keeps=[0])
    loss, leaf, *_ = _graph_of(lambda h: both(h).first)
    loss.backward()
    np.testing.assert_allclose(leaf.grad.data, 2.0 * np.exp(2.0 * leaf.data))


def test_a_formula_given_after_a_rule_finds_everything():
    square = adl.primitive(lambda xp, x: xp.multiply(x, x), name="square")
    square.defvjp(lambda xp, g, out, x: g, keeps=[])
    square.defvjp_composed()
    loss, leaf, *_ = _graph_of(square)
    loss.backward()
    np.testing.assert_allclose(leaf.grad.data, 8.0 * leaf.data)


def test_the_number_of_the_only_result_is_its_name():
    exp = adl.primitive(lambda xp, x: xp.exp(x), name="exp")
    exp.defvjp(lambda xp, g, out, x: xp.multiply(g, out), keeps=[0])
    loss, leaf, *_ = _graph_of(exp)
    loss.backward()
    np.testing.assert_allclose(leaf.grad.data, 2.0 * np.exp(2.0 * leaf.data))


def test_keeps_names_what_there_is():
    twice = adl.primitive(lambda xp, x: xp.add(x, x), name="twice")
    with pytest.raises(UsageError, match=r"keeps: twice has \['out', 'x'\], not \['y'\]"):
        twice.defvjp(lambda xp, g, out, x: xp.add(g, g), keeps=["y"])

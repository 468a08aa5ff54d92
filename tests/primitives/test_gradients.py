"""Every primitive against finite differences, over the table of operations.

``AGNOSTIC_DL_CASES=200`` draws 200 cases of each; by default a few.
"""

import os
import warnings

import pytest

import agnostic_dl as adl
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.testing.samples import Draw
from agnostic_dl.testing.table import OPERATIONS

CASES = int(os.environ.get("AGNOSTIC_DL_CASES", "5"))


def test_every_primitive_is_in_the_table():
    assert set(OPERATIONS) == set(PRIMITIVES)


@pytest.mark.parametrize("library", ["numpy", "strict"])
@pytest.mark.parametrize("name", sorted(n for n, p in PRIMITIVES.items() if p.differentiable))
def test_first_and_second_order(name, library):
    with adl.use_backend(library) as backend:
        for seed in range(CASES):
            sample = OPERATIONS[name](Draw(backend.xp, seed))
            report = adl.testing.check_grads(sample.function, sample.args, sample.order, seed=seed)
            assert report.errors[1] <= 1e-6
            assert report.errors[2] <= 1e-5


@pytest.mark.parametrize("name", sorted(n for n, p in PRIMITIVES.items() if p.keeps is not None))
def test_rules_read_what_they_say_and_no_more(name):
    """Of arguments that were computed: those of the test above are leaves, which stay whole."""
    with adl.use_backend("numpy") as backend:
        sample = OPERATIONS[name](Draw(backend.xp, 0))

        def of_computed(*args):
            return sample.function(*(_computed(backend.xp, arg) for arg in args))

        report = adl.testing.check_grads(of_computed, sample.args, sample.order)
        assert report.errors[1] <= 1e-6
        assert report.errors[2] <= 1e-5


def _computed(xp, arg):
    floating = hasattr(arg, "dtype") and xp.isdtype(
        arg.dtype, ("real floating", "complex floating")
    )
    return PRIMITIVES["positive"](arg) if floating else arg


@pytest.mark.parametrize("library", ["numpy", "strict"])
@pytest.mark.parametrize("name", sorted(n for n, p in PRIMITIVES.items() if not p.differentiable))
def test_what_has_no_derivative_cuts_the_graph(name, library):
    with adl.use_backend(library) as backend, warnings.catch_warnings():
        sample = OPERATIONS[name](Draw(backend.xp, 1))
        arrays = [_watched(backend.xp, arg) for arg in sample.args]
        out = sample.function(*arrays)
        for part in out if isinstance(out, tuple) else (out,):
            assert not part.requires_grad


def _watched(xp, arg):
    floating = hasattr(arg, "dtype") and xp.isdtype(arg.dtype, "real floating")
    return adl.Tensor(arg, requires_grad=floating) if hasattr(arg, "dtype") else arg


@pytest.mark.parametrize("name", ["max", "min", "sort", "unique_values"])
def test_of_equal_values_exactly_one_gets_the_gradient(name):
    xp = adl.namespace("numpy")
    x = xp.asarray([1.0, 3.0, 3.0, 1.0])
    gradient = adl.grad(lambda x: xp.sum(getattr(xp, name)(x)))(x)
    counts = {"sort": [1, 1, 1, 1], "max": [0, 1, 0, 0], "min": [1, 0, 0, 0]}
    assert gradient.data.tolist() == counts.get(name, [1, 1, 0, 0])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_of_two_equal_operands_the_first_gets_the_gradient(name):
    xp = adl.namespace("numpy")
    a, b = xp.asarray([1.0, 2.0]), xp.asarray([1.0, 2.0])
    grads = adl.grad(lambda a, b: xp.sum(getattr(xp, name)(a, b)), argnums=(0, 1))(a, b)
    assert [g.data.tolist() for g in grads] == [[1, 1], [0, 0]]


@pytest.mark.parametrize("zeros", [1, 2])
def test_products_differentiate_at_zero_factors(zeros):
    xp = adl.namespace("numpy")
    x = xp.asarray([2.0, *[0.0] * zeros, 5.0])
    gradient = adl.grad(xp.prod)(x).data.tolist()
    assert gradient == ([0.0, 10.0, 0.0] if zeros == 1 else [0.0] * 4)


def test_derivatives_at_points_that_need_care():
    xp = adl.namespace("numpy")
    zero = xp.asarray([0.0, 0.0])
    assert adl.grad(xp.linalg.vector_norm)(zero).data.tolist() == [0, 0]
    assert adl.grad(lambda x: xp.sum(x**2))(zero).data.tolist() == [0, 0]
    assert adl.grad(lambda x: xp.sum(x**0))(zero).data.tolist() == [0, 0]
    assert adl.grad(lambda x: xp.sum(xp.abs(x)))(zero).data.tolist() == [0, 0]
    assert adl.grad(lambda x: xp.sum(xp.hypot(x, x)))(zero).data.tolist() == [0, 0]
    second = adl.grad(adl.grad(lambda x: x**3))(xp.asarray(0.0))
    assert float(second) == 0.0


@pytest.mark.parametrize("indices", [[0, 2, 2, 1], [2, 2, 2], [-1, 0]])
def test_indices_that_repeat_add_up(indices):
    xp = adl.namespace("numpy")
    x = xp.asarray([1.0, 2.0, 3.0])
    places = xp.asarray(indices)
    gradient = adl.grad(
        lambda x: xp.sum(x[places] * xp.asarray([1.0, 10.0, 100.0, 1e3])[: len(indices)])
    )
    expected = [0.0, 0.0, 0.0]
    for weight, i in zip([1.0, 10.0, 100.0, 1e3], indices, strict=False):
        expected[i] += weight
    assert gradient(x).data.tolist() == expected

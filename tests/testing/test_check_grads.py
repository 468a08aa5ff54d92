"""check_grads finds what is wrong, and only that."""

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.errors import ConformanceError, GradientError
from agnostic_dl.testing import check_grads


@pytest.fixture(params=["numpy", "strict"])
def space(request):
    with adl.use_backend(request.param):
        yield adl.namespace(request.param)


def cube_with(rule):
    @adl.primitive
    def cube(xp, x):
        return xp.multiply(xp.multiply(x, x), x)

    cube.defvjp(rule)
    return cube


def test_a_right_rule_passes_and_the_errors_are_reported(space):
    cube = cube_with(lambda xp, g, out, x: xp.multiply(g, xp.multiply(xp.square(x), 3.0)))
    report = check_grads(cube, (space.asarray([1.0, -2.0]),))
    assert set(report.errors) == {1, 2}
    assert all(report.errors[order] <= report.tolerances[order] for order in (1, 2))


@pytest.mark.parametrize("factor", [-3.0, 3.0001, 0.0, float("nan")])
def test_a_wrong_rule_is_found(space, factor):
    cube = cube_with(lambda xp, g, out, x: xp.multiply(g, xp.multiply(xp.square(x), factor)))
    with pytest.raises(ConformanceError, match="order-1 derivative of"):
        check_grads(cube, (space.asarray([1.0, -2.0]),))


def test_a_rule_that_is_wrong_in_one_element_of_many_is_found(space):
    last = space.asarray([1.0] * 99 + [1.01]).data
    cube = cube_with(
        lambda xp, g, out, x: xp.multiply(g, xp.multiply(xp.square(x), xp.multiply(last, 3.0)))
    )
    with pytest.raises(ConformanceError):
        check_grads(cube, (space.linspace(0.5, 1.5, 100),))


def test_a_rule_that_forgets_its_own_derivative_is_found_at_second_order(space):
    def rule(xp, g, out, x):
        frozen = x.detach() if isinstance(x, adl.Tensor) else x
        return xp.multiply(g, xp.multiply(xp.square(frozen), 3.0))

    check_grads(cube_with(rule), (space.asarray([1.0]),), order=1)
    with pytest.raises(ConformanceError, match="order-2"):
        check_grads(cube_with(rule), (space.asarray([1.0]),), order=2)


def test_a_missing_rule_is_told(space):
    with pytest.raises(GradientError, match="no rule"):
        check_grads(cube_with(None), (space.asarray([1.0]),))


def test_arguments_in_nests_of_every_kind(space):
    def f(parameters, x, labels, *, scale=2.0):
        picked = space.take(x, labels, axis=0)
        return {"loss": space.sum(picked * parameters["w"][0]) * scale, "more": [picked**2]}

    labels = space.asarray([0, 1, 0])
    check_grads(f, ({"w": [space.ones(3)]}, space.asarray([1.0, 2.0]), labels))
    check_grads(lambda x, n: x**n, (1.5, 3))


def test_single_precision_is_checked_in_double(space):
    check_grads(space.sin, space.asarray([0.3, 2.0], dtype=space.float32))


def test_complex_arguments_and_results(space):
    z = space.asarray([1 + 2j, -0.5 + 1j])
    check_grads(lambda z: z * z * space.conj(z), (z,))
    wrong = adl.primitive(lambda xp, z: xp.conj(z), name="wrong")
    wrong.defvjp(lambda xp, g, out, z: g)
    with pytest.raises(ConformanceError):
        check_grads(wrong, (z,))


def test_points_near_the_end_of_the_domain():
    xp = adl.namespace("numpy")
    check_grads(xp.log, (np.asarray([4e-3]),))
    check_grads(lambda x: xp.maximum(x, x + 1e-4), (np.asarray([1.0]),))


def test_higher_orders():
    xp = adl.namespace("numpy")
    assert set(check_grads(xp.sin, (np.asarray(0.5),), order=4).errors) == {1, 2, 3, 4}

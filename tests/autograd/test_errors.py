"""Bad input: each mistake has its own clear error."""

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.errors import ArrayMixError, DTypeError, GradientError, ShapeError


@pytest.fixture
def xp():
    return adl.namespace("numpy")


@pytest.fixture
def x():
    return adl.Tensor(np.asarray([1.0, 2.0]), requires_grad=True)


def test_arrays_of_two_libraries(x):
    strict = adl.namespace("strict")
    with pytest.raises(ArrayMixError, match="one library"):
        x + strict.asarray([1.0, 2.0])


def test_arrays_on_two_devices():
    library = pytest.importorskip("array_api_strict")
    xp = adl.namespace("strict")
    other = library.Device("device1")
    a, b = xp.asarray([1.0]), xp.asarray([2.0], device=other)
    with pytest.raises(ArrayMixError, match="one device"):
        a + b
    assert float((a + b.to_device(a.device))[0]) == 3.0


def test_gradients_follow_to_another_device():
    library = pytest.importorskip("array_api_strict")
    xp = adl.namespace("strict")
    other = library.Device("device1")
    gradient = adl.grad(lambda a: xp.sum(a.to_device(other) ** 2))(xp.asarray([1.0, 2.0]))
    assert gradient.device == xp.asarray(0.0).device
    assert [float(g) for g in (gradient[0], gradient[1])] == [2.0, 4.0]


def test_backward_of_what_is_not_scalar(x):
    with pytest.raises(GradientError, match="cotangent"):
        (x * 2).backward()
    (x * 2).backward(np.asarray([1.0, 10.0]))
    assert x.grad.data.tolist() == [2.0, 20.0]


def test_backward_of_a_complex_result(xp):
    z = adl.Tensor(np.asarray(1 + 1j), requires_grad=True)
    with pytest.raises(GradientError, match="complex"):
        (z * z).backward()


def test_backward_through_a_freed_graph(x, xp):
    y = xp.sum(x * x)
    y.backward()
    with pytest.raises(GradientError, match="freed"):
        y.backward()


def test_a_kept_graph_is_walked_again_and_gradients_accumulate(x, xp):
    y = xp.sum(x * x)
    y.backward(keep_graph=True)
    y.backward()
    assert x.grad.data.tolist() == [4.0, 8.0]


def test_backward_without_a_graph(xp):
    with pytest.raises(GradientError, match="requires_grad"):
        xp.asarray(1.0).backward()


@pytest.mark.parametrize("computed", [False, True])
def test_assignment_to_what_is_on_the_tape(x, computed):
    y = x * 2 if computed else x
    with pytest.raises(GradientError, match="in place"):
        y[0] = 5.0


@pytest.mark.parametrize("kind", [float, int, complex, bool])
def test_numbers_of_several_elements(x, kind):
    with pytest.raises(ShapeError, match=r"single element.*\(2,\)"):
        kind(x)


def test_integers_that_ask_for_gradients(xp):
    with pytest.raises(DTypeError, match="floating"):
        adl.Tensor(np.asarray([1, 2]), requires_grad=True)
    with pytest.raises(DTypeError, match="floating"):
        adl.grad(xp.sum)(np.asarray([1, 2]))
    assert not xp.astype(adl.Tensor(np.asarray(1.5), requires_grad=True), xp.int64).requires_grad


def test_a_function_without_a_rule_says_so_when_differentiated_through(x, xp):
    @adl.primitive
    def mystery(xp, x):
        return xp.sin(x)

    out = mystery(x)  # computing is fine
    with pytest.raises(GradientError, match="mystery has no rule"):
        xp.sum(out).backward()


def test_a_function_of_the_library_beyond_the_standard_has_no_rule(x, xp):
    out = xp.interp(x, xp.asarray([0.0, 3.0]), xp.asarray([0.0, 6.0]))
    assert out.data.tolist() == [2.0, 4.0]
    with pytest.raises(GradientError, match="interp has no rule"):
        xp.sum(out).backward()


@pytest.mark.parametrize(
    "function",
    [
        lambda xp, x: xp.linalg.svd(x, full_matrices=True)[0],
        lambda xp, x: xp.linalg.qr(x, mode="complete")[0],
    ],
)
def test_derivatives_that_do_not_exist(xp, function):
    x = adl.Tensor(np.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]), requires_grad=True)
    with pytest.raises(GradientError, match="no derivative"):
        xp.sum(function(xp, x)).backward()


def test_in_place_operators_keep_shape_and_dtype(xp):
    a = xp.asarray([1.0, 2.0], dtype=xp.float32)
    with pytest.raises(ShapeError, match="in-place"):
        a += xp.zeros((3, 2), dtype=xp.float32)
    with pytest.raises(DTypeError, match="in-place"):
        a += xp.zeros(2, dtype=xp.float64)


def test_a_host_array_would_leave_the_tape(x):
    with pytest.raises(GradientError, match="detach"):
        np.asarray(x)
    assert np.asarray(x.detach()).tolist() == [1.0, 2.0]

"""grad, value_and_grad, vjp, backward, checkpoint, no_grad: one tape."""

import numpy as np
import pytest

import agnostic_dl as adl


@pytest.fixture
def space():
    return adl.namespace("numpy")


def test_nested_arguments_and_aux(space):
    def loss(parameters, x):
        hidden = x @ parameters["layers"][0] + parameters["bias"]
        return space.sum(hidden**2), {"hidden": hidden}

    parameters = {"layers": [np.ones((2, 3))], "bias": np.zeros(3)}
    both = adl.value_and_grad(loss, has_aux=True)
    (value, aux), grads = both(parameters, np.ones((4, 2)))
    assert float(value) == 48.0
    assert isinstance(aux["hidden"], np.ndarray)
    assert grads["layers"][0].shape == (2, 3)
    assert grads["bias"].tolist() == [16.0] * 3
    assert isinstance(grads["bias"], np.ndarray)


def test_vjp_of_nested_results(space):
    out, pull = adl.vjp(lambda x: {"a": x * 2, "b": (x * x,)}, np.asarray([1.0, 3.0]))
    assert out["b"][0].tolist() == [1.0, 9.0]
    (gradient,) = pull({"a": np.ones(2), "b": (np.ones(2),)})
    assert gradient.tolist() == [4.0, 8.0]
    with pytest.raises(adl.errors.GradientError, match="same form"):
        pull({"a": np.ones(2)})


def test_third_derivatives(space):
    f = space.sin
    for expected in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)):
        f = adl.grad(f)
        assert abs(float(f(np.asarray(0.7))) - expected(0.7)) < 1e-14


def test_hessian_vector_product(space):
    def f(x):
        return space.sum(x**3) + x[0] * x[1]

    v = np.asarray([1.0, -2.0])
    product = adl.grad(lambda x: space.sum(adl.grad(f)(x) * v))(np.asarray([2.0, 3.0]))
    assert product.tolist() == [6 * 2 * 1 - 2, 6 * 3 * -2 + 1]


def test_gradients_in_no_grad_and_detached(space):
    x = adl.Tensor(np.asarray(3.0), requires_grad=True)
    with adl.no_grad():
        assert not (x * x).requires_grad
        assert float(adl.grad(lambda x: x * x)(np.asarray(3.0))) == 6.0
    (x * x.detach()).backward()
    assert float(x.grad) == 3.0


# -- complex numbers: gradients point in the direction of steepest ascent, as in PyTorch ----------


def test_the_complex_convention(space):
    z = np.asarray([1 + 2j, -0.5 + 1j])
    gradient = adl.grad(lambda z: space.sum(space.abs(z) ** 2))(z)
    np.testing.assert_allclose(gradient, 2 * z)
    # holomorphic inside: L = Re f(z), the gradient is the conjugate of f'.
    gradient = adl.grad(lambda z: space.sum(space.real(z**3)))(z)
    np.testing.assert_allclose(gradient, np.conj(3 * z**2))


def test_real_inputs_through_complex_steps_have_real_gradients(space):
    x = np.asarray([1.0, 2.0, 0.5])
    gradient = adl.grad(lambda x: space.sum(space.abs(space.fft.fft(x)) ** 2))(x)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, 2 * 3 * x)  # Parseval


def test_backward_leaves_conjugated_gradients(space):
    z = adl.Tensor(np.asarray([1 + 2j]), requires_grad=True)
    space.sum(space.imag(z * z)).backward()
    np.testing.assert_allclose(z.grad.data, np.conj(2 * z.data * -1j))


# -- checkpointing -------------------------------------------------------------------------------


def test_a_checkpointed_call_recomputes_and_agrees(space):
    calls = []
    weight = adl.Tensor(np.asarray([2.0, 3.0]), requires_grad=True)

    def block(x):
        calls.append(1)
        return space.exp(space.sin(x) * weight), {"twice": x * 2}

    def loss(block, x):
        y, extra = block(x)
        return space.sum(y * extra["twice"])

    x = adl.Tensor(np.asarray([0.1, 0.2]), requires_grad=True)
    loss(block, x).backward()
    expected, x.grad = (x.grad.data, weight.grad.data), None
    weight.grad = None
    calls.clear()
    loss(adl.checkpoint(block), x).backward()
    assert len(calls) == 2
    np.testing.assert_array_equal(x.grad.data, expected[0])
    np.testing.assert_array_equal(weight.grad.data, expected[1])


def test_checkpoints_of_checkpoints_and_second_order(space):
    @adl.checkpoint
    def inner(x):
        return space.sin(x) * x

    @adl.checkpoint
    def outer(x):
        return space.sum(inner(x) ** 2)

    adl.testing.check_grads(outer, (np.asarray([0.3, 1.2]),))
    direct = adl.grad(lambda x: space.sum((space.sin(x) * x) ** 2))(np.asarray([0.3, 1.2]))
    np.testing.assert_allclose(adl.grad(outer)(np.asarray([0.3, 1.2])), direct)
    assert float(adl.checkpoint(space.sum, space.ones(3))) == 3.0


def test_a_checkpoint_keeps_no_intermediates(space):
    import tracemalloc

    def block(x):
        for _ in range(20):
            x = space.sin(x)
        return x

    def kept(f):
        x = adl.Tensor(np.ones(50_000), requires_grad=True)
        tracemalloc.start()
        y = f(x)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del y
        return size

    assert kept(adl.checkpoint(block)) < kept(block) / 5


# -- third parties -------------------------------------------------------------------------------


def test_a_primitive_with_rules_of_its_own(space):
    @adl.primitive
    def cube(xp, x, *, scale=1.0):
        return xp.multiply(xp.multiply(xp.multiply(x, x), x), scale)

    cube.defvjp(lambda xp, g, out, x, scale: xp.multiply(g, xp.multiply(xp.square(x), 3.0 * scale)))
    adl.testing.check_grads(lambda x: cube(x, scale=2.0), (np.asarray([1.0, -2.0]),))


def test_filling_a_new_array_is_differentiable(space):
    def f(x):
        out = space.zeros(3)
        for i in range(3):
            out[i] = x[i] ** (i + 1)
        out[1:] = out[1:] * 2
        return space.sum(out)

    x = np.asarray([1.0, 2.0, 3.0])
    assert adl.grad(f)(x).tolist() == [1.0, 8.0, 54.0]
    adl.testing.check_grads(f, (x,))


def test_assignment_leaves_what_was_computed_before_as_it_was(space):
    x = adl.Tensor(np.asarray([1.0, 2.0]), requires_grad=True)
    constant = space.asarray([3.0, 4.0])
    y = space.sum(x * constant)
    constant[0] = 100.0
    y.backward()
    assert x.grad.data.tolist() == [3.0, 4.0]

"""The namespace of Tensors: what it makes, and what stays on the tape."""

import operator

import numpy as np
import pytest

import agnostic_dl as adl


@pytest.fixture(params=["numpy", "strict"])
def space(request):
    with adl.use_backend(request.param):
        yield adl.namespace(request.param)


@pytest.fixture
def watched(space):
    return adl.Tensor(space.asarray([1.0, 2.0]).data, requires_grad=True)


def numbers(x):
    return np.asarray(x.detach()).tolist()


def test_only_floating_arrays_ask_for_gradients():
    xp = adl.namespace("numpy", requires_grad=True)
    assert xp.asarray([1.0]).requires_grad
    assert xp.zeros(2, dtype=xp.complex64).requires_grad
    assert not xp.asarray([1]).requires_grad
    assert not xp.asarray([True]).requires_grad
    a = xp.linspace(0.0, 1.0, 3)
    xp.sum(a * a).backward()
    assert numbers(a.grad) == [0.0, 1.0, 2.0]


def test_asarray_of_a_tensor_stays_on_the_tape(space, watched):
    assert space.asarray(watched) is watched
    for x in (
        space.asarray(watched, copy=True),
        space.asarray(watched, dtype=space.float32),
        space.astype(watched, space.float32),
        space.from_dlpack(watched),
        space.asarray([watched[0] * 2, 1.0, watched[1]]),
    ):
        watched.grad = None
        space.sum(x).backward()
        assert watched.grad is not None


def test_creation_from_tensors_differentiates(space):
    x = space.asarray(3.0)
    assert float(adl.grad(lambda x: space.sum(space.full((2, 2), x)))(x)) == 4.0
    assert float(adl.grad(lambda x: space.sum(space.full_like(space.zeros(3), x)))(x)) == 3.0
    assert float(adl.grad(lambda x: space.sum(space.linspace(0.0, x, 3)))(x)) == 1.5


@pytest.mark.parametrize(
    "symbol",
    ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "le", "gt", "ge", "eq", "ne"],
)
def test_operators_agree_with_the_library_also_reflected(space, symbol):
    apply = getattr(operator, symbol)
    a, b = space.asarray([1.5, -2.0]), space.asarray([2.0, 4.0])
    assert numbers(apply(a, b)) == np.asarray(apply(a.data, b.data)).tolist()
    assert numbers(apply(2.0, b)) == np.asarray(apply(2.0, b.data)).tolist()
    assert numbers(apply(b, 2.0)) == np.asarray(apply(b.data, 2.0)).tolist()


@pytest.mark.parametrize("symbol", ["and_", "or_", "xor", "lshift", "rshift"])
def test_operators_of_bits_also_in_place(space, symbol):
    a, b = space.asarray([5, 6]), space.asarray([1, 2])
    expected = np.asarray(getattr(operator, symbol)(a.data, b.data)).tolist()
    assert numbers(getattr(operator, symbol)(a, b)) == expected
    assert numbers(getattr(operator, "i" + symbol.rstrip("_"))(a, b)) == expected
    assert numbers(~a) == [-6, -7]


def test_in_place_operators_leave_the_old_value_to_the_tape(space, watched):
    y = watched * 1.0
    loss = space.sum(y * y)
    y += 100.0
    loss.backward()
    assert numbers(watched.grad) == [2.0, 4.0]
    assert numbers(y) == [101.0, 102.0]


@pytest.mark.parametrize(
    "key",
    [0, -1, slice(None, None, -1), (Ellipsis, 1), (None, slice(0, 2)), (slice(1, 3), 0)],
)
def test_basic_keys(space, key):
    x = space.reshape(space.arange(12.0), (4, 3))
    assert numbers(x[key]) == np.arange(12.0).reshape(4, 3)[key].tolist()
    adl.testing.check_grads(lambda x: x[key], (x,))


def test_masks_and_integer_arrays_differentiate(space):
    x = space.reshape(space.arange(6.0), (2, 3))
    rows, columns = space.asarray([0, 1, 1]), space.asarray([2, 0, 0])
    adl.testing.check_grads(lambda x: x[rows, columns] ** 2, (x,))
    adl.testing.check_grads(lambda x: x[space.abs(x) > 1.5] ** 2, (x + 0.1,))
    zero_d = space.asarray(1)
    assert numbers(x[zero_d, 0]) == 3.0


def test_integers_of_a_library_whose_arrays_lack_the_method_are_places(monkeypatch):
    array_api_strict = pytest.importorskip("array_api_strict")
    xp = adl.namespace("strict")
    x, two, half = xp.arange(4.0), xp.asarray(2), xp.asarray(0.5)
    monkeypatch.delattr(type(array_api_strict.asarray(2)), "__index__")
    assert operator.index(two) == 2
    assert numbers(x[: two.data]) == numbers(x[:two]) == [0.0, 1.0]
    for bound in (half, half.data, xp.asarray([1, 2])):
        with pytest.raises(TypeError):
            x[:bound]


def test_functions_of_the_standard_keep_the_librarys_signature(space):
    assert space.sum.__name__ == "sum"
    assert space.linalg.inv.__name__ == "inv"
    assert space.__array_api_version__ >= "2024.12"
    assert space.float32 == space.asarray(1.0, dtype=space.float32).dtype


def test_an_unknown_name_is_an_attribute_error(space):
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        space.nonsense  # noqa: B018
    assert not hasattr(space, "nonsense")


def test_the_whole_table_on_a_library_that_nobody_registered():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import array_api_compat.torch as xp

    from agnostic_dl.primitives import PRIMITIVES
    from agnostic_dl.testing.samples import Draw
    from agnostic_dl.testing.table import OPERATIONS

    torch.set_num_threads(1)
    absent = {"unique_all", "unique_counts", "unique_inverse", "unique_values"}
    for name in sorted(set(OPERATIONS) - absent):
        sample = OPERATIONS[name](Draw(xp, 2))
        if PRIMITIVES[name].differentiable:
            adl.testing.check_grads(sample.function, sample.args)

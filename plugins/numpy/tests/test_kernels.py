"""What holds for every kernel of the table: one case each, large enough to be taken."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl_numpy.kernels import KERNELS

CONV: dict[str, Any] = {
    "stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1
}  # fmt: skip
STRIDED = {**CONV, "stride": (2, 2)}
POOL: dict[str, Any] = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
IMAGE, HALF = (40, 16, 16, 16), (40, 8, 8, 16)


def normal(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype("float32")


def cases() -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    image, half, channel = normal(*IMAGE), normal(*HALF), np.abs(normal(16)) + 1
    labels = np.arange(40) % 10
    return [
        ("conv2d", (image, normal(3, 3, 16, 8)), CONV),
        ("conv2d_bias", (image, normal(3, 3, 16, 8), normal(8)), {**CONV, "relu": True}),
        ("conv2d_input_grad", (image, normal(3, 3, 8, 16)), {**CONV, "size": (16, 16)}),
        ("conv2d_input_grad", (half, normal(3, 3, 8, 16)), {**STRIDED, "size": (16, 16)}),
        ("conv2d_weight_grad", (image, image), {**CONV, "kernel": (3, 3)}),
        ("max_pool2d", (image,), POOL),
        ("max_pool2d_grad", (half, image, image[:, ::2, ::2]), POOL),
        ("avg_pool2d", (image,), {**POOL, "count_include_pad": True}),
        ("avg_pool2d_grad", (half,), {**POOL, "size": (16, 16), "count_include_pad": True}),
        ("batch_norm", (image, channel, channel), {"eps": 1e-5}),
        ("batch_norm_input_grad", (image, image, channel, channel, channel), {"eps": 1e-5}),
        ("batch_norm_weight_grad", (image, image, channel, channel), {"eps": 1e-5}),
        ("batch_norm_gradients", (image, image, channel, channel, channel), {"eps": 1e-5}),
        ("relu", (image,), {}),
        ("relu_grad", (image, image), {}),
        ("add", (image, channel), {}),
        ("multiply", (image, image), {}),
        ("sum", (image,), {"axis": (0, 1, 2), "keepdims": True}),
        ("matmul", (normal(128, 200), normal(200, 100)), {}),
        ("linear", (normal(128, 200), normal(200, 100), normal(100)), {}),
        ("softmax_cross_entropy", (normal(40, 10), labels), {}),
        ("softmax_cross_entropy_grad", (normal(40), normal(40, 10), labels), {}),
        (
            "dropout_mask",
            (np.array([1, 2], dtype=np.uint32),),
            {"stream": (3, 4), "shape": (300, 300), "keep": 0.5, "dtype": np.dtype("float32")},
        ),
    ]


CASES = cases()
every_kernel = pytest.mark.parametrize(
    ("name", "arrays", "static"), CASES, ids=[f"{k}-{case[0]}" for k, case in enumerate(CASES)]
)


def test_every_kernel_has_a_case_and_a_primitive() -> None:
    assert {name for name, _, _ in CASES} == set(KERNELS)
    assert set(KERNELS) <= set(PRIMITIVES)
    assert set(KERNELS) <= set(adl.get_backend("numpy").kernels)


@every_kernel
def test_read_only_inputs(equals_reference: Any, name: str, arrays: Any, static: Any) -> None:
    kept = [array.copy() for array in arrays]
    for array in kept:
        array.flags.writeable = False
    equals_reference(name, *kept, **static)
    for array, before in zip(kept, arrays, strict=True):
        np.testing.assert_array_equal(array, before)


@every_kernel
def test_inputs_that_are_not_contiguous(
    equals_reference: Any, name: str, arrays: Any, static: Any
) -> None:
    if name != "dropout_mask":
        equals_reference(name, *(np.repeat(a, 2, axis=-1)[..., ::2] for a in arrays), **static)
    equals_reference(name, *(a[::-1].copy()[::-1] for a in arrays), **static)
    equals_reference(name, *(np.asfortranarray(a) for a in arrays), **static)


@every_kernel
def test_an_empty_batch(name: str, arrays: Any, static: Any) -> None:
    """Whoever computes it, kernel or reference: the result is that of the reference."""
    import array_api_compat.numpy as xp

    if name in (
        "batch_norm",
        "batch_norm_input_grad",
        "batch_norm_weight_grad",
        "batch_norm_gradients",
        "dropout_mask",
    ):
        pytest.skip("no statistics of nothing; a mask has its shape from elsewhere")
    empty = [a[:0] if a.shape[:1] in ((40,), (128,)) else a for a in arrays]
    static = {key: value for key, value in static.items() if key != "dtype"}
    wanted = PRIMITIVES[name].forward(xp, *empty, **static)
    got = PRIMITIVES[name](*empty, **static)
    assert got.shape == wanted.shape
    np.testing.assert_array_equal(got, wanted)


@every_kernel
def test_results_own_their_memory(name: str, arrays: Any, static: Any) -> None:
    first = _outputs(KERNELS[name](None, *arrays, **static))
    before = [array.copy() for array in first]
    _outputs(KERNELS[name](None, *(a[::-1] for a in arrays), **static))  # uses the scratch again
    for array, kept in zip(first, before, strict=True):
        np.testing.assert_array_equal(array, kept)
        assert array.flags.writeable
        assert not any(np.may_share_memory(array, given) for given in arrays)


def _outputs(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def test_threads_at_once_give_what_each_gives_alone() -> None:
    def run(case: Any) -> list[Any]:
        name, arrays, static = case
        return [array.copy() for array in _outputs(KERNELS[name](None, *arrays, **static))]

    alone = [run(case) for case in CASES]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(run, CASES * 4))
    for results, wanted in zip(together, alone * 4, strict=True):
        for result, one in zip(results, wanted, strict=True):
            np.testing.assert_array_equal(result, one)

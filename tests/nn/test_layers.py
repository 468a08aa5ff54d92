"""Layers: what they refuse, dropout, and shapes."""

from __future__ import annotations

import numpy as np
import pytest

from agnostic_dl import Tensor, nn
from agnostic_dl.errors import AgnosticDLError, DTypeError, ShapeError, UsageError
from agnostic_dl.nn import functional as F
from agnostic_dl.nn.losses import cross_entropy, mse


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (nn.Linear(4, 2), (3, 5), ["Linear 'part'", "(..., 4)", "(4, 2)", "(3, 5)"]),
        (nn.Conv2d(3, 2, 3), (2, 3, 8, 8), ["Conv2d 'part'", "(N, H, W, 3)", "(2, 3, 8, 8)"]),
        (nn.Conv2d(3, 2, 3), (8, 8, 3), ["Conv2d 'part'", "(N, H, W, 3)", "(8, 8, 3)"]),
        (nn.Conv2d(1, 2, 5), (1, 4, 9, 1), ["Conv2d 'part'", "4×9", "5×5"]),
        (nn.MaxPool2d(3), (1, 2, 9, 1), ["MaxPool2d 'part'", "2×9", "3×3"]),
        (nn.AvgPool2d(3), (9, 9), ["AvgPool2d 'part'", "(N, H, W, C)", "(9, 9)"]),
        (nn.BatchNorm2d(3), (2, 4, 4, 5), ["BatchNorm2d 'part'", "(N, H, W, 3)", "(2, 4, 4, 5)"]),
        (nn.BatchNorm2d(3), (1, 1, 1, 3), ["BatchNorm2d 'part'", "more than one", "(1, 1, 1, 3)"]),
        (nn.LayerNorm((2, 3)), (4, 3, 2), ["LayerNorm 'part'", "(2, 3)", "(4, 3, 2)"]),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else None,
)
def test_a_wrong_shape_names_the_layer_and_both_shapes(layer, shape, words):
    model = nn.Sequential(part=layer).init(0)
    with pytest.raises(ShapeError) as caught:
        model(ones(*shape))
    for word in words:
        assert word in str(caught.value)
    assert isinstance(caught.value, (AgnosticDLError, ValueError))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Linear(0, 2), "in_features must be a positive integer, got 0"),
        (lambda: nn.Linear(2, 2.0), "out_features must be a positive integer, got 2.0"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "multiples of groups=2"),
        (lambda: nn.Conv2d(3, 4, 0), "kernel_size: expected an integer or a pair"),
        (lambda: nn.Conv2d(3, 4, (1, 2, 3)), "kernel_size"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), "padding"),
        (lambda: nn.Conv2d(3, 4, 3, dilation=0), "dilation"),
        (lambda: nn.MaxPool2d(2.5), "kernel_size"),
        (lambda: nn.Dropout(1.0), "probability in [0, 1), got 1.0"),
        (lambda: nn.Dropout(-0.1), "probability"),
        (lambda: nn.BatchNorm2d(0), "num_features"),
        (lambda: nn.Standardize((0.0,), (0.0,)), "positive stds"),
        (lambda: F.conv2d(ones(1, 4, 4, 1), ones(3, 3, 1, 1), padding="sames"), "'sames'"),
        (lambda: F.conv2d(ones(1, 4, 4, 1), ones(3, 3, 1, 1), stride=2, padding="same"), "stride"),
        (lambda: F.max_pool2d(ones(1, 4, 4, 1), 2, padding=2), "more than half"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_name(make, words):
    with pytest.raises(UsageError) as caught:
        make()
    assert words in str(caught.value)


def test_labels_are_checked():
    with pytest.raises(ShapeError, match=r"logits \(N, classes\).*\(2, 3\) and \(3,\)"):
        cross_entropy(ones(2, 3), np.array([0, 1, 2]))
    with pytest.raises(DTypeError, match="integer labels, got float32"):
        cross_entropy(ones(2, 3), ones(2))
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(2,\)"):
        mse(ones(2, 3), ones(2))


def masks(backend, model, seed, step):
    with nn.random_stream(seed, step):
        return backend.to_numpy(model(backend.asarray(ones(8, 33))))


def test_dropout_masks_are_the_same_to_the_bit_on_every_backend(each_backend):
    def draw(backend):
        model = nn.Sequential(drop1=nn.Dropout(0.3), drop2=nn.Dropout(0.5))
        return masks(backend, model, seed=5, step=7).tobytes()

    first, *others = each_backend(draw)
    assert all(other == first for other in others)


def test_dropout_depends_on_seed_step_name_and_call(backend):
    def model(name="drop"):
        return nn.Sequential(**{name: nn.Dropout(0.5)})

    base = masks(backend, model(), 0, 1)
    np.testing.assert_array_equal(base, masks(backend, model(), 0, 1))
    for other in (
        masks(backend, model(), 1, 1), masks(backend, model(), 0, 2),
        masks(backend, model("fall"), 0, 1),
    ):  # fmt: skip
        assert not np.array_equal(base, other)
    layer, x = model(), backend.asarray(ones(8, 33))
    with nn.random_stream(0, 1):
        first, second = (backend.to_numpy(layer(x)) for _ in range(2))
    np.testing.assert_array_equal(first, base)
    assert not np.array_equal(first, second)


def test_dropout_keeps_the_mean_and_scales():
    x = ones(400, 500)
    out = nn.Dropout(0.3)(x)
    assert set(np.unique(out)) == {np.float32(0.0), np.float32(1 / 0.7)}
    # 200,000 draws: five standard deviations of the share that is dropped
    assert abs(np.mean(out == 0.0) - 0.3) < 5 * (0.3 * 0.7 / 200_000) ** 0.5


def test_dropout_is_the_identity_in_evaluation_and_for_p_0():
    x = ones(3, 3)
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_dropouts_gradient_is_its_mask(backend):
    layer = nn.Dropout(0.5)
    x = Tensor(backend.asarray(ones(50)), requires_grad=True)
    out = layer(x)
    out.backward(backend.asarray(ones(50)))
    np.testing.assert_array_equal(backend.to_numpy(x.grad.data), backend.to_numpy(out.data))


def test_standardize(backend):
    layer = nn.Standardize((0.5, 1.0), (0.25, 2.0))
    x = backend.asarray(np.array([[[[0.5, 3.0]]]], np.float32))
    np.testing.assert_allclose(backend.to_numpy(layer(x)).ravel(), [0.0, 1.0], atol=1e-7)


def test_shapes_of_layers():
    x = ones(2, 7, 6, 4)
    for layer, shape in [
        (nn.Conv2d(4, 8, 3), (2, 5, 4, 8)),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1), (2, 4, 3, 8)),
        (nn.Conv2d(4, 8, (2, 4), padding="same"), (2, 7, 6, 8)),
        (nn.Conv2d(4, 8, 3, dilation=2), (2, 3, 2, 8)),
        (nn.MaxPool2d(2), (2, 3, 3, 4)),
        (nn.MaxPool2d(3, stride=2), (2, 3, 2, 4)),
        (nn.AvgPool2d(3, padding=1), (2, 3, 2, 4)),
        (nn.GlobalAvgPool2d(), (2, 4)),
        (nn.Flatten(), (2, 168)),
        (nn.Identity(), (2, 7, 6, 4)),
        (nn.BatchNorm2d(4), (2, 7, 6, 4)),
        (nn.Softmax(), (2, 7, 6, 4)),
    ]:
        assert tuple(layer(x).shape) == shape, layer

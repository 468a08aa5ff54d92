"""The zoo: shapes and numbers of parameters against sums worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.nn import functional as F

#: name, input shape, classes → number of trainable values, layer by layer.
COUNTS = {
    ("linear", (28, 28, 1), 10): 784 * 10 + 10,
    ("mlp", (28, 28, 1), 10): (784 * 1000 + 1000) + (1000 * 1000 + 1000) + (1000 * 10 + 10),
    # 28 → 14 → 7
    ("lenet", (28, 28, 1), 10): (9 * 1 * 32 + 32) + (9 * 32 * 64 + 64) + (7 * 7 * 64 * 128 + 128)
    + (128 * 10 + 10),
    # 8 → 4 → 2
    ("lenet", (8, 8, 1), 10): 320 + 18496 + (2 * 2 * 64 * 128 + 128) + 1290,
    # 32 → 15 → 7 → 3
    ("adam-paper-cnn", (32, 32, 3), 10): (25 * 3 * 64 + 64) + (25 * 64 * 64 + 64)
    + (25 * 64 * 128 + 128) + (3 * 3 * 128 * 1000 + 1000) + (1000 * 10 + 10),
    # He et al. give 0.27 M; the projections of stages 2 and 3 are 16·32 + 32·64 and batch norms
    ("resnet20", (32, 32, 3), 10): (9 * 3 * 16 + 32)
    + 3 * 2 * (9 * 16 * 16 + 32)
    + (9 * 16 * 32 + 64) + 5 * (9 * 32 * 32 + 64) + (16 * 32 + 64)
    + (9 * 32 * 64 + 128) + 5 * (9 * 64 * 64 + 128) + (32 * 64 + 128)
    + (64 * 10 + 10),
    ("resnet18", (32, 32, 3), 10): (9 * 3 * 64 + 128)
    + 4 * (9 * 64 * 64 + 128)
    + (9 * 64 * 128 + 256) + 3 * (9 * 128 * 128 + 256) + (64 * 128 + 256)
    + (9 * 128 * 256 + 512) + 3 * (9 * 256 * 256 + 512) + (128 * 256 + 512)
    + (9 * 256 * 512 + 1024) + 3 * (9 * 512 * 512 + 1024) + (256 * 512 + 1024)
    + (512 * 10 + 10),
}  # fmt: skip
TOTALS = {  # the same, added up; known: 269,722 of ResNet-20 without projections, ResNet-18's all
    "linear": 7850, "mlp": 1_796_010, "lenet": 421_642, "adam-paper-cnn": 1_475_266,
    "resnet20": 269_722 + 2_752, "resnet18": 11_173_962,
}  # fmt: skip


def trainable(model):
    return sum(parameter.size for parameter in model.parameters().values())


@pytest.mark.parametrize(("name", "shape", "classes"), COUNTS)
def test_number_of_parameters(name, shape, classes):
    model = adl.models.create(name, input_shape=shape, classes=classes)
    assert trainable(model) == COUNTS[name, shape, classes]
    if shape[0] in (28, 32):
        assert trainable(model) == TOTALS[name]


def shapes_through(name, shape, **options):
    """Output shape after every layer, for two images."""
    model = adl.models.create(name, input_shape=shape, classes=10, **options).init(0)
    model._name_parts()
    x, found = np.zeros((2, *shape), np.float32), {}
    for layer_name, layer in model.layers.items():
        x = layer(x)
        found[layer_name] = tuple(x.shape[1:])
    return found


def test_shapes_inside_the_adam_papers_network():
    found = shapes_through("adam-paper-cnn", (32, 32, 3))
    assert [found[f"conv{i}"] for i in (1, 2, 3)] == [(32, 32, 64), (15, 15, 64), (7, 7, 128)]
    assert [found[f"pool{i}"] for i in (1, 2, 3)] == [(15, 15, 64), (7, 7, 64), (3, 3, 128)]
    assert (found["flatten"], found["fc1"], found["fc2"]) == ((1152,), (1000,), (10,))


def test_shapes_inside_lenet():
    found = shapes_through("lenet", (28, 28, 1))
    assert [found[n] for n in ("conv1", "pool1", "conv2", "pool2")] == [
        (28, 28, 32), (14, 14, 32), (14, 14, 64), (7, 7, 64)
    ]  # fmt: skip
    assert (found["flatten"], found["fc1"], found["fc2"]) == ((3136,), (128,), (10,))


def test_shapes_inside_resnet20():
    found = shapes_through("resnet20", (32, 32, 3))
    stages = [found[f"stage{s}_block{b}"] for s in (1, 2, 3) for b in (1, 2, 3)]
    assert stages == [(32, 32, 16)] * 3 + [(16, 16, 32)] * 3 + [(8, 8, 64)] * 3
    assert (found["pool"], found["fc"]) == ((64,), (10,))


def test_projections_stand_only_where_the_shape_changes():
    model = adl.models.create("resnet20", input_shape=(32, 32, 3), classes=10)
    projected = {name.split(".")[0] for name in model.parameters() if "shortcut" in name}
    assert projected == {"stage2_block1", "stage3_block1"}
    assert model.parameters()["stage2_block1.shortcut.conv.weight"].shape == (1, 1, 16, 32)


@pytest.mark.parametrize("name", ["linear", "mlp", "lenet", "resnet20"])
@pytest.mark.parametrize("shape", [(4, 4, 1), (5, 9, 3)])
def test_models_size_themselves_by_the_data(backend, name, shape):
    model = adl.models.create(name, input_shape=shape, classes=3).init(0)
    out = model(backend.asarray(np.ones((2, *shape), np.float32)))
    assert tuple(out.shape) == (2, 3)
    assert np.all(np.isfinite(backend.to_numpy(out.data)))


def test_mlp_has_two_hidden_layers_with_dropout_of_a_half():
    model = adl.models.create("mlp", input_shape=(2, 2, 1), classes=2)
    assert [type(layer).__name__ for layer in model.layers.values()] == [
        "Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"
    ]  # fmt: skip
    assert model["dropout1"].p == model["dropout2"].p == 0.5
    assert (
        adl.models.create("mlp", input_shape=(2, 2, 1), classes=2, dropout=0.1)["dropout2"].p == 0.1
    )


def test_standardize_comes_first_and_has_no_parameters():
    plain = adl.models.create("linear", input_shape=(2, 2, 2), classes=3).init(0)
    scaled = adl.models.create(
        "linear", input_shape=(2, 2, 2), classes=3, standardize=((0.5, 0.2), (0.1, 0.4))
    ).init(0)
    assert list(scaled.parameters()) == list(plain.parameters())
    x = np.random.default_rng(0).uniform(size=(4, 2, 2, 2)).astype(np.float32)
    by_hand = (x - np.float32([0.5, 0.2])) / np.float32([0.1, 0.4])
    np.testing.assert_allclose(scaled(x).data, plain(by_hand).data, rtol=1e-4, atol=1e-5)


def test_a_residual_block_adds_its_input():
    from agnostic_dl.nn.models import ResidualBlock

    block, x = ResidualBlock(3, 3).init(0), np.ones((2, 4, 4, 3), np.float32)
    block.bn2.weight.data = np.zeros(3, np.float32)  # the inner path becomes zero
    np.testing.assert_array_equal(block(x).data, np.asarray(F.relu(x)))

"""Models as plain data and back."""

from __future__ import annotations

import json

import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CheckpointError
from agnostic_dl.nn.describe import _KINDS, build, describe

EVERYTHING = nn.Sequential(
    nn.Standardize((0.5,), (0.25,)),
    nn.Conv2d(1, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(2, 1)),
    nn.Conv2d(4, 4, 3, padding="same", groups=2, bias=False), nn.BatchNorm2d(4, 1e-3, 0.2),
    nn.LeakyReLU(0.3), nn.MaxPool2d(2, 1, 1), nn.AvgPool2d((1, 2), count_include_pad=False),
    nn.LayerNorm((4,)), nn.Tanh(), nn.Sigmoid(), nn.SiLU(), nn.GELU(), nn.ReLU(), nn.Identity(),
    nn.Dropout(0.1), nn.Sequential(pool=nn.GlobalAvgPool2d()), nn.Flatten(),
    nn.Linear(4, 3, bias=False), nn.Softmax(-1),
)  # fmt: skip


def same(model):
    again = build(json.loads(json.dumps(describe(model))))
    assert repr(again) == repr(model)
    assert describe(again) == describe(model)
    assert {n: p.shape for n, p in again._stateful().items()} == {
        n: p.shape for n, p in model._stateful().items()
    }


@pytest.mark.parametrize("name", adl.models.names())
def test_every_model_of_the_zoo_comes_back(name):
    same(
        adl.models.create(
            name, input_shape=(16, 17, 3), classes=4, standardize=((0.5,) * 3, (1,) * 3)
        )
    )


def test_every_layer_comes_back():
    same(EVERYTHING)
    used = {type(m).__name__ for _, m in EVERYTHING.named_modules()}
    assert set(_KINDS) - used == {"ResidualBlock"}, "in resnet20"


def test_every_public_layer_can_be_described():
    layers = {
        name for name in nn.__all__
        if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)
    }  # fmt: skip
    assert layers - {"Module", "Sequential"} <= set(_KINDS)


def test_a_layer_of_the_users_own_is_not_described():
    class Mine(nn.Module):
        pass

    class Louder(nn.ReLU):
        pass

    for own in (Mine(), Louder()):
        assert describe(nn.Sequential(nn.Linear(1, 1), own)) is None


@pytest.mark.parametrize(
    "damaged",
    [
        {}, {"layer": "os.system", "arguments": {}}, {"layer": "Linear", "arguments": {"x": 1}},
        {"layer": "Linear"}, {"layer": "Sequential", "layers": [1]}, [], None,
        {"layer": "Linear", "arguments": {"in_features": -1, "out_features": 2}},
        {"layer": ["Linear"], "arguments": {}},
    ],
)  # fmt: skip
def test_a_damaged_description_is_a_checkpoint_error(damaged):
    with pytest.raises(CheckpointError, match="damaged or of a newer version"):
        build(damaged)

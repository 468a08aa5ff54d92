"""Modules: names of parts, values, state, modes."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import AgnosticDLError, ShapeError, UsageError


class Branches(nn.Module):
    """Parts in a list, in a dict, in a tuple inside a list, and a parameter of its own."""

    def __init__(self):
        self.towers = [nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 3), nn.ReLU())]
        self.heads = {"a": nn.Linear(3, 1), "b": nn.Linear(3, 1, bias=False)}
        self.deep = [(nn.Linear(1, 1, bias=False),)]
        self.scale = nn.Parameter((1,), nn.init.ones)

    def forward(self, x):
        y = self.towers[0](x) + self.towers[1](x)
        return self.deep[0][0](self.heads["a"](y) + self.heads["b"](y)) * self.scale


def test_parameters_go_by_dotted_names():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    assert list(model.parameters()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert list(model.buffers()) == ["1.running_mean", "1.running_var"]
    assert set(model.state_dict() if model.initialized else model.init(0).state_dict()) == {
        *model.parameters(), *model.buffers()
    }  # fmt: skip
    assert list(nn.Sequential(fc=nn.Linear(1, 1)).parameters()) == ["fc.weight", "fc.bias"]
    assert list(nn.Linear(1, 1).parameters()) == ["weight", "bias"]


def test_parts_in_lists_and_dicts_are_found():
    assert set(Branches().parameters()) == {
        "scale", "towers.0.weight", "towers.0.bias", "towers.1.0.weight", "towers.1.0.bias",
        "heads.a.weight", "heads.a.bias", "heads.b.weight", "deep.0.0.weight",
    }  # fmt: skip
    model = Branches().init(0)
    x = np.ones((4, 2), np.float32)
    model(x).backward(np.ones((4, 1), np.float32))
    assert all(p.grad is not None for p in model.parameters().values())


def test_shared_parameters_count_once_and_gather_both_gradients():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, layer).astype("float64").init(0)
    assert list(model.parameters()) == ["0.weight", "0.bias"]
    ones = np.ones((3, 3))
    model(np.eye(3)).backward(ones)
    w = model.parameters()["0.weight"].data
    # d/dw of Σ (x w + b) w with x = 1, b = 0: the sum over both uses
    np.testing.assert_allclose(layer.weight.grad.data, ones @ w.T + w.T @ ones, rtol=1e-12)


def test_two_layers_that_share_one_parameter():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert list(model.parameters()) == ["0.weight", "0.bias", "1.bias"]


def test_init_is_the_same_to_the_bit_on_every_backend(each_backend):
    def weights(backend):
        model = adl.models.create("resnet20", input_shape=(8, 8, 3), classes=4).init(11)
        return {n: backend.to_numpy(a) for n, a in model.state_dict().items()}

    first, *others = each_backend(weights)
    for other in others:
        assert first.keys() == other.keys()
        for name, values in first.items():
            assert values.dtype == other[name].dtype == np.float32
            assert values.tobytes() == other[name].tobytes(), name


def test_init_depends_on_the_seed_and_on_names_not_on_order():
    def make():
        return nn.Linear(4, 5)

    one = nn.Sequential(a=make(), b=make()).init(3).state_dict()
    other = nn.Sequential(b=make(), a=make()).init(3).state_dict()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    assert not np.array_equal(one["a.weight"], one["b.weight"])
    reseeded = nn.Sequential(a=make(), b=make()).init(4).state_dict()
    assert not np.array_equal(one["a.weight"], reseeded["a.weight"])


def test_a_first_call_initialises_with_seed_0_and_keeps_what_has_values():
    model, twin = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Sequential(
        nn.Linear(2, 2), nn.Linear(2, 2)
    )  # fmt: skip
    model.layers["1"].weight.data = np.full((2, 2), 7.0, np.float32)
    assert not model.initialized
    model(np.ones((1, 2), np.float32))
    assert model.initialized
    twin.init(0)
    np.testing.assert_array_equal(model[0].weight.data, twin[0].weight.data)
    assert np.all(model[1].weight.data == 7.0)


def test_values_before_init_are_an_error_that_says_what_to_do():
    with pytest.raises(nn.UninitializedError, match=r"model\.init\(seed\)") as caught:
        _ = nn.Linear(2, 2).weight.data
    assert isinstance(caught.value, AgnosticDLError)
    assert nn.Linear(2, 3).weight.shape == (2, 3)
    assert nn.Linear(2, 3).weight.size == 6


def test_state_dict_round_trip(backend):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).init(1)
    x = backend.asarray(np.random.default_rng(0).standard_normal((2, 4, 4, 2)).astype("float32"))
    model(x)  # moves the running statistics
    other = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).init(2)
    other.load_state_dict(model.state_dict())
    model.eval()
    other.eval()
    assert backend.to_numpy(model(x).data).tobytes() == backend.to_numpy(other(x).data).tobytes()


def test_state_is_taken_from_host_data_into_the_parameters_dtype(backend):
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": [[1.0], [2.0]], "bias": np.array([3.0])})
    assert isinstance(layer.weight.data, backend.array_type)
    assert backend.to_numpy(layer.weight.data).dtype == np.float32
    out = layer(backend.asarray(np.ones((1, 2), np.float32)))
    assert float(out.data[0, 0]) == 6.0


def test_wrong_state_changes_nothing_and_says_what_is_wrong():
    layer = nn.Linear(2, 3).init(0)
    before = layer.weight.data.copy()
    with pytest.raises(UsageError, match=r"missing \['bias'\].*\['gain'\]"):
        layer.load_state_dict({"weight": before + 1, "gain": before})
    with pytest.raises(ShapeError, match=r"bias: expected shape \(3,\), got \(2,\)"):
        layer.load_state_dict({"weight": before + 1, "bias": np.zeros(2)})
    np.testing.assert_array_equal(layer.weight.data, before)


def test_host_data_of_a_wrong_shape_changes_nothing_either():
    layer = nn.Linear(2, 3).init(0)
    before = layer.weight.data.copy()
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        layer.load_state_dict({"weight": before + 1, "bias": [0.0, 0.0]})
    np.testing.assert_array_equal(layer.weight.data, before)


def test_assigning_values_of_another_shape_is_refused():
    layer = nn.Linear(2, 3).init(0)
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(3, 2\)"):
        layer.weight.data = layer.weight.data.T


def test_train_and_eval_reach_every_part():
    model = Branches()
    assert all(m.training for _, m in model.named_modules())
    assert model.eval() is model
    assert not any(m.training for _, m in model.named_modules())
    model.train()
    assert all(m.training for _, m in model.named_modules())


def test_astype_converts_values_and_what_they_will_be(backend):
    before, after = nn.BatchNorm2d(2).astype("float64").init(0), nn.BatchNorm2d(2).init(0)
    after.astype("float64")
    for layer in (before, after):
        for array in layer.state_dict().values():
            assert backend.to_numpy(array).dtype == np.float64
    assert before.weight.requires_grad
    assert not before.running_mean.requires_grad


def test_a_module_without_forward_and_a_sequential_of_other_things():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)
    with pytest.raises(UsageError, match="got str at '1'"):
        nn.Sequential(nn.ReLU(), "relu")


def test_repr_shows_the_parts_with_their_arguments():
    text = repr(nn.Sequential(conv=nn.Conv2d(1, 2, 3, padding="same"), act=nn.ReLU()))
    assert "conv: Conv2d(1, 2, (3, 3)" in text
    assert "padding='same'" in text
    assert "act: ReLU()" in text
    assert "uninitialised" in repr(nn.Linear(1, 2).weight)

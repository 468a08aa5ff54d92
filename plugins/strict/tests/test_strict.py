"""The strict backend: it is array-api-strict, to and from the host without loss."""

from __future__ import annotations

import json
import subprocess
import sys

import array_api_strict as strict
import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn


@pytest.fixture
def backend():
    with adl.use_backend("strict") as current:
        yield current


def test_its_namespace_and_arrays_are_array_api_stricts(backend):
    assert backend.name == "strict"
    assert backend.xp is strict
    assert backend.array_type is type(strict.ones(1))
    assert not backend.kernels


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3), np.array(2.5), np.zeros((0, 3)),
        np.array([True, False]), np.array([1, 255], np.uint8), np.array([1 + 2j]),
        np.arange(6).reshape(2, 3).T, np.arange(10.0)[::-2],
    ],
    ids=["2-d", "0-d", "empty", "bool", "uint8", "complex", "transposed", "reversed"],
)  # fmt: skip
def test_host_arrays_go_there_and_back(backend, values):
    array = backend.asarray(values)
    assert isinstance(array, backend.array_type)
    back = backend.to_numpy(array)
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


def test_lists_numbers_and_read_only_arrays_are_taken(backend):
    assert backend.to_numpy(backend.asarray([[1, 2], [3, 4]])).tolist() == [[1, 2], [3, 4]]
    assert float(backend.asarray(1.5)) == 1.5
    fixed = np.arange(3.0)
    fixed.flags.writeable = False
    np.testing.assert_array_equal(backend.to_numpy(backend.asarray(fixed)), fixed)


def test_a_dtype_is_taken_by_name_or_as_the_librarys(backend):
    for dtype in ("float64", strict.float64):
        assert backend.asarray([1, 2], dtype=dtype).dtype == strict.float64
    assert backend.dtypes["float32"] == strict.float32


def test_what_the_standard_does_not_promise_fails_here(backend):
    """The point of this backend: NumPy does all of these without a word."""
    x = backend.asarray([1.0, 2.0])
    with pytest.raises(TypeError):
        x + backend.asarray([1, 2], dtype="int32")  # mixed kinds
    with pytest.raises(IndexError):
        backend.asarray([[1.0]])[0]  # an axis left out
    with pytest.raises(AttributeError):
        x.sum()
    assert not hasattr(backend.xp, "pad")


def test_a_layer_that_leaves_the_standard_is_caught():
    class Careless(nn.Module):
        def forward(self, x):
            return x.data.mean()

    x = np.ones((2, 2), np.float32)
    assert float(Careless()(adl.Tensor(x))) == 1.0
    with adl.use_backend("strict") as backend, pytest.raises(AttributeError, match="mean"):
        Careless()(adl.Tensor(backend.asarray(x)))


def test_a_model_trains(backend):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    step = adl.train_step(model, "cross_entropy", adl.optimizer("adam", learning_rate=0.05))
    x, y = (
        np.random.default_rng(0).standard_normal((8, 4, 4, 1)).astype("float32"),
        np.arange(8) % 2,
    )
    losses = [float(step(x, y)) for _ in range(10)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("name", "device"), [("strict", 1), ("strict:2", None)])
def test_a_pretended_device_holds_the_whole_model(name, device):
    with adl.use_backend(name, device=device) as backend:
        assert backend.device == strict.Device(f"device{device or 2}")
        model = adl.models.create("resnet20", input_shape=(8, 8, 1), classes=2)
        engine = adl.optim.Engine(adl.optimizer("adam"), clip_norm=1.0)
        step = adl.train_step(model, "cross_entropy", engine)
        loss = step(np.ones((2, 8, 8, 1), np.float32), np.array([0, 1]))
        assert loss.device == backend.device
        assert all(a.device == backend.device for a in model.state_dict().values())
        assert backend.to_numpy(loss).shape == ()
        with pytest.raises(ValueError, match="device"):
            loss + strict.asarray(1.0)


def test_importing_the_plugin_loads_neither_the_library_nor_numpy():
    code = (
        "import sys, json, agnostic_dl_strict as s\n"
        "assert s.agnostic_dl_backends()['strict'].probe() is None\n"
        "print(json.dumps([m for m in ('array_api_strict', 'numpy') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []

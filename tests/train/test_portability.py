"""The same seed on NumPy and on array-api-strict: what is equal to the bit and what to 1e-5."""

from __future__ import annotations

from itertools import count, islice

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.train import batches

pytest.importorskip("agnostic_dl_strict", reason="the strict backend is not installed")


def perceptron(shape, classes):
    """The zoo's mlp, with narrower layers: dropout and everything else is in it."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Dropout(0.5), nn.Linear(100, classes)
    )


def zoo(name):
    return lambda shape, classes: adl.models.create(name, input_shape=shape, classes=classes)


def digits_losses(backend, make, steps=50):
    """Losses of the first steps on digits, in the trainer's order of examples."""
    data = adl.data.load("digits").train
    model, losses = make(data.image_shape, len(data.classes)), []
    optimizer = adl.optimizer("adam", learning_rate=2e-3)
    with adl.use_backend(backend) as current:
        step = adl.train_step(model, "cross_entropy", optimizer, seed=0)
        orders = (batches.shuffled(current, 0, epoch, len(data)) for epoch in count(1))
        parts = (order[part] for order in orders for part in batches.slices(len(data), 32))
        for part in islice(parts, steps):
            losses.append(float(step(*data[part])))
    return np.array(losses)


MODELS = {"linear": zoo("linear"), "perceptron": perceptron, "lenet": zoo("lenet")}


@pytest.mark.parametrize("model", MODELS)
def test_strict_trains_digits_with_numpys_losses(model):
    on_numpy, on_strict = (digits_losses(name, MODELS[model]) for name in ("numpy", "strict"))
    assert np.mean(on_numpy[-5:]) < 0.9 * np.mean(on_numpy[:5]), "it learns"
    np.testing.assert_allclose(on_strict, on_numpy, rtol=1e-5)


def test_the_environment_chooses_strict_for_the_whole_run(python):
    done = python(
        "import agnostic_dl as adl\n"
        "data = adl.data.load('digits')\n"
        "model = adl.models.create('linear', input_shape=(8, 8, 1), classes=10)\n"
        "trainer = adl.Trainer(model, 'sgd')\n"
        "trainer.fit(data, epochs=1)\n"
        "print(trainer.backend.name, type(model['fc'].weight.data).__module__.split('.')[0])",
        AGNOSTIC_DL_BACKEND="strict",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["strict", "array_api_strict"]


def test_host_arrays_train_where_numpys_backend_was_never_loaded(python):
    done = python(
        "import numpy as np, agnostic_dl as adl, sys\n"
        "model = adl.nn.Sequential(adl.nn.Flatten(), adl.nn.Linear(4, 2))\n"
        "pair = np.ones((6, 2, 2, 1), np.float32), np.array([0, 1] * 3)\n"
        "trainer = adl.Trainer(model, 'sgd')\n"
        "trainer.fit(pair, validation=pair, epochs=1, batch_size=3)\n"
        "print(trainer.evaluate(pair)['accuracy'], 'agnostic_dl_numpy' in sys.modules)",
        AGNOSTIC_DL_BACKEND="strict",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.5", "False"]


def test_weights_orders_and_masks_are_the_same_to_the_bit(each_backend):
    def draw(backend):
        model = adl.models.create("mlp", input_shape=(8, 8, 1), classes=10).init(7)
        weights = [backend.to_numpy(a).tobytes() for a in model.state_dict().values()]
        orders = [batches.shuffled(backend, 7, e, 1437).tobytes() for e in (1, 2)]
        masks = []
        for step in (1, 2):
            with nn.random_stream(7, step):
                x = backend.asarray(np.ones((64, 1000), np.float32))
                masks += [backend.to_numpy(model[d](x)).tobytes() for d in ("dropout1", "dropout2")]
        assert len({*weights, *orders, *masks}) > 6
        return weights, orders, masks

    first, *others = each_backend(draw)
    assert all(other == first for other in others)


def test_an_order_covers_each_example_once():
    order = batches.shuffled(adl.get_backend(), 0, 1, 1437)
    assert np.array_equal(np.sort(order), np.arange(1437))

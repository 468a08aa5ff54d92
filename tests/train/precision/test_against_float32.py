"""Mixed precision beside float32, and where it computes in which."""

from __future__ import annotations

import numpy as np
import pytest
from precision_cases import HALVES, ROUNDOFF, batches, cnn, everything, mlp, same_state, settled

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.primitives.definition import watcher


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("make", [mlp, cnn, everything])
def test_gradients_are_float32s_within_some_roundings(make, precision):
    (x, y), found = next(batches(1)), []
    for wanted in (None, precision):
        step = adl.train_step(make(), "cross_entropy", adl.optimizer("sgd"), precision=wanted)
        found.append(step.gradients(x, y))
    (loss, outputs, grads), (mixed_loss, mixed_outputs, mixed) = found
    assert mixed_loss == pytest.approx(float(loss), rel=8 * ROUNDOFF[precision])
    assert mixed_outputs.dtype == np.float32
    np.testing.assert_allclose(mixed_outputs, outputs, rtol=0, atol=16 * ROUNDOFF[precision])
    for name, grad in grads.items():
        assert mixed[name].dtype == np.float32
        gap = np.linalg.norm(mixed[name] - grad) / np.linalg.norm(grad)
        assert 0 < gap < 8 * ROUNDOFF[precision], name


@pytest.mark.parametrize("precision", HALVES)
def test_digits_are_learnt_as_well_as_in_float32(precision):
    data = adl.data.load("digits")
    accuracy = {}
    for wanted in (None, precision):
        model = adl.models.create("lenet", input_shape=(8, 8, 1), classes=10)
        trainer = adl.Trainer(model, "adam", precision=wanted)
        trainer.fit(data.train, epochs=6, batch_size=64)
        accuracy[wanted] = trainer.evaluate(data.test)["accuracy"]
    assert accuracy[None] > 0.9
    assert accuracy[precision] > accuracy[None] - 0.01


def test_without_a_precision_nothing_watches():
    seen = []

    class Looks(nn.Module):
        def forward(self, x):
            seen.append(watcher.get())
            return x

    model = nn.Sequential(Looks(), mlp())
    adl.train_step(model, "cross_entropy", adl.optimizer("sgd"), capture=False)(*next(batches(1)))
    assert seen == [None]


def test_measuring_and_predicting_compute_in_float32():
    trainer, data = settled("float16")
    plain, _ = settled(None)
    assert trainer.evaluate(data) == plain.evaluate(data)
    np.testing.assert_array_equal(trainer.predict(data[0]), plain.predict(data[0]))


@pytest.mark.parametrize("precision", HALVES)
def test_products_are_short_and_each_weight_is_cast_once(precision):
    step = adl.train_step(
        cnn(), "cross_entropy", adl.optimizer("adam"), precision=precision, check=True
    )
    program = adl.program(step, *next(batches(1)))
    dtype = {n: value.dtype for n, value in program.values.items()}
    products = [i for i in program.code if i.op in ("conv2d", "conv2d_weight_grad", "linear")]
    assert len(products) == 4
    for instruction in (*products, *(i for i in program.code if i.op == "matmul")):
        if instruction.op == "matmul" and dtype[instruction.outs[0]] == "float32":
            continue  # whether gradients are finite
        assert {dtype[n] for n in (*instruction.reads, *instruction.outs)} == {precision}
    views = {i.outs[0] for i in program.code if i.op == "unpack"}
    readers = [i for i in program.code if views & set(i.reads)]
    assert [i.op for i in readers] == ["astype"] * 6
    assert {dtype[n] for name, n in program.outputs.items() if name in program.donations} == {
        "float32"
    }
    losses = [i for i in program.code if i.op.startswith("softmax_cross_entropy")]
    assert {dtype[n] for i in losses for n in i.outs} == {"float32"}


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("dtype", ["float64", "uint8", "int32"])
def test_batches_of_other_dtypes_are_computed_in_short_as_well(precision, dtype):
    """Small whole numbers are exact in every dtype, so the step is that of float32's batch."""
    x = np.random.default_rng(0).integers(0, 9, (16, 6, 6, 2)).astype(np.float32)
    steps, y = [], np.arange(16) % 3
    for batch in (x, x.astype(dtype)):
        step = adl.train_step(
            cnn(), "cross_entropy", adl.optimizer("adam"), precision=precision, check=True
        )
        program = adl.program(step, batch, y)
        dtypes = {
            program.values[n].dtype
            for i in program.code if i.op in ("conv2d", "conv2d_bias", "conv2d_weight_grad")
            for n in (*i.reads, *i.outs)
        }  # fmt: skip
        assert dtypes == {precision}
        losses = [step(batch, y) for _ in range(3)]
        assert step.captured
        steps.append((step, losses))
    assert steps[0][1] == steps[1][1]
    assert same_state(steps[0][0], steps[1][0])

"""The example of the classical recipe: which optimizer has which layer, and that it learns."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import agnostic_dl as adl

EXAMPLE = Path(__file__).parents[1] / "examples" / "classical_recipe.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def test_one_step_is_adagrads_for_convolutions_and_sgds_for_the_rest(example, draw):
    model = adl.models.create("lenet", input_shape=(8, 8, 1), classes=10).init(0)
    before = {n: p.data.copy() for n, p in model.parameters().items()}
    x, y = draw(4, 8, 8, 1, dtype=np.float32), np.array([0, 1, 2, 3])
    step = adl.train_step(model, "cross_entropy", example["classical_engine"]())
    grads = step.gradients(x, y)[2]
    step(x, y)
    for name, start in before.items():
        # AdaGrad's first step has one length for every element, whatever its gradient.
        adagrad = name.startswith("conv")
        expected = -0.02 * np.sign(grads[name]) if adagrad else -0.05 * grads[name]
        moved = model.parameters()[name].data - start
        large = np.abs(grads[name]) > 1e-6
        np.testing.assert_allclose(moved[large], expected[large], rtol=1e-3, atol=2e-7)
        assert np.any(large)
    kinds = {n: sorted(slots) for n, slots in step.state["slots"].items()}
    assert {n for n, slots in kinds.items() if slots == ["sum"]} == {
        "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"
    }  # fmt: skip


def test_the_example_learns_digits(example, capsys):
    history = example["main"](["digits", "3"])
    assert history[-1]["val_accuracy"] > 0.9
    assert capsys.readouterr().out.count("epoch") == 3


@pytest.mark.parametrize(("arguments", "words"), [
    (["nowhere"], "'nowhere': no such file or folder"),
    (["digits", "many"], "invalid int value: 'many'"),
    (["digits", "0"], "epochs: expected a positive integer, got 0"),
])  # fmt: skip
def test_a_wrong_argument_is_told_in_words_and_ends_it(example, capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        example["main"](arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err

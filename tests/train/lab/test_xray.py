"""The X-ray against numbers worked out by hand, on every backend, and without any effect."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.optim import Engine, Optimizer
from agnostic_dl.train import XRay
from agnostic_dl.train.lab.xray import WHOLE, ObservedEngine

WEIGHTS = [3.0, -4.0]
GRADIENTS = [[0.5, -2.0], [0.25, 1.0], [-1.0, 4.0]]


def watched(optimizer: Any, backend: Any = None, **options: Any) -> XRay:
    """An X-ray of three steps on two parameters, in float64."""
    backend = backend or adl.get_backend("numpy")
    options = {"shadows": (), **options}
    xray = XRay(every=1, elements=None, **options)
    engine = ObservedEngine(Engine(optimizer), xray)
    params = {"w": backend.asarray(WEIGHTS, "float64")}
    state = engine.init(params)
    for gradient in GRADIENTS:
        params, state = engine.update(params, {"w": backend.asarray(gradient, "float64")}, state)
    return xray


def at(xray: XRay, step: int, name: str = "w") -> dict[str, float]:
    return next(r for r in xray.rows if r["step"] == step and r["parameter"] == name)


def test_sgd_by_hand(backend):
    row = at(watched(adl.optimizer("sgd", learning_rate=0.1), backend), 1)
    assert row["gradient_norm"] == pytest.approx(math.hypot(0.5, 2.0))
    assert row["weight_norm"] == pytest.approx(5.0)
    assert row["update_norm"] == pytest.approx(0.1 * math.hypot(0.5, 2.0))
    assert row["update_to_weight"] == pytest.approx(0.02 * math.hypot(0.5, 2.0))
    assert row["cosine_to_descent"] == pytest.approx(1.0)
    for quantile in ("p10", "p50", "p90"):
        assert row[f"effective_step_{quantile}"] == pytest.approx(0.1)
    assert "sign_agreement" not in row


def test_signs_by_hand():
    xray = watched(adl.optimizer("sgd", learning_rate=0.1))
    assert at(xray, 2)["sign_agreement"] == 0.5  # 0.5 → 0.25 keeps its sign, -2 → 1 does not
    assert at(xray, 3)["sign_agreement"] == 0.5


def test_adam_by_hand(backend):
    xray = watched(adl.optimizer("adam", learning_rate=0.01), backend)
    first, second = at(xray, 1), at(xray, 2)
    # The first step: m̂ = g and √v̂ = |g|, so every element moves by the learning rate.
    assert first["step_over_rate_p10"] == pytest.approx(1.0, abs=1e-6)
    assert first["step_over_rate_p90"] == pytest.approx(1.0, abs=1e-6)
    assert first["update_norm"] == pytest.approx(0.01 * math.sqrt(2), rel=1e-6)
    assert first["m_over_sqrt_v_p50"] == pytest.approx(1.0)
    assert first["cosine_to_descent"] == pytest.approx(2.5 / (math.sqrt(2) * math.hypot(0.5, 2)))
    m = [0.1 * (0.9 * a + b) for a, b in zip(GRADIENTS[0], GRADIENTS[1], strict=True)]
    v = [0.001 * (0.999 * a**2 + b**2) for a, b in zip(GRADIENTS[0], GRADIENTS[1], strict=True)]
    ratio = [abs(a) / 0.19 / math.sqrt(b / (1 - 0.999**2)) for a, b in zip(m, v, strict=True)]
    assert second["m_over_sqrt_v_p10"] == pytest.approx(min(ratio))
    assert second["m_over_sqrt_v_p90"] == pytest.approx(max(ratio))
    assert second["state_m_rms"] == pytest.approx(math.sqrt(sum(a * a for a in m) / 2))
    assert second["state_v_rms"] == pytest.approx(math.sqrt(sum(a * a for a in v) / 2))
    steps = xray.steps[1]
    assert steps["bias_correction_1"] == pytest.approx(0.19)
    assert steps["bias_correction_2"] == pytest.approx(1 - 0.999**2)


def test_adagrad_and_momentum_by_hand():
    row = at(watched(adl.optimizer("adagrad", learning_rate=0.1)), 3)
    totals = [math.sqrt(sum(g[k] ** 2 for g in GRADIENTS)) for k in (0, 1)]
    assert row["denominator_p10"] == pytest.approx(min(totals))
    assert row["denominator_p90"] == pytest.approx(max(totals))
    row = at(watched(adl.optimizer("momentum", learning_rate=0.1)), 2)
    velocity = math.hypot(0.9 * 0.5 + 0.25, 0.9 * -2.0 + 1.0)
    assert row["velocity_over_gradient"] == pytest.approx(velocity / math.hypot(0.25, 1.0))


def test_shadows_by_hand(backend):
    shadows = {
        "adam": adl.optimizer("adam", learning_rate=0.01),
        "adagrad": adl.optimizer("adagrad", learning_rate=0.5),
        "sgd": adl.optimizer("sgd", learning_rate=0.2),
    }
    xray = watched(adl.optimizer("sgd", learning_rate=0.1), backend, shadows=shadows)
    for name in ("w", WHOLE):
        row = at(xray, 1, name)
        cosine = 2.5 / (math.sqrt(2) * math.hypot(0.5, 2))
        assert row["shadow_adam_cosine"] == pytest.approx(cosine, rel=1e-6)
        size = 0.01 * math.sqrt(2) / (0.1 * math.hypot(0.5, 2))
        assert row["shadow_adam_size"] == pytest.approx(size, rel=1e-6)
        assert row["shadow_sgd_cosine"] == pytest.approx(1.0)
        assert row["shadow_sgd_size"] == pytest.approx(2.0)
    update = [g / math.sqrt(0.5**2 + 0.25**2 + 1) if k == 0 else g / math.sqrt(21)
              for k, g in enumerate(GRADIENTS[2])]  # fmt: skip
    product = sum(a * b for a, b in zip(update, GRADIENTS[2], strict=True))
    cosine = product / (math.hypot(*update) * math.hypot(*GRADIENTS[2]))
    assert at(xray, 3)["shadow_adagrad_cosine"] == pytest.approx(cosine)


def test_a_shadow_of_the_same_optimizer_is_the_optimizer():
    same = {"twin": adl.optimizer("adam", learning_rate=0.01)}
    xray = watched(adl.optimizer("adam", learning_rate=0.01), shadows=same)
    for step in (1, 2, 3):
        assert at(xray, step)["shadow_twin_cosine"] == pytest.approx(1.0)
        assert at(xray, step)["shadow_twin_size"] == pytest.approx(1.0)


@dataclass(frozen=True)
class Normed(Optimizer):
    """Steps of a fixed length along the gradient: needs the whole array, and counts its steps."""

    learning_rate: Any = 0.1

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"count": xp.zeros((), dtype=param.dtype)}

    def update(self, xp: Any, param: Any, grad: Any, state: Any, *, learning_rate: Any) -> Any:
        length = xp.sqrt(xp.sum(xp.square(grad)))
        return param - learning_rate * grad / length, {"count": state["count"] + 1}


def test_an_optimizer_that_is_not_elementwise():
    xray = watched(Normed(), shadows={"other": Normed(learning_rate=0.3)})
    row = at(xray, 3)
    assert row["update_norm"] == pytest.approx(0.1)
    assert row["state_count_rms"] == pytest.approx(3.0)
    assert row["shadow_other_size"] == pytest.approx(3.0)


# -- in a trainer --------------------------------------------------------------------------------


def fitted(callbacks: list[Any], epochs: int = 2, **options: Any) -> adl.Trainer:
    data = adl.data.load("digits")
    model = adl.models.create("mlp", input_shape=(8, 8, 1), classes=10)
    engine = Engine(adl.optimizer("adam"), **options)
    trainer = adl.Trainer(model, engine, seed=3)
    trainer.fit(data.train.subset(range(256)), epochs=epochs, batch_size=64, callbacks=callbacks)
    return trainer


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.1, "overrides": {"fc1.*": None}}])
def test_watching_changes_nothing(options):
    plain, xray = fitted([], **options), XRay(every=3)
    seen = fitted([xray], **options)
    for name, array in plain.model.state_dict().items():
        assert np.array_equal(array, seen.model.state_dict()[name]), name
    assert seen.step.engine is seen.engine
    assert [step for step, _ in xray.losses] == list(range(1, 9))
    frozen = {"fc1.weight", "fc1.bias"} if options else set()
    names = {row["parameter"] for row in xray.rows} - {WHOLE}
    assert names == set(plain.model.parameters()) - frozen


@pytest.mark.parametrize("name", adl.list_optimizers())
def test_every_installed_optimizer(name):
    """Its named state is shown, its shadow is itself, and watching it changes nothing."""
    data, weights = adl.data.load("digits").train.subset(range(128)), []
    xray = XRay(every=1, elements=None, shadows=(name,))
    for callbacks in ([], [xray]):
        model = adl.models.create("linear", input_shape=(8, 8, 1), classes=10)
        trainer = adl.Trainer(model, name, seed=1)
        trainer.fit(data, epochs=2, batch_size=32, callbacks=callbacks)
        weights.append(np.array(model.state_dict()["fc.weight"]))
    if name == "muon":
        # The watched step is eager: what is made of a transposed array is laid out as it is there,
        # and row by row in a plan, so that sums along it may differ in the last place.
        np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-7)
    else:
        assert np.array_equal(*weights)
    row = next(r for r in xray.rows if r["parameter"] == "fc.weight" and r["step"] == 6)
    assert {f"state_{n}_rms" for n in trainer.step.state["slots"]["fc.weight"]} <= set(row)
    assert row[f"shadow_{name}_cosine"] == pytest.approx(1.0, abs=1e-3)
    assert row[f"shadow_{name}_size"] == pytest.approx(1.0, abs=1e-2)


def test_adams_first_step_is_the_learning_rate_everywhere():
    xray = XRay(every=1, elements=None)
    fitted([xray], epochs=1)
    for row in xray.rows:
        if row["step"] == 1:
            assert row["step_over_rate_p50"] == pytest.approx(1.0, rel=2e-2), row["parameter"]


def test_a_sample_stands_for_the_whole():
    """Norms are exact, and the estimates from 500 elements are near those from all."""
    whole, drawn = XRay(every=1, elements=None), XRay(every=1, elements=500)
    fitted([whole], epochs=1)
    fitted([drawn], epochs=1)
    for ours, theirs in zip(whole.rows, drawn.rows, strict=True):
        assert ours["gradient_norm"] == theirs["gradient_norm"]
        for name in ("shadow_sgd_cosine", "sign_agreement", "m_over_sqrt_v_p50"):
            if ours["parameter"] == WHOLE and name in ours:
                assert theirs[name] == pytest.approx(ours[name], abs=0.12), name


def test_looks_are_dense_at_first_and_then_rare():
    xray = XRay(every=4, dense=2, shadows=())
    fitted([xray])
    assert [row["step"] for row in xray.steps] == [1, 2, 4, 8]


def test_a_record_survives_a_restart(tmp_path):
    path = tmp_path / "xray.json"
    first = XRay(every=2, path=path)
    trainer = fitted([first], epochs=1)
    second = XRay.continued(path, every=2)
    data = adl.data.load("digits").train.subset(range(256))
    trainer.fit(data, epochs=1, batch_size=64, callbacks=[second])
    record = json.loads(path.read_text())
    assert [step for step, _ in record["losses"]] == list(range(1, 9))
    assert [row["epoch"] for row in record["history"]] == [1, 2]
    assert "step 5" in record["notes"][0]
    path.write_text("{")
    assert XRay.continued(path).rows == []

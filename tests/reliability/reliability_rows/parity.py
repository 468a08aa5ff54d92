"""Row 14: optimizers against PyTorch's committed trajectories, and resumed in their middle."""

from __future__ import annotations

import json
import runpy
import tempfile
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl import nn
from reliability_rows.common import PROJECT, data, fingerprint
from reliability_rows.table import Outcome, row

_HERE = PROJECT / "plugins" / "optimizers" / "tests"


@row(
    14,
    "optimizers over 1,000 steps",
    "float64 ≤ 1e-13, float32 ≤ 1e-5 of travel; resumed: same bits",
)
def trajectories(full: bool) -> Outcome:
    """Every optimizer with every flag; saved and loaded after step 500."""
    outcome = Outcome()
    recipe = runpy.run_path(str(_HERE / "make_reference.py"))
    reference = json.loads((_HERE / "reference.json").read_text())["trajectories"]
    cases = list(recipe["CASES"].items())
    worst = {"float64": 0.0, "float32": 0.0}
    for case, (name, hyper, *_) in cases if full else cases[-1:]:
        for dtype, bound in (("float64", 1e-13), ("float32", 1e-5)):
            error = _error(recipe, name, hyper, dtype, reference[case][dtype])
            worst[dtype] = max(worst[dtype], error)
            outcome.check(error <= bound, f"{case}, {dtype}: {error:.2g}")
        same = _resumed(name, hyper, 1000 if full else 100)
        outcome.check(same, f"{case}: not the same bits after a resume")
    outcome.note(f"worst {worst['float64']:.1e}, {worst['float32']:.1e} of travel")
    return outcome


def _error(recipe: dict, name: str, hyper: dict, dtype: str, expected: dict) -> float:
    """The largest error at any checkpoint: absolute in float64, of the way gone in float32."""
    optimizer, state, worst = adl.optimizer(name, **hyper), None, 0.0
    param, travelled = recipe["start"](dtype), np.zeros(recipe["SIZE"])
    for step in range(1, 1001):
        grad = recipe["gradient"](step, dtype)
        new, state = adl.optim.step(optimizer, param, grad, state, step=step)
        travelled += np.abs(new.astype(np.float64) - param)
        param = new
        if str(step) in expected:
            target = np.array([float.fromhex(value) for value in expected[str(step)]])
            scale = travelled if dtype == "float32" else 1.0
            worst = max(worst, float(np.max(np.abs(param - target) / scale)))
    return worst


def _resumed(name: str, hyper: dict, steps: int) -> bool:
    def fresh() -> adl.Trainer:
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        return adl.Trainer(model, adl.optimizer(name, **hyper), seed=3)

    half: dict[str, Any] = {"epochs": steps // 20, "batch_size": 10}
    whole = fresh()
    whole.fit(data(100), epochs=steps // 10, batch_size=10)
    with tempfile.TemporaryDirectory() as folder:
        first = fresh()
        first.fit(data(100), **half)
        first.save(folder)
        second = adl.Trainer.load(folder)
    second.fit(data(100), **half)
    return second.step.count == steps and fingerprint(second) == fingerprint(whole)

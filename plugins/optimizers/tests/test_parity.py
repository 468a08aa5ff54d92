"""Each optimizer against PyTorch's committed trajectory over 1,000 steps.

The bounds: in float64 1e-13, absolute, on parameters of magnitude 0.03 to 17; in float32 1e-5 of
the distance that the parameter has travelled so far (the sum of its steps' lengths), for each
parameter on its own.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import plugins


def follow(recipe, case, dtype, backend, last=1000):
    """Yield (step, parameters, distance travelled by each) on NumPy, at every checkpoint."""
    name, hyperparameters, _, _ = recipe.CASES[case]
    optimizer, state = adl.optimizer(name, **hyperparameters), None
    param, travelled = backend.asarray(recipe.start(dtype)), np.zeros(recipe.SIZE)
    for step in range(1, last + 1):
        before = backend.to_numpy(param).astype(np.float64)
        grad = backend.asarray(recipe.gradient(step, dtype))
        param, state = adl.optim.step(optimizer, param, grad, state, step=step)
        after = backend.to_numpy(param).astype(np.float64)
        travelled = travelled + np.abs(after - before)
        if step in recipe.CHECKPOINTS:
            yield step, backend.to_numpy(param), travelled


def expected(trajectories, case, dtype, step):
    return np.array([float.fromhex(value) for value in trajectories[case][dtype][str(step)]])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_trajectory_is_pytorchs_over_1000_steps(recipe, trajectories, case, dtype):
    seen = []
    for step, param, travelled in follow(recipe, case, dtype, adl.get_backend("numpy")):
        assert param.dtype == dtype
        error = np.abs(param - expected(trajectories, case, dtype, step))
        bound = 1e-13 if dtype == "float64" else 1e-5 * travelled
        assert np.all(error <= bound), f"step {step}: errors {error}, bounds {bound}"
        seen.append(step)
    assert seen == list(recipe.CHECKPOINTS)


def test_trajectory_holds_on_the_strict_backend(recipe, trajectories, case):
    pytest.importorskip("agnostic_dl_strict", reason="the strict backend is not installed")
    strict = adl.get_backend("strict")
    with adl.use_backend(strict):
        for step, param, _ in follow(recipe, case, "float64", strict, last=100):
            error = np.abs(param - expected(trajectories, case, "float64", step))
            assert np.all(error <= 1e-13), f"step {step}"


def test_resumed_from_the_host_at_step_500_the_trajectory_is_the_same_to_the_bit(recipe, case):
    name, hyperparameters, _, _ = recipe.CASES[case]

    def run(interrupted):
        backend, optimizer = adl.get_backend("numpy"), adl.optimizer(name, **hyperparameters)
        param, state = backend.asarray(recipe.start("float32")), None
        for step in range(1, 1001):
            grad = backend.asarray(recipe.gradient(step, "float32"))
            param, state = adl.optim.step(optimizer, param, grad, state, step=step)
            if interrupted and step == 500:  # bytes, as a checkpoint keeps them
                saved = {n: a.tobytes() for n, a in {**state, "param": param}.items()}
                arrays = {n: np.frombuffer(b, np.float32) for n, b in saved.items()}
                optimizer = adl.optimizer(name, **hyperparameters)
                param, state = arrays.pop("param"), arrays
        return param.tobytes()

    assert run(interrupted=True) == run(interrupted=False)


def test_committed_values_are_what_the_installed_pytorch_computes(recipe, trajectories, case):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    for dtype, bound in (("float64", 1e-13), ("float32", 1e-5)):
        # Not bit for bit: PyTorch fuses multiply and add where the processor can.
        again = recipe.torch_trajectory(case, dtype)
        for step in recipe.CHECKPOINTS:
            now = np.array([float.fromhex(value) for value in again[str(step)]])
            np.testing.assert_allclose(
                now, expected(trajectories, case, dtype, step), rtol=0, atol=bound
            )


def test_every_registered_optimizer_stands_in_the_table(recipe, trajectories):
    in_table = {name for name, *_ in recipe.CASES.values()}
    project = Path(__file__).parents[1] / "pyproject.toml"
    entries = tomllib.loads(project.read_text())["project"]["entry-points"]
    ours = set(entries["agnostic_dl.optimizers"])
    installed = {
        info.name
        for info in plugins.infos("optimizer")
        if info.distribution == "agnostic-dl-optimizers"
    }
    assert ours | installed == in_table
    assert set(trajectories) == set(recipe.CASES), "run make_reference.py again"


def test_every_flag_stands_in_the_table_or_has_its_own_test(recipe):
    """A boolean hyperparameter is another algorithm: each must be compared with something."""
    elsewhere = {("adam", "efficient")}  # test_adam.py: PyTorch has no such flag
    covered = {
        (name, flag)
        for name, hyperparameters, _, _ in recipe.CASES.values()
        for flag, value in hyperparameters.items()
        if value is True
    }
    flags = {
        (name, field)
        for name in {name for name, *_ in recipe.CASES.values()}
        for field, value in vars(adl.optimizer(name)).items()
        if isinstance(value, bool)
    }
    assert flags <= covered | elsewhere

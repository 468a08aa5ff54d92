"""Write the trajectories of PyTorch's and optax's optimizers that ours are compared with.

    python tools/make_optimizer_references.py plugins/optimizers-extra/tests/reference.json

Needs torch, jax and optax; the tests need only the file. Everything in float64.
"""

from __future__ import annotations

import json
import sys

STEPS = (1, 2, 3, 5, 6, 10, 100, 500, 1000)
ROWS, COLUMNS = 4, 3
PARAM = [[((37 * (COLUMNS * r + c)) % 11) / 7 - 0.6 for c in range(COLUMNS)] for r in range(ROWS)]


def gradient(t: int) -> list[list[float]]:
    """Step t's gradient: integers modulo a prime, so the same numbers everywhere."""
    return [
        [((7919 * t * t + 104729 * i + 31 * t * i) % 2003) / 1000 - 1 for i in row]
        for row in ([COLUMNS * r + c for c in range(COLUMNS)] for r in range(ROWS))
    ]


#: case → (our name, our hyperparameters, library, its factory, its hyperparameters)
CASES = {
    "adamw": ("adamw", {}, "torch", "AdamW", {}),
    "adamw-decay": ("adamw", {"weight_decay": 0.3}, "torch", "AdamW", {"weight_decay": 0.3}),
    "rmsprop": ("rmsprop", {}, "torch", "RMSprop", {}),
    "rmsprop-all": (
        "rmsprop", {"momentum": 0.9, "centered": True, "learning_rate": 1e-3},
        "torch", "RMSprop", {"momentum": 0.9, "centered": True, "lr": 1e-3},
    ),
    "adadelta": ("adadelta", {}, "torch", "Adadelta", {}),
    "nadam": ("nadam", {}, "torch", "NAdam", {}),
    "radam": ("radam", {}, "torch", "RAdam", {}),
    "radam-short": ("radam", {"beta2": 0.9}, "torch", "RAdam", {"betas": (0.9, 0.9)}),
    "lion": ("lion", {}, "optax", "lion", {"learning_rate": 1e-4, "weight_decay": 0.0}),
    "lion-decay": (
        "lion", {"weight_decay": 0.1}, "optax", "lion",
        {"learning_rate": 1e-4, "weight_decay": 0.1},
    ),
    "lamb": ("lamb", {}, "optax", "lamb", {"learning_rate": 1e-3}),
    "lamb-decay": (
        "lamb", {"weight_decay": 0.1}, "optax", "lamb",
        {"learning_rate": 1e-3, "weight_decay": 0.1},
    ),
    "muon": ("muon", {"output_axis": 0}, "torch", "Muon", {}),
    "muon-plain": (
        "muon", {"output_axis": 0, "nesterov": False, "weight_decay": 0.0},
        "torch", "Muon", {"nesterov": False, "weight_decay": 0.0},
    ),
}  # fmt: skip


def with_torch(factory: str, hyper: dict) -> dict[str, list]:
    import torch

    torch.set_default_dtype(torch.float64)  # NAdam keeps its product in it
    torch.Tensor.bfloat16 = lambda self: self.clone()  # Muon: in the parameter's own precision
    param = torch.nn.Parameter(torch.tensor(PARAM))
    optimizer = getattr(torch.optim, factory)([param], **hyper)
    found = {}
    for t in range(1, STEPS[-1] + 1):
        param.grad = torch.tensor(gradient(t))
        optimizer.step()
        if t in STEPS:
            found[str(t)] = param.detach().tolist()
    return found


def with_optax(factory: str, hyper: dict) -> dict[str, list]:
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    param = jax.numpy.asarray(PARAM)
    transform = getattr(optax, factory)(**hyper)
    update, state, found = jax.jit(transform.update), transform.init(param), {}
    for t in range(1, STEPS[-1] + 1):
        move, state = update(jax.numpy.asarray(gradient(t)), state, param)
        param = optax.apply_updates(param, move)
        if t in STEPS:
            found[str(t)] = param.tolist()
    return found


def main(path: str) -> None:
    import optax
    import torch

    made = {"torch": with_torch, "optax": with_optax}
    versions = {"torch": torch.__version__, "optax": optax.__version__}
    cases = {
        case: {
            "optimizer": name,
            "hyperparameters": hyper,
            "source": f"{library} {versions[library]}: {factory}({theirs})",
            "params": made[library](factory, theirs),
        }
        for case, (name, hyper, library, factory, theirs) in CASES.items()
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"param": PARAM, "cases": cases}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])

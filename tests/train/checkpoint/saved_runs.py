"""Short trainings, and what of them a checkpoint must keep: what tests share."""

from __future__ import annotations

import json

import agnostic_dl as adl
from agnostic_dl import schedules


def engines():
    """One of every kind of thing that a checkpoint must keep."""
    plateau = schedules.reduce_on_plateau(0.01, patience=0, threshold=10.0)
    return {
        "adam": adl.optimizer("adam", learning_rate=0.01),
        "efficient adam": adl.optimizer("adam", efficient=True, eps=1e-6),
        "warm-up": adl.optimizer("momentum", learning_rate=schedules.linear_warmup(plateau, 3)),
        "engine": adl.optim.Engine(
            adl.optimizer("adagrad", learning_rate=schedules.cosine(0.1, 20)), clip_norm=0.5,
            overrides={"fc.bias": None, "conv*": adl.optimizer("momentum", nesterov=True)},
        ),
    }  # fmt: skip


def contents(trainer):
    """Every bit that decides how training goes on."""
    to_numpy, state = trainer.backend.to_numpy, trainer.step.state
    arrays = {n: to_numpy(a).tobytes() for n, a in trainer.model.state_dict().items()}
    for parameter, slots in state["slots"].items():
        arrays |= {f"{parameter}:{n}": to_numpy(a).tobytes() for n, a in slots.items()}
    return arrays, state["step"], state["schedules"]


def trained(small, engine, problem, epochs=2, **options):
    trainer = adl.Trainer(small(), engine, seed=5, **options)
    trainer.fit(problem, validation=problem, epochs=epochs, batch_size=20)
    return trainer


NEWEST, OLDER = "model.safetensors", "model.previous.safetensors"


def manifest_of(path):
    """The manifest as any reader of safetensors finds it: JSON in the header's metadata."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["manifest"])

"""Is a captured training step the eager one, also with this optimizer's state?"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

from agnostic_dl import backends
from agnostic_dl.errors import CaptureWarning
from agnostic_dl.testing.libraries import Library
from agnostic_dl.testing.report import NotRun
from agnostic_dl.testing.walks import RATE, Subject, any_library, same

STEPS = 8


def captured(subject: Subject) -> str:
    """The plan of the backend that is chosen goes the eager engine's way, slots included."""
    any_library()
    backend = backends.get_backend()
    lib = Library(backend.name, backend.xp)
    runs = [_trained(subject.optimizer, lib, capture) for capture in (False, True)]
    for name, expected in runs[0].items():
        got = lib.numbers(runs[1][name])
        # By the rounding of kernels that compute together what eager ones compute apart.
        same(f"captured against eager, {name}", got, lib.numbers(expected), 1e-4)
    return f"{STEPS} steps on {backend.name}"


def _trained(optimizer: Any, lib: Library, capture: bool) -> dict[str, Any]:
    """The parameters and slots of a linear layer after some steps."""
    from agnostic_dl import nn
    from agnostic_dl.train import train_step

    model = nn.Linear(5, 4).init(0)
    slow = dataclasses.replace(optimizer, learning_rate=RATE)
    step = train_step(model, "cross_entropy", slow, capture=capture)
    labels = lib.xp.asarray([0, 1, 2, 3, 0, 1])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", CaptureWarning)
            for t in range(STEPS):
                step(lib.array((6, 5), 1 + t, lib.xp.float32), labels)
    except CaptureWarning as reason:  # the rule `traceable` says what is wrong with it
        raise NotRun(f"it is not captured: {reason}") from reason
    return dict(_arrays(model, step))


def _arrays(model: Any, step: Any) -> Iterator[tuple[str, Any]]:
    yield from model.state_dict().items()
    for name, slots in step.state["slots"].items():
        for slot, array in slots.items():
            yield f"{slot} of {name}", array

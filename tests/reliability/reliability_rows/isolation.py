"""Row 19: two trainings in two threads, step by step beside each other."""

from __future__ import annotations

import random
import threading
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl.train import Callback
from reliability_rows import torch_backend
from reliability_rows.common import data, fingerprint, model
from reliability_rows.table import Outcome, row

Config = tuple[str, str, int]  # backend, dtype, seed


class _Together(Callback):
    """Waits for the other run before every step."""

    def __init__(self, barrier: threading.Barrier | None) -> None:
        self.barrier = barrier

    def on_step_end(self, trainer: adl.Trainer, step: int, count: int, loss: float) -> None:
        if self.barrier is not None:
            self.barrier.wait(timeout=60)


def _train(
    config: Config, barrier: threading.Barrier | None, found: dict[int, str], key: int
) -> None:
    name, dtype, seed = config
    backend = torch_backend.TorchBackend() if name == "torch" else name
    with adl.use_backend(backend):
        network = model(dropout=0.3).astype(dtype).init(seed)
        trainer = adl.Trainer(network, adl.optimizer("adam", learning_rate=3e-3), seed=seed)
        x, y = data(64, seed=seed)
        trainer.fit((x.astype(dtype), y), epochs=2, batch_size=16, callbacks=[_Together(barrier)])
    found[key] = fingerprint(trainer)


def _globals() -> list[Any]:
    state: list[Any] = [np.geterr(), np.random.get_state()[1].tolist(), adl.get_backend().name]
    if torch_backend.available():
        import torch

        state += [torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()]
        state.append(torch.get_rng_state().tolist())
    return state


@row(19, "two trainings in two threads", "20/20 pairs equal their solo runs; 0 writes to globals")
def beside(full: bool) -> Outcome:
    """Pairs of backends and dtypes, the same one twice among them."""
    outcome, dice = Outcome(), random.Random(19)
    names = ["numpy", "strict", *(["torch"] if torch_backend.available() else [])]
    kinds = [(name, dtype) for name in names for dtype in ("float32", "float64")]
    pairs = list(combinations_with_replacement(kinds, 2))
    dice.shuffle(pairs)
    before = _globals()
    for number, pair in enumerate(pairs[: 20 if full else 3]):
        configs: list[Config] = [(*kind, number * 2 + i) for i, kind in enumerate(pair)]
        solo: dict[int, str] = {}
        both: dict[int, str] = {}
        for key, config in enumerate(configs):
            _train(config, None, solo, key)
        barrier = threading.Barrier(2)
        threads = [
            threading.Thread(target=_train, args=(config, barrier, both, key))
            for key, config in enumerate(configs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outcome.check(len(solo) == 2 and solo == both, f"{configs}: {solo} {both}")
    if _globals() != before:
        outcome.failures.append("a library's global state was changed")
    outcome.note(f"among {len(kinds)} kinds")
    return outcome

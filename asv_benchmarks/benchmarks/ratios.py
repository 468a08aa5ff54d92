"""How many times as long a peer takes as we do: above 1, we are faster.

A B B A in processes of their own, after both have shown the same losses.
"""

from __future__ import annotations

import importlib.util

from . import common

#: The rows of benchmarks/compare_peers.py: the tiny network, mlp, lenet, adam-paper-cnn, resnet20.
ROWS = ("S", "W1", "W2", "W3", "W4")
#: Candidate → the module that it needs.
PEERS = {"torch": "torch", "torch channels_last": "torch", "jax": "jax"}
ROUNDS, THREADS = 4, 2


class Ratio:
    params = (ROWS, ("numpy", "numpy+kernels"), tuple(PEERS))
    param_names = ("row", "ours", "peer")
    timeout = 600
    unit = "peer's time / ours"

    def setup(self, row: str, ours: str, peer: str) -> None:
        common.open_backend(ours)
        self.script = common.script("compare_peers")
        candidates = common.script("peers.candidates")
        if row not in candidates.ROWS or peer not in candidates.CANDIDATES:
            raise common.Skip(f"benchmarks/peers has no {peer} for {row}")
        if importlib.util.find_spec(PEERS[peer]) is None:
            raise common.Skip(f"{PEERS[peer]} is not installed")

    def track_peer_over_ours(self, row: str, ours: str, peer: str) -> float:
        found = self.script.compare(row, [ours, peer], ROUNDS, THREADS)
        return found["median_ms"][peer] / found["median_ms"][ours]


class ChainRatio:
    """The chain of small operations of overhead.py, A B A B in one process."""

    params = ("PyTorch eager", "HIPS autograd", "MyGrad")
    param_names = ("peer",)
    unit = "peer's time / ours"

    def setup(self, peer: str) -> None:
        contestants = common.script("eager_overhead").CONTESTANTS
        try:
            self.runs = [contestants[name](1000) for name in (peer, "agnostic_dl .backward()")]
        except ImportError as error:
            raise common.Skip(f"{peer}: {error}") from error

    def track_peer_over_ours(self, peer: str) -> float:
        return common.ratio_of_medians(*self.runs, rounds=10)

"""How many times as long a peer takes as we do: above 1, we are faster."""

from __future__ import annotations

from . import common

#: Rows and peers of benchmarks/compare_peers.py: the tiny network, mlp, lenet, adam-paper-cnn,
#: resnet20; Adam and SGD with momentum alone.
ROWS = ("S", "W1", "W2", "W3", "W4", "O1", "O2")
PEERS = ("torch", "torch channels_last", "torch fused", "jax")
ROUNDS, SECONDS, THREADS = 4, 0.3, 2


class Ratio:
    """A B B A in processes of their own, after both have shown the same losses."""

    params = (ROWS, ("numpy", "numpy+kernels"), PEERS)
    param_names = ("row", "ours", "peer")
    timeout = 600
    unit = "peer's time / ours"

    def setup(self, row: str, ours: str, peer: str) -> None:
        common.open_backend(ours)
        try:
            self.comparing = common.script("peers.comparing")
            candidates, rows = common.script("peers.candidates"), common.script("peers.rows").ROWS
        except ImportError as error:
            raise common.Skip(f"benchmarks/peers cannot compare: {error}") from error
        reason = candidates.missing(peer)
        if reason is not None:
            raise common.Skip(f"{peer}: {reason}")
        if not candidates.in_row([peer], rows[row]):
            raise common.Skip(f"{peer} does not take part in {row}")

    def track_peer_over_ours(self, row: str, ours: str, peer: str) -> float:
        found = self.comparing.compare(row, [ours, peer], ROUNDS, SECONDS, THREADS)
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

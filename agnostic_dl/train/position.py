"""Position: how far the epoch under way has come, and what it has measured so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agnostic_dl.errors import UsageError


@dataclass
class Position:
    """The batches of the epoch that are done, and the sums over their examples.

    A checkpoint stores it, so that a run goes on from the middle of an epoch as if it had never
    stopped. The order of the batches needs no storing: it follows from seed and epoch.
    """

    batch_size: int
    examples: int
    learning_rate: float
    batches: int = 0
    count: int = 0
    sums: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, values: Sequence[float], count: int, seconds: float) -> None:
        """Count a batch: its means over *count* examples."""
        before = self.sums or [0.0] * len(values)
        self.sums = [s + value * count for s, value in zip(before, values, strict=True)]
        self.batches, self.count = self.batches + 1, self.count + count
        self.seconds += seconds

    def means(self, names: Sequence[str]) -> dict[str, float]:
        """The means over all examples so far, by name."""
        return {n: total / self.count for n, total in zip(names, self.sums, strict=True)}

    def require(self, batch_size: int, examples: int, epoch: int) -> None:
        """Refuse to go on with other data or batches: the epoch would not be one."""
        if (batch_size, examples) != (self.batch_size, self.examples):
            raise UsageError(
                f"epoch {epoch} is under way: {self.batches} batches of {self.batch_size}, of "
                f"{self.examples} examples, are done, so it cannot go on with batches of "
                f"{batch_size} of {examples}: finish it as it was, or begin it anew with "
                f"trainer.position = None"
            )

    def to_plain(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

"""Ratios of interleaved rounds, and whether they keep what was promised."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from peers.rows import Target

#: A row is not done where its ratio is further than this below the target.
SLACK = 0.15

#: Candidate → for each round the seconds of its steps.
Times = Mapping[str, Sequence[Sequence[float]]]


def block(times: Sequence[float]) -> float:
    """What a round says: the median of its steps."""
    return statistics.median(times)


def least(rounds: Sequence[Sequence[float]]) -> float:
    """The shortest step of all rounds."""
    return min(min(times) for times in rounds)


def ratio(peer: Sequence[Sequence[float]], ours: Sequence[Sequence[float]]) -> float:
    """Median over the rounds of (the peer's time / ours): what slows a round slows both."""
    pairs = zip(peer, ours, strict=True)
    return statistics.median(block(theirs) / block(mine) for theirs, mine in pairs)


def least_ratio(peer: Sequence[Sequence[float]], ours: Sequence[Sequence[float]]) -> float:
    """The peer's shortest step / our shortest."""
    return least(peer) / least(ours)


def fastest(times: Times, peers: Sequence[str], ours: str) -> str | None:
    """The peer that leaves us the smallest ratio; None: there is no peer."""
    return min(peers, key=lambda name: ratio(times[name], times[ours]), default=None)


def verdict(found: float, target: float) -> str:
    """In words: "met", "above the floor" (at most 15 % below the target) or "below"."""
    if found >= target:
        return "met"
    return "above the floor" if found >= target * (1 - SLACK) else "below"


def judge(targets: Sequence[Target], times: Times, peers: Sequence[str]) -> list[dict[str, Any]]:
    """What became of each target; one whose candidates did not take part is left out."""
    found = []
    for target in targets:
        if target.ours not in times:
            continue
        peer = target.peer or fastest(times, peers, target.ours)
        if peer is None or peer not in times:
            continue
        reached = ratio(times[peer], times[target.ours])
        found.append({
            "ours": target.ours, "peer": peer, "fastest": target.peer is None, "ratio": reached,
            "least_ratio": least_ratio(times[peer], times[target.ours]), "target": target.ratio,
            "floor": target.ratio * (1 - SLACK), "verdict": verdict(reached, target.ratio),
        })  # fmt: skip
    return found

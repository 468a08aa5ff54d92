"""Whose turn it is: threads that train one model make its steps one after the other."""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakSet

_turns: WeakSet[Turn] = WeakSet()


class Turn:
    """What a step holds while it is made: `with turn.lock`.

    A copy, pickled or not, is a turn of its own, and so is a forked process's: nobody has it.
    """

    def __init__(self) -> None:
        self.renew()
        _turns.add(self)

    def renew(self) -> None:
        """Nobody has the turn. Who had it ends it by the lock that it took."""
        self.lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Turn, ()


def _renew_all() -> None:
    for turn in list(_turns):
        turn.renew()


if hasattr(os, "register_at_fork"):  # the thread that had a turn is not in the child
    os.register_at_fork(after_in_child=_renew_all)

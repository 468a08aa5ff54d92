"""Which memory every value of a plan has: views, flat storage, donated state, the arena."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from agnostic_dl.extend import CHAIN, PRIMITIVES, VIEWS, Instruction, Program, resolved
from agnostic_dl_numpy.plan.memory import Arena, Need, aligned_array, nbytes


class Places:
    """The array of every value.

    *state*: the arrays of state inputs; *inputs*: of the others.
    """

    def __init__(
        self, program: Program, state: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> None:
        self.program, self.code = program, program.code
        self.arrays: dict[int, Any] = dict(program.constants)
        for name, array in (*state.items(), *inputs.items()):
            self.arrays[program.inputs[name]] = array
        #: Value → the one that it is a view of, through any number of views.
        self.base: dict[int, int] = {}
        self.first = {n: at for at, i in enumerate(self.code) for n in i.outs}
        self._find_views()
        self.last = self._last_uses()
        #: Donated outputs whose memory is not the state's: copied there at the end.
        self.late: list[tuple[Any, int]] = []
        self._place_donations(state)
        self._place_packs()
        self._place_rest()
        for instruction in self.code:
            if instruction.outs[0] in self.base:
                self.arrays[instruction.outs[0]] = self._view(instruction, self.arrays)

    def of(self, number: int) -> Any:
        """The array of a value."""
        return self.arrays[number]

    # -- views ------------------------------------------------------------------------------------

    def _view(self, instruction: Instruction, arrays: Mapping[int, Any]) -> Any:
        import array_api_compat.numpy as xp

        operands = [arrays[i] if isinstance(i, int) else i.value for i in instruction.ins]
        static = resolved(instruction.static, xp)
        return PRIMITIVES[instruction.op].forward(xp, *operands, **static)

    def _find_views(self) -> None:
        """Try every operation that may be a view on untouched memory of the same layout."""
        phantom: dict[int, Any] = dict(self.arrays)
        for instruction in self.code:
            if instruction.op in VIEWS and len(instruction.reads) == 1 == len(instruction.outs):
                (source,), (out,) = instruction.reads, instruction.outs
                view = self._view(instruction, phantom)
                if np.may_share_memory(view, phantom[source]):
                    phantom[out] = view
                    self.base[out] = self.base.get(source, source)
                    continue
            for number in instruction.outs:
                value = self.program.values[number]
                phantom[number] = np.empty(value.shape, value.dtype)
        self._contiguous = {n for n, a in phantom.items() if a.flags.c_contiguous}

    def _last_uses(self) -> dict[int, int]:
        last = dict(self.first)
        for at, instruction in enumerate(self.code):
            for number in instruction.reads:
                last[self.base.get(number, number)] = at
                last[number] = at
        for name, number in self.program.outputs.items():
            if name not in self.program.donations or number in self.base:
                last[self.base.get(number, number)] = len(self.code)
        return last

    # -- donated outputs --------------------------------------------------------------------------

    def _place_donations(self, state: Mapping[str, Any]) -> None:
        """Give an output the state's own memory where nothing reads the old value any more."""
        guard = self.program.guard
        after = -1 if guard is None else self.first.get(self.program.outputs[guard], -1)
        self._keep_what_is_handed_on()
        taken: set[int] = set()
        for name, to in self.program.donations.items():
            number, target = self.program.outputs[name], self.program.inputs[to]
            at = self.first.get(number, -1)
            free = at > after and self.last.get(target, -1) <= at and number not in taken
            # What is packed is made in its place long before: the old value may be read till then.
            direct = number not in self.base and number not in self.arrays
            direct = direct and self.code[at].op != "pack"
            reads_it = at >= 0 and self.code[at].op != CHAIN and self.last.get(target) == at
            if free and direct and not reads_it:
                self.arrays[number] = state[to]
                taken.add(number)
            else:
                self.late.append((state[to], number))
                self.last[self.base.get(number, number)] = len(self.code)

    def _keep_what_is_handed_on(self) -> None:
        """An input that is itself a new state is read at the end: nothing is made in its place."""
        for name, to in self.program.donations.items():
            number = self.program.outputs[name]
            if number in self.arrays and number != self.program.inputs[to]:
                self.last[number] = len(self.code)

    # -- flat storage of gradients ----------------------------------------------------------------

    def _place_packs(self) -> None:
        """Let what is packed be made in its place at once."""
        for instruction in self.code:
            if instruction.op != "pack":
                continue
            (out,) = instruction.outs
            value, start = self.program.values[out], 0
            if out not in self.arrays:
                self.arrays[out] = aligned_array(value.shape, value.dtype)
            for number in instruction.reads:
                size = self.program.values[number].size
                self._place_in(self.arrays[out][start : start + size], number)
                start += size

    def _place_in(self, slot: Any, number: int) -> None:
        base = self.base.get(number, number)
        whole = number in self._contiguous and self.program.values[base].size == slot.size
        if whole and base in self.first and base not in self.arrays:
            self.arrays[base] = slot.reshape(self.program.values[base].shape)

    # -- the rest ---------------------------------------------------------------------------------

    def _place_rest(self) -> None:
        needs: dict[int, Need] = {}
        for number, at in self.first.items():
            if number not in self.arrays and number not in self.base:
                value = self.program.values[number]
                size = max(nbytes(value.shape, value.dtype), 64)
                needs[number] = Need(size, at, self.last.get(number, at))
        self.arena = Arena(needs)
        for number in needs:
            value = self.program.values[number]
            self.arrays[number] = self.arena.array(number, value.shape, value.dtype)

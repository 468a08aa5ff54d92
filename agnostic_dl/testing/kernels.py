"""check_kernels: does every kernel equal the reference of its primitive?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from agnostic_dl import plugins
from agnostic_dl.backend import Backend
from agnostic_dl.backends import create
from agnostic_dl.errors import ConformanceError
from agnostic_dl.primitives.chains import CHAIN
from agnostic_dl.primitives.program import DTYPE, Instruction, Literal
from agnostic_dl.testing.calls import Call, calls_of, known, large_calls
from agnostic_dl.testing.chains import ChainCase, chain_cases
from agnostic_dl.testing.comparing import compare, compare_call, dtype_name, equal, numbers
from agnostic_dl.testing.masked import BACKWARD, MASKED, references, run_pair, views
from agnostic_dl.testing.report import Broken, NotRun, Report, judge

#: How many random calls of each kernel, each in three forms.
COUNT = 12
#: How many random chains, each in four forms.
CHAINS = 16


@dataclass(frozen=True)
class Subject:
    """A backend and the kernels to be checked."""

    backend: Backend
    kernels: Mapping[str, Callable[..., Any]]


def check_kernels(name: str) -> Report:
    """Check the kernels of the plugin ``<backend>.<name>``, or all that a backend has of its own.

    Each is called with random arguments of many forms, and compared with its primitive's reference
    in values, shape and dtype. Returns the report, or raises ConformanceError with all that failed,
    also where nothing was compared.
    """
    subject = _subject(name)
    rules = {kernel: partial(compare_kernel, name=kernel) for kernel in sorted(subject.kernels)}
    report = judge(subject, f"kernels {name!r}", rules).require()
    if not any(finding.outcome == "passed" for finding in report.findings):
        raise ConformanceError(
            f"nothing was compared: there are no kernels here, or they decline every call\n{report}"
        )
    return report


def _subject(name: str) -> Subject:
    backend = create(name.partition(".")[0], kernels=())
    if "." not in name:
        return Subject(backend, backend.kernels)
    return Subject(backend, plugins.load_kernels(name, backend.name).kernels)


def compare_kernel(subject: Subject, name: str) -> str:
    """Compare one kernel of the subject with its reference: how many calls it took, in words."""
    if name == CHAIN:
        return compare_chains(subject, name)
    if not known(name):
        raise Broken("there is no primitive of this name: it would never be called")
    kernel = subject.kernels[name]
    if not callable(kernel):
        raise Broken(f"expected a function, got {type(kernel).__name__}")
    if name in MASKED:
        return compare_masked(subject)
    taken = declined = 0
    for call in _variants(name, subject.backend):
        found = check_call(subject.backend, kernel, call)
        if hasattr(kernel, "bind"):
            found = check_bound(subject.backend, kernel, call) or found
        taken, declined = taken + found, declined + (not found)
    return _counted("calls", taken, declined)


def compare_masked(subject: Subject) -> str:
    """Compare batch norm behind ReLU and its gradients, which belong together."""
    missing = [name for name in MASKED if name not in subject.kernels]
    if missing:
        raise Broken(f"{missing[0]} is missing: nobody else can read the other's mask")
    backend, found = subject.backend, []
    for variant in _variants(BACKWARD, backend):
        for call in views(backend.xp, variant):
            got = run_pair(backend.xp, subject.kernels, call)
            found.append(got is not None)
            if got is not None:
                expected = references(backend.xp, call)
                for one, other in zip(got, expected, strict=True):
                    compare(backend, str(call), one, backend, other)
    return _counted("calls", sum(found), found.count(False))


def _counted(what: str, taken: int, declined: int) -> str:
    if not taken:
        raise NotRun(f"it declines all {declined} {what}")
    return f"{taken} {what}" + (f", {declined} declined" if declined else "")


def compare_chains(subject: Subject, name: str) -> str:
    """Compare a kernel for chains with the references of their instructions, also in place."""
    kernel, xp = subject.kernels[name], subject.backend.xp
    if not callable(getattr(kernel, "bind", None)):
        raise Broken(f"expected a kernel with `bind`, got {type(kernel).__name__}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NaN and infinities, which some chains are given
        found = [check_chain(subject.backend, kernel, case) for case in chain_cases(xp, CHAINS)]
    return _counted("chains", sum(found), found.count(False))


def _variants(name: str, backend: Backend) -> Iterator[Call]:
    """Calls in float64 and float32, contiguous and not."""
    xp = backend.xp
    yield from large_calls(name, xp)
    for call in calls_of(name, xp, COUNT):
        yield call
        yield _map(call, lambda a: _single(xp, a))
        yield _map(call, lambda a: _spread(xp, a))


def _map(call: Call, change: Callable[[Any], Any]) -> Call:
    def of(value: Any) -> Any:
        return change(value) if hasattr(value, "dtype") and hasattr(value, "shape") else value

    return Call(call.primitive, tuple(map(of, call.arrays)), call.static)


def _single(xp: Any, array: Any) -> Any:
    return xp.astype(array, xp.float32) if array.dtype == xp.float64 else array


def _spread(xp: Any, array: Any) -> Any:
    """The same numbers, not contiguous: every second of a larger array."""
    if not array.shape:
        return array
    return xp.stack([array, xp.zeros_like(array)], axis=array.ndim)[..., 0]


def check_call(backend: Backend, kernel: Callable[..., Any], call: Call) -> bool:
    """Compare one call with the reference; False where the kernel declines it."""
    before = [numbers(backend, a) for a in call.arrays if hasattr(a, "shape")]
    try:
        got = kernel(backend.xp, *call.arrays, **call.static)
    except Exception as error:
        raise Broken(f"{call} raises {type(error).__name__}: {error}") from error
    if any(
        not equal(numbers(backend, a), kept)
        for a, kept in zip((a for a in call.arrays if hasattr(a, "shape")), before, strict=True)
    ):
        raise Broken(f"{call} writes into an argument")
    if got is NotImplemented:
        return False
    compare_call(backend, call, got, backend, call.reference(backend.xp))
    return True


def check_bound(backend: Backend, kernel: Any, call: Call) -> bool:
    """Compare one call of a kernel that is bound to its arrays first; False: it declines."""
    numbers = iter(range(len(call.arrays)))
    arrays = [a for a in call.arrays if hasattr(a, "shape")]
    ins = tuple(next(numbers) if hasattr(a, "shape") else Literal(a) for a in call.arrays)
    expected = call.reference(backend.xp)
    several = isinstance(expected, tuple)
    made = list(expected) if several else [expected]
    static = dict(call.static)
    if DTYPE in static and static[DTYPE] is not None:
        static[DTYPE] = dtype_name(static[DTYPE])
    outs = tuple(range(len(arrays), len(arrays) + len(made)))
    instruction = Instruction(call.primitive.name, ins, outs, static, several)
    return _check_binding(backend, kernel, instruction, list(call.arrays), made, {}, str(call))


def check_chain(backend: Backend, kernel: Any, case: ChainCase) -> bool:
    """Compare one chain with the references of its instructions; False: it declines."""
    return _check_binding(
        backend, kernel, case.chain, case.arrays, case.expected, case.taken_over, str(case)
    )


def _check_binding(
    backend: Backend, kernel: Any, instruction: Instruction, operands: list[Any],
    expected: list[Any], taken_over: Mapping[int, int], what: str,
) -> bool:  # fmt: skip
    """Bind once and call twice, on memory that is filled anew; *taken_over*: output → operand."""
    xp = backend.xp
    if any(not hasattr(out, "shape") for out in expected):
        return False
    given = [_plain(xp, a) if k in taken_over.values() else a for k, a in enumerate(operands)]
    outs = [
        given[taken_over[k]] if k in taken_over else xp.zeros_like(_plain(xp, out))
        for k, out in enumerate(expected)
    ]
    kept = [_plain(xp, a) if hasattr(a, "shape") else a for a in operands]
    try:
        call = kernel.bind(instruction, given, outs)
        for _ in range(0 if call is None else 2):
            for array, values in zip(given, kept, strict=True):
                if hasattr(array, "shape"):
                    array[...] = values
            call()
            for k, (out, right) in enumerate(zip(outs, expected, strict=True)):
                compare(backend, f"{what}: output {k}", out, backend, right)
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"{what} raises {type(error).__name__}: {error}") from error
    for k, (array, values) in enumerate(zip(given, kept, strict=True)):
        may_change = k in taken_over.values() or not hasattr(array, "shape")
        if not may_change and not equal(numbers(backend, array), numbers(backend, values)):
            raise Broken(f"{what} writes into an argument")
    return call is not None


def _plain(xp: Any, array: Any) -> Any:
    """The same numbers in memory of their own that lies in order."""
    flat = xp.asarray(xp.reshape(array, (-1,)), copy=True)
    return xp.reshape(flat, array.shape)

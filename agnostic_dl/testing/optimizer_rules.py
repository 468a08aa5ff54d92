"""The rules that every optimizer keeps; each raises Broken, or returns a remark."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

from agnostic_dl.contract import optimizer_problem
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.raw import raw_update, scalar_arrays
from agnostic_dl.optim.update import declared_scalars, step
from agnostic_dl.testing.libraries import Library, installed, library, require
from agnostic_dl.testing.report import Broken, NotRun
from agnostic_dl.testing.walks import (
    RATE,
    SHAPES,
    Subject,
    any_library,
    finite,
    numbers_of,
    same,
    walk,
)
from agnostic_dl.testing.watched import Watched, WatchedNamespace

# -- form ------------------------------------------------------------------------------------------


def protocol(subject: Subject) -> str | None:
    """A frozen dataclass derived from Optimizer, whose methods take and give what they should."""
    optimizer = subject.optimizer
    kind = type(optimizer)
    problem = optimizer_problem(kind)
    if problem:
        raise Broken(f"{kind.__name__}{problem}")
    if not isinstance(optimizer, Optimizer):
        raise Broken(f"{kind.__name__} does not derive from agnostic_dl.extend.Optimizer")
    if not kind.__dataclass_params__.frozen:
        raise Broken(f"{kind.__name__}: expected @dataclass(frozen=True)")
    if not isinstance(optimizer.elementwise, bool):
        raise Broken(f"elementwise: expected True or False, got {optimizer.elementwise!r}")
    _check_scalars(optimizer)
    _check_state(optimizer)
    return None


def _check_scalars(optimizer: Any) -> None:
    for t in (1, 2, 1000, 1_000_000):
        numbers = optimizer.scalars(RATE, t)
        bad = [n for n, v in numbers.items() if not isinstance(v, (int, float))]
        bad = bad or [n for n, v in numbers.items() if not math.isfinite(v)]
        if bad:
            raise Broken(f"scalars(learning_rate={RATE}, step={t}): {bad[0]} = {numbers[bad[0]]!r}")
    missing = sorted((declared_scalars(optimizer) or frozenset()) - set(optimizer.scalars(RATE, 1)))
    if missing:
        raise Broken(f"update asks for {', '.join(missing)}, which scalars does not give")


def _check_state(optimizer: Any) -> None:
    lib = any_library()
    param = lib.array((4, 3), 1)
    state = optimizer.init(lib.xp, param)
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise Broken(f"init: expected a dict of arrays by name, got {state!r}")
    for key, value in state.items():
        if tuple(getattr(value, "shape", ("not an array",))) not in ((4, 3), ()):
            raise Broken(f"init: {key!r} must be an array of param's shape, or 0-d")
    numbers = scalar_arrays(optimizer, lib.xp, RATE, 1, param.dtype)
    result = optimizer.update(lib.xp, param, lib.array((4, 3), 2), state, **numbers)
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise Broken(f"update: expected (param, state), got {type(result).__name__}")
    if set(result[1]) != set(state):
        raise Broken(f"update: state has {sorted(result[1])}, init gave {sorted(state)}")


# -- purity, dtype, shape, device ------------------------------------------------------------------


def purity(subject: Subject) -> str | None:
    """Nothing that it is given is written to, itself included; read-only arrays pass."""
    optimizer, lib = subject.optimizer, any_library()
    before = copy.deepcopy(vars(optimizer))
    param, grad = lib.array((4, 3), 1), lib.array((4, 3), 2)
    state = walk(optimizer, lib, (4, 3)).state
    numbers = scalar_arrays(optimizer, lib.xp, RATE, 3, param.dtype)
    given = {"param": param, "grad": grad, **{f"state[{k!r}]": v for k, v in state.items()}}
    given.update(numbers)
    kept = {name: lib.numbers(array) for name, array in given.items()}
    first = raw_update(optimizer, lib.xp, param, grad, dict(state), dict(numbers))
    _unchanged(lib, given, kept)
    for array in given.values():
        if hasattr(array, "flags") and hasattr(array, "setflags"):
            array.setflags(write=False)
    again = raw_update(optimizer, lib.xp, param, grad, dict(state), dict(numbers))
    same("the same step made twice", lib.numbers(again[0]), lib.numbers(first[0]), 0.0)
    own = dict(state)
    raw_update(optimizer, lib.xp, param, grad, own, dict(numbers))
    if any(own.get(key) is not value for key, value in state.items()) or len(own) != len(state):
        raise Broken("update writes into the dict of the state: return a new one")
    if vars(optimizer) != before:
        raise Broken("update changes the optimizer itself: what it remembers belongs in the state")
    return None


def _unchanged(lib: Library, given: dict[str, Any], kept: dict[str, list[float]]) -> None:
    for name, array in given.items():
        if lib.numbers(array) != kept[name]:
            raise Broken(f"update writes into {name}: return a new array")


def dtype(subject: Subject) -> str | None:
    """The param and its state keep their dtypes, float32 and float64, in every library."""
    for lib in map(library, installed()):
        for wanted in lib.dtypes:
            start = subject.optimizer.init(lib.xp, lib.array((4, 3), 1, wanted))
            end = walk(subject.optimizer, lib, (4, 3), dtype=wanted)
            found = {"param": end.param, **end.state}
            for name, array in found.items():
                expected = wanted if name == "param" else start[name].dtype
                if array.dtype != expected:
                    raise Broken(f"{lib.name}: {name} became {array.dtype}, expected {expected}")
    return f"float32 and float64 on {', '.join(installed())}"


def shape(subject: Subject) -> str | None:
    """0-d, zero-size, and arrays of every rank keep their shapes; so does each of the state."""
    for lib in map(library, installed()):
        for wanted in SHAPES:
            start = subject.optimizer.init(lib.xp, lib.array(wanted, 1))
            try:
                end = walk(subject.optimizer, lib, wanted)
            except Exception as error:
                raise Broken(f"{lib.name}, shape {wanted}: {error}") from error
            for name, array in end.state.items():
                if tuple(array.shape) != tuple(start[name].shape):
                    raise Broken(f"{lib.name}: {name} became {tuple(array.shape)} for {wanted}")
        got = numbers_of(lib, walk(subject.optimizer, lib, (4, 3), scattered=True))
        finite(got, f"{lib.name}, not contiguous")
    return None


def device(subject: Subject) -> str | None:
    """What it makes lies on the param's device, also where that is not the default one."""
    lib = require("strict")
    devices = lib.xp.__array_namespace_info__().devices()
    others = [place for place in devices if place != lib.xp.zeros(()).device]
    for place in others:
        try:
            lib.array((2,), 1, lib.xp.float32, place)
        except Exception:
            continue
        end = walk(subject.optimizer, lib, (4, 3), dtype=lib.xp.float32, device=place)
        for name, array in {"param": end.param, **end.state}.items():
            if array.device != place:
                raise Broken(f"{name} came to lie on {array.device}, the param on {place}")
    return f"on {len(others)} other devices of array-api-strict"


# -- the same everywhere ---------------------------------------------------------------------------


def portability(subject: Subject) -> str | None:
    """The same numbers in every library, raw and through the engine, strict at its strictest."""
    optimizer, base = subject.optimizer, any_library()
    for name in installed():
        lib = library(name)
        for wide in ("float32", "float64") if lib.precise else ("float32",):
            tolerance = 1e-10 if wide == "float64" else 1e-4
            of_base = walk(optimizer, base, (4, 3), dtype=getattr(base.xp, wide))
            expected = numbers_of(base, of_base)
            with lib.strictest():
                raw = walk(optimizer, lib, (4, 3), dtype=getattr(lib.xp, wide))
                same(f"{name} against {base.name}, {wide}", numbers_of(lib, raw), expected,
                      tolerance)  # fmt: skip
                through = _engine_walk(optimizer, lib, getattr(lib.xp, wide))
                same(f"{name} through the engine, {wide}", lib.numbers(through),
                      base.numbers(of_base.param), tolerance)  # fmt: skip
    return f"on {', '.join(installed())}"


def _engine_walk(optimizer: Any, lib: Library, dtype: Any) -> Any:
    param, state = lib.array((4, 3), 1, dtype), None
    for t in range(1, 5):
        grad = lib.array((4, 3), 1 + t, dtype)
        param, state = step(optimizer, param, grad, state, step=t, learning_rate=RATE)
    return param


def traceable(subject: Subject) -> str | None:
    """Learning rate and step may be 0-d arrays, and no value is looked at: it runs under a jit."""
    optimizer, lib = subject.optimizer, any_library()
    wanted = lib.best
    xp = WatchedNamespace(lib.xp)
    param: Any = Watched(lib.array((4, 3), 1))
    state = optimizer.init(xp, param)
    for t in range(1, 5):
        rate, number = (Watched(lib.xp.asarray(v, dtype=wanted)) for v in (RATE, float(t)))
        numbers = scalar_arrays(optimizer, xp, rate, number, wanted)
        grad = Watched(lib.array((4, 3), 1 + t))
        param, state = optimizer.update(xp, param, grad, state, **numbers)
    expected = walk(optimizer, lib, (4, 3)).param
    same("with 0-d arrays for learning rate and step", lib.numbers(param.data),
          lib.numbers(expected), 1e-9)  # fmt: skip
    return _under_jax(optimizer) if "jax" in installed() else None


def _under_jax(optimizer: Any) -> str:
    import importlib

    lib, jax = library("jax"), importlib.import_module("jax")

    def one(param: Any, grad: Any, state: Any, rate: Any, number: Any) -> Any:
        numbers = scalar_arrays(optimizer, lib.xp, rate, number, param.dtype)
        return raw_update(optimizer, lib.xp, param, grad, state, numbers)

    compiled = jax.jit(one)
    param = lib.array((4, 3), 1)
    state = optimizer.init(lib.xp, param)
    for t in range(1, 5):
        rate, number = (lib.xp.asarray(v, dtype=lib.best) for v in (RATE, float(t)))
        param, state = compiled(param, lib.array((4, 3), 1 + t), state, rate, number)
    # float32 cannot hold 1 - βᵗ to more than some 1e-4 in the first steps.
    same("under jax.jit", lib.numbers(param), lib.numbers(walk(optimizer, lib, (4, 3)).param),
          1e-3)  # fmt: skip
    return "also under jax.jit"


def elementwise(subject: Subject) -> str | None:
    """A declared `elementwise` is true: flat and separate runs agree, zeros stay finite."""
    optimizer, lib = subject.optimizer, any_library()
    if not optimizer.elementwise:
        raise NotRun("not declared")
    xp, count = lib.xp, 17
    param, grads = lib.array((count,), 1), [lib.array((count,), 2 + t) for t in range(4)]
    whole = _flat_walk(optimizer, lib, param, grads)
    for part in (slice(0, 5), slice(5, count)):
        alone = _flat_walk(optimizer, lib, param[part], [grad[part] for grad in grads])
        same("an array in two parts against the whole", lib.numbers(alone),
              lib.numbers(whole[part]), 1e-13)  # fmt: skip
    square = _flat_walk(optimizer, lib, xp.reshape(param[:12], (3, 4)),
                        [xp.reshape(grad[:12], (3, 4)) for grad in grads])  # fmt: skip
    same("a matrix against the flat array", lib.numbers(square), lib.numbers(whole[:12]), 1e-13)
    turned = _flat_walk(optimizer, lib, xp.flip(param), [xp.flip(grad) for grad in grads])
    same("the array in another order", lib.numbers(xp.flip(turned)), lib.numbers(whole), 1e-13)
    nothing = xp.zeros_like(param)
    padding = _flat_walk(optimizer, lib, nothing, [nothing] * 4)
    finite(lib.numbers(padding), "a padding of zeros")
    return None


def _flat_walk(optimizer: Any, lib: Library, param: Any, grads: list[Any]) -> Any:
    state = optimizer.init(lib.xp, param)
    for t, grad in enumerate(grads, start=1):
        numbers = scalar_arrays(optimizer, lib.xp, RATE, t, param.dtype)
        param, state = raw_update(optimizer, lib.xp, param, grad, state, numbers)
    return param


def resume(subject: Subject) -> str | None:
    """Loaded into a new optimizer it goes on to the bit: all that it knows is in the state."""
    optimizer, lib = subject.optimizer, any_library()
    grads = [lib.array((4, 3), 2 + t) for t in range(8)]
    runs = [_halves(optimizer, lib, grads, renew) for renew in (False, True)]
    same("saved and loaded after step 4", lib.numbers(runs[1]), lib.numbers(runs[0]), 0.0)
    return None


def _halves(optimizer: Any, lib: Library, grads: list[Any], renew: bool) -> Any:
    param = lib.array((4, 3), 1)
    state = optimizer.init(lib.xp, param)
    for t, grad in enumerate(grads, start=1):
        if renew and t == 5:
            optimizer = dataclasses.replace(optimizer)
            state = {key: lib.xp.asarray(value, copy=True) for key, value in state.items()}
        numbers = scalar_arrays(optimizer, lib.xp, RATE, t, param.dtype)
        param, state = raw_update(optimizer, lib.xp, param, grad, state, numbers)
    return param

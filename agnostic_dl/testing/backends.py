"""check_backend: does a backend compute, draw, and bring to the host what the others do?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agnostic_dl import plugins, random
from agnostic_dl.backend import Backend
from agnostic_dl.backends import create, use_backend
from agnostic_dl.errors import AgnosticDLError
from agnostic_dl.testing.calls import Call, calls_of
from agnostic_dl.testing.comparing import compare, compare_call
from agnostic_dl.testing.report import Broken, NotRun, Report, judge
from agnostic_dl.testing.table import OPERATIONS

NEEDED = ("bool", "int32", "int64", "float32", "float64")
SEED = 7


@dataclass(frozen=True)
class Subject:
    """A backend by name, and NumPy's, whose reference forwards it is compared with."""

    name: str
    backend: Backend
    host: Backend


def protocol(subject: Subject) -> str:
    """It has a name, a cheap probe, a namespace, and the dtypes that training needs."""
    backend = subject.backend
    if backend.name != subject.name:
        raise Broken(f"its class is called {backend.name!r}, the entry point {subject.name!r}")
    if not isinstance(backend, Backend):
        raise Broken(f"{type(backend).__name__} does not derive from agnostic_dl.extend.Backend")
    missing = [name for name in NEEDED if name not in backend.dtypes]
    if missing:
        raise Broken(f"dtypes lacks {', '.join(missing)}")
    if not isinstance(backend.xp.zeros((2,)), backend.array_type):
        raise Broken(f"xp makes arrays that are not of array_type {backend.array_type.__name__}")
    if not callable(backend.synchronize):
        raise Broken("synchronize must be a method")
    backend.synchronize()
    return f"{len(backend.dtypes)} dtypes"


def round_trip(subject: Subject) -> str:
    """Host data of every dtype and shape come back the same; its own arrays are taken as well."""
    backend, host = subject.backend, subject.host
    for name in backend.dtypes:
        if name not in host.dtypes:
            continue
        for shape in ((), (0,), (3,), (2, 3)):
            data = host.xp.astype(host.xp.ones(shape) * (4 / 3), host.dtypes[name])
            array = backend.asarray(data)
            if not isinstance(array, backend.array_type):
                raise Broken(f"asarray gives {type(array).__name__}, not its own array_type")
            for taken in (array, backend.asarray(array)):
                back, known = backend.to_numpy(taken), host.to_numpy(data)
                if (back.dtype, back.shape) != (known.dtype, known.shape):
                    raise Broken(f"{name}{shape} came back as {back.dtype}{back.shape}")
                if back.tobytes() != known.tobytes():
                    raise Broken(f"{name}{shape} came back with other numbers")
    given = backend.asarray([1, 2], dtype="float32")
    if given.dtype != backend.dtypes["float32"]:
        raise Broken(f"asarray(..., dtype='float32') gives {given.dtype}")
    return f"{len(backend.dtypes)} dtypes"


def random_numbers(subject: Subject) -> str:
    """Integers and uniforms equal the host's to the bit, normals to the last places."""
    backend, host, key = subject.backend, subject.host, random.key(SEED)
    for name in ("float32", "float64"):
        drawn, known = (
            random.uniform(b.xp, key, (5, 3), b.dtypes[name], device=b.device)
            for b in (backend, host)
        )
        _bits(subject, f"uniforms in {name}", drawn, known)
    drawn, known = (random.permutation(b.xp, key, 50, device=b.device) for b in (backend, host))
    _bits(subject, "a permutation", drawn, known)
    drawn, known = (
        random.normal(b.xp, key, (40,), b.dtypes["float64"], device=b.device)
        for b in (backend, host)
    )
    compare(backend, "normals", drawn, host, known)
    return "uniforms, a permutation, normals"


def _bits(subject: Subject, what: str, drawn: Any, known: Any) -> None:
    ours, theirs = subject.backend.to_numpy(drawn), subject.host.to_numpy(known)
    if ours.dtype != theirs.dtype or ours.tobytes() != theirs.tobytes():
        raise Broken(f"{what}: other bits than on {subject.host.name}")


def primitives(subject: Subject) -> str:
    """Every primitive gives what its reference gives on NumPy; a library may lack what is rare."""
    lacking, wrong, count = [], [], 0
    for name in sorted(OPERATIONS):
        try:
            for call in calls_of(name, subject.host.xp, 4):
                _compare_call(subject, call)
                count += 1
        except _Lacking:
            lacking.append(name)
        except Broken as error:
            wrong.append(str(error))
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise Broken("; ".join(wrong[:3]) + more)
    lacks = f"; not in this library: {', '.join(lacking)}" if lacking else ""
    return f"{len(OPERATIONS) - len(lacking)} of {len(OPERATIONS)} in {count} calls{lacks}"


class _Lacking(Exception):
    """The library does not have the function that the primitive is made of."""


def _compare_call(subject: Subject, call: Call) -> None:
    backend, host = subject.backend, subject.host
    expected = call.reference(host.xp)
    arrays = tuple(_moved(subject, array) for array in call.arrays)
    static = {key: _static(subject, key, value) for key, value in call.static.items()}
    try:
        with use_backend(backend):
            got = call.primitive.run(arrays, static)
    except (AttributeError, NotImplementedError) as error:
        raise _Lacking from error
    except Exception as error:
        raise Broken(f"{call} raises {type(error).__name__}: {error}") from error
    compare_call(backend, call, got, host, expected)


def _moved(subject: Subject, value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_moved(subject, item) for item in value)
    # By its dtype: NumPy's scalars have had a namespace since 2.1 only.
    return subject.backend.asarray(value) if hasattr(value, "dtype") else value


def _static(subject: Subject, key: str, value: Any) -> Any:
    """A dtype or device of the host's library as the backend's; all else as it is."""
    if key == "device" and value is not None:
        from array_api_compat import device

        return device(subject.backend.xp.zeros(()))
    for name, dtype in subject.host.dtypes.items():
        if value is dtype or (isinstance(value, type(dtype)) and value == dtype):
            return subject.backend.dtypes[name]
    return value


def gradients(subject: Subject) -> str:
    """A small network's gradients equal NumPy's."""
    from agnostic_dl import nn
    from agnostic_dl.autograd import Tensor, grad
    from agnostic_dl.nn import losses

    def of(backend: Backend) -> Any:
        key = random.key(SEED)
        numbers = [
            random.normal(subject.host.xp, random.fold(key, k), shape, subject.host.xp.float64)
            for k, shape in enumerate(((2, 6, 6, 1), (3, 3, 1, 4), (36, 3)))
        ]
        x, weight, out = (backend.asarray(array) for array in numbers)
        labels = backend.asarray(subject.host.xp.asarray([0, 2]))

        def loss(weight: Any, out: Any) -> Any:
            hidden = nn.functional.relu(nn.functional.conv2d(Tensor(x), weight, padding=1))
            pooled = nn.functional.max_pool2d(hidden, 2)
            flat = pooled.__array_namespace__().reshape(pooled, (2, 36))
            return losses.cross_entropy(flat @ out, Tensor(labels))

        with use_backend(backend):
            return grad(loss, argnums=(0, 1))(weight, out)

    for got, expected in zip(of(subject.backend), of(subject.host), strict=True):
        compare(subject.backend, "a gradient", got, subject.host, expected)
    return "a convolution, a max-pooling, a linear layer"


def absent_device(subject: Subject) -> str:
    """A device that is not there is an error of this library, in one line, at once."""
    devices = len(subject.backend.xp.__array_namespace_info__().devices())
    for device in ("no-such-device", 9999) if devices > 1 else ("no-such-device",):
        try:
            create(subject.name, device=device)
        except AgnosticDLError as error:
            if "\n" in str(error) or subject.name not in str(error):
                raise Broken(f"device={device!r}: expected one line with its name") from error
        except Exception as error:
            raise Broken(f"device={device!r} raises {type(error).__name__}: {error}") from error
        else:
            raise Broken(f"device={device!r} is accepted")
    return "a name and a number" if devices > 1 else "a name"


RULES = {
    "protocol": protocol,
    "round_trip": round_trip,
    "random_numbers": random_numbers,
    "primitives": primitives,
    "gradients": gradients,
    "absent_device": absent_device,
}


def check_backend(name: str) -> Report:
    """Check a backend against NumPy: its form, every primitive, random numbers, host round trips.

    Returns the report, or raises ConformanceError with every rule that failed. A backend that is
    installed but not available here raises BackendUnavailable.
    """
    backend = create(name)
    if "numpy" not in plugins.names("backend"):
        raise NotRun("the reference needs the backend numpy: install its plugin")
    return judge(Subject(name, backend, create("numpy")), f"backend {name!r}", RULES).require()

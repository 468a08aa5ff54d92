"""What the plugin asks of CuPy, held to the CuPy that is installed; none of it needs a GPU."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import device_compiler
import numpy as np
import pytest

import agnostic_dl_cupy
from agnostic_dl_cupy import backend as backends
from agnostic_dl_cupy import templates

cupy = pytest.importorskip("cupy", reason="CuPy is not installed: nothing to compare with")

SOURCES = Path(agnostic_dl_cupy.__file__).parent
TOOLS = Path(__file__).parents[3] / "tools" / "gpu_checks"
#: Methods of what CuPy returns, and how the plugin calls them: (name, positional, keywords).
METHODS = (
    ("ndarray.get", 0, ("out", "blocking")), ("ndarray.set", 1, ("stream",)),
    ("ndarray.astype", 1, ("copy",)), ("ndarray.copy", 0, ()), ("cuda.Device.use", 0, ()),
    ("cuda.Device.synchronize", 0, ()), ("cuda.Stream.begin_capture", 0, ()),
    ("cuda.Stream.end_capture", 0, ()), ("cuda.Stream.record", 1, ()),
    ("cuda.Stream.wait_event", 1, ()), ("cuda.Stream.synchronize", 0, ()),
    ("cuda.Stream.is_capturing", 0, ()), ("cuda.Event.synchronize", 0, ()),
    ("cuda.Graph.launch", 1, ()), ("cuda.Graph.upload", 1, ()), ("RawModule.get_function", 1, ()),
    ("RawKernel.__call__", 3, ()), ("cuda.MemoryPool.malloc", 1, ()),
)  # fmt: skip


def calls():
    """(file and line, dotted name within CuPy, positional arguments, names of keywords)."""
    for path in sorted([*SOURCES.rglob("*.py"), *TOOLS.glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (name := within_cupy(node.func)):
                keywords = tuple(k.arg for k in node.keywords)
                yield f"{path.name}:{node.lineno}", name, len(node.args), keywords


def attributes():
    for path in sorted([*SOURCES.rglob("*.py"), *TOOLS.glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if name := within_cupy(node):
                yield name


def within_cupy(node):
    """The dotted name that is asked of CuPy's module, as `cupy.NAME` or `self.cupy.NAME`."""
    names = []
    while isinstance(node, ast.Attribute):
        if names and node.attr in ("cupy", "_cupy"):
            return ".".join(reversed(names))
        names.append(node.attr)
        node = node.value
    called = isinstance(node, ast.Name) and node.id == "cupy"
    return ".".join(reversed(names)) if called and names else None


def named(name):
    found = cupy
    for part in name.split("."):
        found = getattr(found, part)
    return found


def parameters(name):
    """The signature of one of CuPy's functions; compiled ones have it in their docstring."""
    function = named(name)
    try:
        return inspect.signature(function)
    except ValueError:
        head = (function.__doc__ or "").strip().split("\n")[0]
        given = re.match(r"[\w.]+\((.*)\)", head)
        assert given, f"{name} does not tell its parameters: {head!r}"
        return inspect.Signature(list(_parsed(given[1])))


def _parsed(text):
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, has_default, _ = part.partition("=")
        name = name.split(":")[0].split()[-1]
        if name.lstrip("\\") == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
        elif name.startswith("**"):
            yield inspect.Parameter(name[2:], inspect.Parameter.VAR_KEYWORD)
        else:
            default = None if has_default else inspect.Parameter.empty
            yield inspect.Parameter(name, kind, default=default)


def test_every_name_that_is_asked_for_is_there():
    asked = set(attributes())
    assert {"cuda.Stream", "RawModule", "copyto", "cuda.using_allocator"} <= asked
    missing = []
    for name in asked:
        try:
            named(name)
        except AttributeError:
            missing.append(name)
    assert missing == []


def test_every_call_fits_the_functions_parameters():
    found = [*calls()]
    assert {"cuda.Event", "asarray", "RawKernel"} <= {name for _, name, *_ in found}
    for where, name, positional, keywords in found:
        bind(where, name, positional, keywords)


@pytest.mark.parametrize(("name", "positional", "keywords"), METHODS, ids=[m[0] for m in METHODS])
def test_every_method_takes_what_it_is_given(name, positional, keywords):
    bound = 1 if "self" in parameters(name).parameters else 0
    bind(name, name, positional + bound, keywords)


def bind(where, name, positional, keywords):
    try:
        parameters(name).bind(*range(positional), **dict.fromkeys(keywords))
    except TypeError as error:
        pytest.fail(f"{where}: cupy.{name}({positional} arguments, {keywords}): {error}")


def test_a_call_that_does_not_fit_is_noticed():
    with pytest.raises(pytest.fail.Exception, match="unexpected keyword argument 'blocks'"):
        bind("here", "asarray", 1, ("blocks",))
    with pytest.raises(pytest.fail.Exception, match="too many positional"):
        bind("here", "ndarray.set", 4, ())


@pytest.fixture(scope="module")
def options():
    """What CuPy passes to NVRTC for a kernel of ours, all of it."""
    from cupy._core import core
    from cupy.cuda import compiler

    given = []

    class Program:
        def __init__(self, *source, **how):
            pass

        def compile(self, options, log_stream=None):
            given.extend(options)
            raise Given

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "_NVRTCProgram", Program)
        # What would ask the device or load a library.
        patch.setattr(compiler, "_preprocess", lambda *asked: "")
        patch.setattr(compiler, "_get_nvrtc_version", lambda: (13, 0))
        patch.setattr(
            compiler, "_get_arch_for_options_for_nvrtc", lambda arch: (f"-arch=sm_{arch}", "cubin")
        )
        patch.setenv("CUPY_CACHE_IN_MEMORY", "1")
        try:
            core.compile_with_cache(
                "", templates.OPTIONS, arch="90", prepend_cupy_headers=False, backend="nvrtc"
            )
        except RuntimeError as error:
            pytest.skip(f"CuPy does not get as far as its compiler here: {error}")
        except Given:
            pass
    return given


class Given(Exception):
    """The compiler was called."""


def test_the_checks_without_a_gpu_compile_with_the_options_that_cupy_passes(options):
    ours = [o for o in options if not o.startswith(("-I", "-arch="))]
    assert sorted(ours) == sorted([*templates.OPTIONS, *device_compiler.CUPYS])


@pytest.mark.parametrize("unit", sorted(templates.UNITS))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_short_types_compile_with_the_headers_that_cupy_puts_first(unit, dtype, options):
    device_compiler.require()
    (variant, *_) = (v for v in templates.variants() if (v.unit, v.dtype) == (unit, dtype))
    made = device_compiler.compiled_with(templates.source(variant), options)
    assert sorted(made.kernels) == sorted(templates.UNITS[unit])


def test_without_a_device_it_says_so_and_does_not_fail_in_cupy():
    if cupy.is_available():
        pytest.skip("a GPU is here")
    assert backends.CupyBackend.probe() is not None


def test_bfloat16_is_a_dtype_of_cupys_too():
    """CuPy computes with it where NumPy and ml_dtypes are new enough."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent")
    kind = np.dtype(ml_dtypes.bfloat16)
    pair = kind.char * 2
    for name in ("add", "multiply", "subtract", "divide", "maximum", "greater", "isfinite"):
        types = getattr(cupy, name).types
        assert any(t.partition("->")[0] in (pair, kind.char) for t in types), name

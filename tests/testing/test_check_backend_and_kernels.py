"""The kits of backends and kernels, and deliberately wrong ones that each rule catches."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import errors
from agnostic_dl.errors import ConformanceError
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.testing import check_backend, check_kernels
from agnostic_dl.testing.backends import RULES, Subject
from agnostic_dl.testing.kernels import Subject as KernelSubject
from agnostic_dl.testing.kernels import compare_kernel
from agnostic_dl.testing.report import judge
from agnostic_dl.testing.table import OPERATIONS

NUMPY = adl.get_backend("numpy")
Base = type(NUMPY)


@pytest.mark.parametrize("name", ["numpy", "strict"])
def test_the_first_party_backends_keep_every_rule(name):
    assert check_backend(name).passed


def test_the_numpy_kernels_equal_their_references():
    report = check_kernels("numpy")
    assert {finding.rule for finding in report.findings} == set(NUMPY.own_kernels())
    # That of `clip` is for short floats alone, which the backend's own tests have.
    assert [f.rule for f in report.findings if f.outcome == "skipped"] == ["clip"]


def test_every_primitive_is_in_the_table():
    assert set(OPERATIONS) == set(PRIMITIVES)


class Misnamed(Base):
    name = "other"


class Doubles(Base):
    def asarray(self, obj, dtype=None):
        array = super().asarray(obj, dtype)
        return array.astype("float64") if array.dtype == "float32" else array


class Floats32OnTheHost(Base):
    def to_numpy(self, array):
        array = super().to_numpy(array)
        return array.astype("float32") if array.dtype == "float64" else array


class OtherBits(Base):
    @property
    def xp(self):
        class Library:
            __name__ = "tampered"

            def __getattr__(self, name):
                return getattr(NUMPY.xp, name)

            def bitwise_xor(self, x, y):
                return NUMPY.xp.bitwise_xor(x, y) ^ x.dtype.type(1)

        return Library()


class WrongKernel(Base):
    def own_kernels(self):
        return {"exp": lambda xp, x: xp.exp(x) * (1 + 1e-6)}


class WrongGradient(Base):
    def own_kernels(self):
        return {"relu_grad": lambda xp, g, out: g}


class TakesAnyDevice(Base):
    def __init__(self, device=None):
        super().__init__(None)


WRONG = {
    Misnamed: "protocol", Doubles: "round_trip", Floats32OnTheHost: "round_trip",
    OtherBits: "random_numbers", WrongKernel: "primitives", WrongGradient: "gradients",
    TakesAnyDevice: "absent_device",
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda kind: kind.__name__)
def test_a_wrong_backend_is_caught_by_the_rule_that_names_it(wrong, monkeypatch):
    from agnostic_dl import plugins

    real = plugins.lookup

    def lookup(kind, name):
        return wrong if name == "wrong" else real(kind, name)

    monkeypatch.setattr(plugins, "lookup", lookup)
    monkeypatch.setattr("agnostic_dl.backends._instances", {})
    monkeypatch.setattr("agnostic_dl.backends._by_array_type", {})
    if wrong is not Misnamed:
        monkeypatch.setattr(wrong, "name", "wrong")
    rule = WRONG[wrong]
    report = judge(Subject("wrong", wrong(), Base()), "wrong", {rule: RULES[rule]})
    assert report.failures, report


def test_every_rule_of_backends_has_a_wrong_one():
    assert set(WRONG.values()) == set(RULES)


def _writes(xp, x, **static):
    x[...] = 0
    return x


KERNELS = {
    "wrong numbers": ("exp", lambda xp, x: xp.exp(x) + 1e-6, "off by"),
    "wrong shape": ("exp", lambda xp, x: xp.exp(x)[None], "has shape"),
    "wrong dtype": ("exp", lambda xp, x: xp.exp(x).astype("complex64"), "is complex64"),
    "writes": ("square", _writes, "writes into an argument"),
    "raises": ("exp", lambda xp, x: 1 / 0, "ZeroDivisionError"),
    "wrong signature": ("conv2d", lambda xp, x: x, "raises TypeError"),
    "unknown name": ("no_such_primitive", lambda xp, x: x, "no primitive of this name"),
    "not a function": ("exp", 3, "expected a function"),
    "ties": ("max_pool2d_grad", lambda xp, g, x, out, **static: xp.zeros_like(x), "off by"),
}


@pytest.mark.parametrize("case", KERNELS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_kernel_is_caught(case):
    name, kernel, message = KERNELS[case]
    subject = KernelSubject(NUMPY, {name: kernel})
    report = judge(subject, "wrong", {name: lambda s: compare_kernel(s, name)})
    assert message in str(report.failures[0])


class Chains:
    """A kernel for chains by the references, and what a wrong one does otherwise."""

    def forward(self, op, operands):
        return PRIMITIVES[op].forward(NUMPY.xp, *operands)

    def bind(self, chain, operands, outs):
        return lambda: self.run(chain, operands, outs)

    def run(self, chain, operands, outs):
        held = dict(zip(chain.reads, operands, strict=True))
        for step in chain.static["code"]:
            values = [held[i] if isinstance(i, int) else i.value for i in step.ins]
            held[step.outs[0]] = self.forward(step.op, values)
        for number, out in zip(chain.outs, outs, strict=True):
            out[...] = held[number]


class WritesEarly(Chains):
    """Writes an output as soon as it is made, where the old value may still be read."""

    def run(self, chain, operands, outs):
        held = dict(zip(chain.reads, operands, strict=True))
        places = dict(zip(chain.outs, outs, strict=True))
        for step in chain.static["code"]:
            values = [held[i] if isinstance(i, int) else i.value for i in step.ins]
            (number,) = step.outs
            held[number] = self.forward(step.op, values)
            if number in places:
                places[number][...] = held[number]


class LooksOnce(Chains):
    """Reads its operands when it is bound."""

    def bind(self, chain, operands, outs):
        copies = [array.copy() + (array.dtype.kind == "f") for array in operands]
        return lambda: self.run(chain, copies, outs)


class DropsNaN(Chains):
    def forward(self, op, operands):
        return np.fmax(*operands) if op == "maximum" else super().forward(op, operands)


class Rounds(Chains):
    def forward(self, op, operands):
        out = super().forward(op, operands)
        return out * out.dtype.type(1 + 1e-4) if op == "multiply" else out


class WritesNothing(Chains):
    def bind(self, chain, operands, outs):
        return lambda: self.run(chain, operands, [out.copy() for out in outs])


class WritesOperands(Chains):
    def run(self, chain, operands, outs):
        super().run(chain, operands, outs)
        for array in operands:
            if array.ndim and not any(array is out for out in outs):
                array[...] = 1


class Raises(Chains):
    def run(self, chain, operands, outs):
        raise ZeroDivisionError


CHAINS = {
    WritesEarly: "off by", LooksOnce: "off by", DropsNaN: "off by", Rounds: "off by",
    WritesNothing: "off by", WritesOperands: "writes into an argument",
    Raises: "raises ZeroDivisionError",
}  # fmt: skip


def judged(kernel, name="elementwise"):
    subject = KernelSubject(NUMPY, {name: kernel})
    return judge(subject, "chains", {name: lambda s: compare_kernel(s, name)})


def test_a_kernel_for_chains_by_the_references_is_right():
    (finding,) = judged(Chains()).findings
    assert finding.outcome == "passed", finding
    assert finding.message == "64 chains"


@pytest.mark.parametrize("wrong", CHAINS, ids=lambda kind: kind.__name__)
def test_a_wrong_kernel_for_chains_is_caught(wrong):
    assert CHAINS[wrong] in str(judged(wrong()).failures[0])


def test_a_kernel_for_chains_is_bound():
    assert "expected a kernel with `bind`" in str(judged(lambda xp, *arrays: None).failures[0])


class Bound:
    """A kernel of one primitive that plans bind; a wrong one adds *error*."""

    def __init__(self, error=0.0):
        self.error = error

    def __call__(self, xp, *arrays, **static):
        return NotImplemented

    def bind(self, instruction, operands, outs):
        def call():
            outs[0][...] = NUMPY.xp.exp(operands[0]) + self.error

        return call


def test_a_kernel_of_a_primitive_that_is_bound_is_judged_as_well():
    assert judged(Bound(), "exp").findings[0].outcome == "passed"
    assert "off by" in str(judged(Bound(1e-3), "exp").failures[0])


def test_a_kernel_that_declines_everything_is_not_judged():
    subject = KernelSubject(NUMPY, {"exp": lambda xp, x: NotImplemented})
    report = judge(subject, "shy", {"exp": lambda s: compare_kernel(s, "exp")})
    assert report.findings[0].outcome == "skipped"


def test_kernels_that_decline_everything_have_not_passed(monkeypatch):
    from agnostic_dl import plugins

    def offered(kernels):
        found = plugins.KernelSet(0, kernels, ())
        monkeypatch.setattr(plugins, "load_kernels", lambda name, backend: found)

    offered({"exp": lambda xp, x: NotImplemented})
    with pytest.raises(ConformanceError, match=r"nothing was compared(.|\n)*exp: it declines all"):
        check_kernels("numpy.idle")
    offered({})
    with pytest.raises(ConformanceError, match="no kernels here"):
        check_kernels("numpy.idle")


def test_a_backend_that_is_not_there():
    with pytest.raises(errors.UnknownNameError):
        check_backend("nowhere")
    assert np.float32  # NumPy is the oracle of this module

"""Factors of matrices that another library gives with other phases, or in another order."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.testing.backends import RULES, Subject
from agnostic_dl.testing.determined import determined
from agnostic_dl.testing.report import judge
from agnostic_dl.testing.table import OPERATIONS

Base = type(adl.get_backend("numpy"))

#: Factors of modulus 1, one for each vector, and another order of eigenvalues: equally right.
PHASES = np.array([-1.0, 1.0, -1.0])


def _turned(vectors):
    turned = vectors * PHASES[: vectors.shape[-1]].astype(vectors.dtype)
    return turned * np.exp(0.7j) if vectors.dtype.kind == "c" else turned


def _svd(xp, x, **static):
    u, s, vh = np.linalg.svd(x, **static)
    return _turned(u), s, np.conj(_turned(np.conj(vh.mT))).mT


def _qr(xp, x, **static):
    q, r = np.linalg.qr(x, **static)
    return _turned(q), np.conj(_turned(np.conj(r.mT))).mT


def _eigh(xp, x):
    values, vectors = np.linalg.eigh(x)
    return values, _turned(vectors)


def _eig(xp, x):
    values, vectors = (a.astype("complex128")[..., ::-1] for a in np.linalg.eig(x))
    return values, _turned(vectors)


def _eigvals(xp, x):
    return np.linalg.eigvals(x).astype("complex128")[..., ::-1]


OPEN = {"svd": _svd, "qr": _qr, "eigh": _eigh, "eig": _eig, "eigvals": _eigvals}


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
def test_another_librarys_phases_and_order_are_right_and_other_vectors_are_not(
    name, wrong, monkeypatch
):
    def kernel(xp, x, **static):
        out = OPEN[name](xp, x, **static)
        if not wrong:
            return out
        return out * 1.001 if name == "eigvals" else (*out[:-1], out[-1] * 1.001)

    class Other(Base):
        def own_kernels(self):
            return {f"linalg.{name}": kernel}

    known = {f"linalg.{name}": OPERATIONS[f"linalg.{name}"]}
    monkeypatch.setattr("agnostic_dl.testing.backends.OPERATIONS", known)
    subject = Subject("other", Other(), Base())
    report = judge(subject, "other", {"primitives": RULES["primitives"]})
    assert report.passed is not wrong, report


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("kind", ["real", "complex", "a turn", "of no rows"])
def test_what_is_determined_is_the_same_of_both(name, kind):
    draw = np.random.default_rng(0)
    x = draw.standard_normal((4, 3, 3))
    if kind == "complex":
        x = x + 1j * draw.standard_normal((4, 3, 3))
    elif kind == "a turn":  # its eigenvalues are conjugates
        x = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 2.0]])
    elif kind == "of no rows":
        x = np.zeros((2, 0, 0))
    if name == "eigh":
        x = x + np.conj(x.mT)
    if (name, kind) == ("svd", "a turn"):
        x = x * [1.0, 2.0, 3.0]  # or two of its singular values were one
    if (name, kind) == ("eigh", "a turn"):
        x = x * np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 3.0]])
    static = {"svd": {"full_matrices": False}}.get(name, {})
    outs = getattr(np.linalg, name)(x, **static), OPEN[name](None, x, **static)
    xp = adl.get_backend("numpy").xp
    if name.startswith("eig") and name != "eigh":  # NumPy's are real where they can be
        first = outs[0] if name == "eigvals" else outs[0].eigenvalues
        given = first.astype("complex128")
        whole = given if name == "eigvals" else (given, outs[0].eigenvectors.astype("complex128"))
        outs = whole, outs[1]
    ours, theirs = (determined(f"linalg.{name}", xp, x, out) for out in outs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)

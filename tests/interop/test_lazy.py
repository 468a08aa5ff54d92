"""The bridges cost nothing until they are used, and say what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
import agnostic_dl as adl
adl.interop.torch, adl.interop.optax
print([m for m in ("torch", "jax", "optax", "numpy") if m in sys.modules])
"""


def test_naming_a_bridge_imports_neither_framework():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["torch", "optax"])
def test_an_absent_framework_is_told(name, monkeypatch):
    import agnostic_dl as adl

    monkeypatch.setitem(sys.modules, name, None)
    call = {
        "torch": lambda: adl.interop.torch.optimizer("adam", []),
        "optax": lambda: adl.interop.optax.transform("adam"),
    }
    with pytest.raises(adl.errors.MissingExtraError, match=f"pip install {name}"):
        call[name]()

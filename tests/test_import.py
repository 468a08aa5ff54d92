"""What an import loads: nothing but the standard library, until a name is used."""

from __future__ import annotations

import json

import pytest

import agnostic_dl as adl

WATCHED = (
    "numpy", "pluggy", "array_api_compat", "array_api_extra", "array_api_strict", "torch", "PIL",
    "rich", "matplotlib", "safetensors", "typer", "agnostic_dl_numpy", "agnostic_dl_strict",
    "agnostic_dl_optimizers",
)  # fmt: skip


def loaded_after(python, source):
    """Which of the watched modules a fresh interpreter has loaded after *source*."""
    report = f"import sys, json; print(json.dumps([m for m in {WATCHED} if m in sys.modules]))"
    done = python(f"{source}\n{report}")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_no_array_library_and_no_plugin(python):
    assert loaded_after(python, "import agnostic_dl") == set()


def test_listing_what_is_installed_imports_no_plugin(python):
    loaded = loaded_after(
        python, "import agnostic_dl as a; a.list_plugins(), a.list_optimizers(), a.list_backends()"
    )
    assert not {m for m in loaded if m.startswith("agnostic_dl_")}
    assert "numpy" not in loaded


def test_asking_for_an_optimizer_imports_no_array_library(python):
    loaded = loaded_after(python, "import agnostic_dl as a; a.optimizer('adam')")
    assert "agnostic_dl_optimizers" in loaded
    assert not loaded & {"numpy", "agnostic_dl_numpy", "agnostic_dl_strict"}


def test_asking_for_one_backend_loads_no_other(python):
    loaded = loaded_after(python, "import agnostic_dl as a; a.get_backend('numpy').xp")
    assert "numpy" in loaded
    assert not loaded & {"agnostic_dl_strict", "array_api_strict", "torch"}


@pytest.mark.parametrize("name", [n for n in adl.__all__ if n != "testing"])
def test_every_public_name_is_an_attribute_after_a_plain_import(name):
    assert getattr(adl, name) is getattr(adl, name)
    assert name in dir(adl)


def test_submodules_are_attributes_in_a_fresh_interpreter(python):
    done = python(
        "import agnostic_dl as a\n"
        "for n in 'nn optim data train errors random extend losses models schedules'.split():\n"
        "    print(getattr(a, n).__name__)"
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 10


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'agnostic_dl' has no attribute 'tensor'"):
        _ = adl.tensor

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agnostic_dl import data
from agnostic_dl.data.host import needs_extra
from agnostic_dl.errors import MissingExtraError

PROJECT = Path(__file__).parents[2]


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def without(library: str, code: str) -> str:
    """What a fresh interpreter without that library prints."""
    return run(f"import sys; sys.modules[{library!r}] = None\n{code}")


def test_import_loads_nothing():
    code = "import sys, agnostic_dl.data; print({'numpy', 'PIL'} & set(sys.modules))"
    assert run(code) == "set()"


def test_digits_need_no_pillow():
    code = "import agnostic_dl.data as data; print(data.load('digits').image_shape)"
    assert without("PIL", code) == "(8, 8, 1)"


CATCH = """
import agnostic_dl.data as data
from agnostic_dl.errors import MissingExtraError
try:
    {}
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("library", "code", "name"),
    [
        ("numpy", "data.load('digits')", "NumPy"),
        ("PIL", "data.load_image('a.png', (8, 8, 1))", "Pillow"),
        ("PIL", "data.load('tests')", "Pillow"),
        ("PIL", "data.load('digits', image_size=9)", "Pillow"),
    ],
)
def test_the_extra_is_named(library, code, name):
    message = without(library, CATCH.format(code))
    assert message == (
        f"agnostic_dl.data needs {name}, which is not installed: "
        "install agnostic-dl with its extra 'cli' (or the library alone)"
    )


def test_the_extra_exists_and_has_both():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    listed = " ".join(extras["optional-dependencies"]["cli"])
    assert "numpy" in listed
    assert "pillow" in listed


def test_other_failed_imports_stay_what_they_are():
    with pytest.raises(ModuleNotFoundError) as caught, needs_extra():
        import agnostic_dl.no_such_module  # noqa: F401
    assert not isinstance(caught.value, MissingExtraError)


def test_public_names():
    assert set(data.__all__) <= set(dir(data))
    for name in data.__all__:
        assert getattr(data, name).__doc__
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = data.no_such_name


def test_rights_lie_beside_the_digits():
    text = (Path(data.__file__).parent / "digits.txt").read_text(encoding="utf-8")
    for words in ("UCI Machine Learning Repository", "CC BY 4.0", "Kaynak", "Changes"):
        assert words in text

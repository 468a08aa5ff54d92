"""The first-party plugins go through the door that others have: what they import of the core."""

import re
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
DOORS = {"agnostic_dl.extend", "agnostic_dl.testing"}


@pytest.mark.parametrize("plugin", sorted(path.name for path in PLUGINS.iterdir()))
def test_plugins_import_the_plugin_authors_doors_only(plugin):
    found = {
        (str(path.relative_to(PLUGINS)), module)
        for path in (PLUGINS / plugin / "src").rglob("*.py")
        for module in re.findall(
            r"^\s*(?:from|import) (agnostic_dl(?:\.\w+)*)\b(?!_)", path.read_text(), re.MULTILINE
        )
    }
    assert found, "a plugin that imports nothing of the core is none"
    assert {(path, module) for path, module in found if module not in DOORS} == set()

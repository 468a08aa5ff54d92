"""The core and every plugin of one commit, built and installed for asv's environments.

    python packages.py build SOURCE WHEELS | install WHEELS | uninstall

The plugins are those that the commit has, so that older commits, which have fewer, are built alike.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path


def folders(source: Path) -> list[Path]:
    """The core's folder and those of the commit's plugins."""
    return [source, *sorted(path.parent for path in source.glob("plugins/*/pyproject.toml"))]


def requirements(wheels: Path) -> list[str]:
    """What to install: the wheels, with the command line's extra, and oneDNN where it has one."""
    extras = {"agnostic_dl": "[cli]"}
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        extras["agnostic_dl_onednn"] = "[wheel]"
    return [f"{w}{extras.get(w.name.split('-')[0], '')}" for w in sorted(wheels.glob("*.whl"))]


def installed() -> list[str]:
    """The distributions of ours that this environment has, those of an earlier commit too."""
    names = {str(found.metadata["Name"]) for found in distributions()}
    return sorted(name for name in names if name.split("-")[:2] == ["agnostic", "dl"])


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True)


def main(command: str, *paths: str) -> None:
    if command == "build":
        source, wheels = paths
        pip("wheel", "--no-deps", "-w", wheels, *map(str, folders(Path(source))))
    elif command == "install":
        pip("install", *requirements(Path(paths[0])))
    elif installed():
        pip("uninstall", "-y", *installed())


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What is compiled is found by the next process; where it cannot be kept, or Numba is not there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agnostic_dl_numba import files, library

#: Runs an update and a pooling, and prints how many passes of the compiler that took.
WORK = """
import numpy as np, agnostic_dl as adl
from agnostic_dl.testing.programs import update_program
assert "numba" not in __import__("sys").modules
import numba
from numba.core import event
with event.install_recorder("numba:run_pass") as passes:
    with adl.use_backend("numpy", kernels=("numpy.numba",)) as backend:
        plan = backend.compile(update_program(adl.optimizer("adam"), 1000))
        pool = backend.kernels["max_pool2d"]
        x = np.ones((4, 8, 8, 16), np.float32)
        pool(None, x, kernel=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)))
ones = {n: np.ones(1000, np.float32) for n in ("param", "m", "v")}
plan.load(ones)
plan.run({"grad": ones["m"], "scalar.size": 0.1, "scalar.eps": 1e-8})
from agnostic_dl_numba.compiled import compiled
assert compiled.cache_info().currsize == 2
print(len(passes.buffer), plan.read("param")[0])
"""


@pytest.fixture
def needs_numba(numba_kernels):
    return numba_kernels


def start(code, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_"))}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**kept, **environment},
    )  # fmt: skip


def finish(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out.split()


def test_the_second_process_compiles_nothing(needs_numba, tmp_path):
    first, number = finish(start(WORK, XDG_CACHE_HOME=str(tmp_path)))
    assert int(first) > 0
    assert finish(start(WORK, XDG_CACHE_HOME=str(tmp_path))) == ["0", number]
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("loop_*.py"))) == 2
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700


def test_the_folder_of_numbas_own_variable_comes_first(needs_numba, tmp_path):
    place, other = tmp_path / "a", tmp_path / "b"
    finish(start(WORK, NUMBA_CACHE_DIR=str(place), XDG_CACHE_HOME=str(other)))
    assert finish(start(WORK, NUMBA_CACHE_DIR=str(place)))[0] == "0"
    assert not other.exists()


def test_processes_that_begin_at_once_do_not_disturb_each_other(needs_numba, tmp_path):
    processes = [start(WORK, XDG_CACHE_HOME=str(tmp_path)) for _ in range(3)]
    assert len({finish(process)[1] for process in processes}) == 1
    assert finish(start(WORK, XDG_CACHE_HOME=str(tmp_path)))[0] == "0"
    (folder,) = tmp_path.iterdir()
    assert not list(folder.glob("*.tmp"))


def test_without_a_folder_to_write_to_it_compiles_each_time(needs_numba, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made beneath a file")
    first = finish(start(WORK, XDG_CACHE_HOME=str(blocked)))
    assert int(first[0]) > 0
    assert finish(start(WORK, XDG_CACHE_HOME=str(blocked))) == first


def test_what_was_cut_off_or_changed_is_made_anew(needs_numba, tmp_path):
    _, number = finish(start(WORK, XDG_CACHE_HOME=str(tmp_path)))
    (folder,) = tmp_path.iterdir()
    for path in folder.rglob("*.nbi"):
        path.write_bytes(path.read_bytes()[:20])
    sources = sorted(folder.glob("loop_*.py"))
    sources[0].write_text("raise SystemExit\n")
    assert finish(start(WORK, XDG_CACHE_HOME=str(tmp_path)))[1] == number
    assert "SystemExit" not in sources[0].read_text()


def test_a_folder_of_somebody_elses_is_not_used(monkeypatch, tmp_path):
    if not hasattr(os, "getuid"):
        pytest.skip("this system has no owners of files")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.stored("a = 1\n") is not None
    monkeypatch.setattr(os, "getuid", lambda: -1)
    assert files.stored("a = 1\n") is None


def test_texts_have_files_of_their_own_that_do_not_age(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = files.stored("a = 1\n")
    kept = path.stat().st_mtime_ns
    time.sleep(0.01)
    assert files.stored("a = 1\n") == path
    assert path.stat().st_mtime_ns == kept
    assert files.stored("a = 2\n") != path
    path.write_text("a = 3\n")
    assert files.stored("a = 1\n") == path
    assert path.read_text() == "a = 1\n"
    assert path.stat().st_mtime_ns == kept


def test_each_system_has_its_folder(monkeypatch):
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
    for system, wanted in (("linux", ".cache"), ("darwin", "Library/Caches")):
        monkeypatch.setattr(sys, "platform", system)
        assert files.folder() == Path("/home/ann") / wanted / "agnostic-dl-numba"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/ann/local")
    assert files.folder() == Path("/ann/local/agnostic-dl-numba")


MISSING = """
import sys, numpy as np
{prepare}
import agnostic_dl as adl
from agnostic_dl.testing.programs import update_program
with adl.use_backend("numpy", kernels=("numpy.numba",)) as backend:
    plan = backend.compile(update_program(adl.optimizer("adam"), 1000))
    x = adl.nn.functional.max_pool2d(np.ones((4, 8, 8, 16), np.float32), 2)
print([p.name for p in adl.list_plugins() if p.name == "numpy.numba"], x.shape)
"""

NOT_INSTALLED = """
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "numba" else found(name, *rest)
"""

BROKEN = """
import importlib
found = importlib.import_module
def fails(name, *rest):
    if name == "numba":
        raise ImportError("Numba needs NumPy 2.4 or less. Got NumPy 9.0.")
    return found(name, *rest)
importlib.import_module = fails
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_without_numba_the_plugin_is_listed_and_numpys_kernels_run():
    done = run(MISSING.format(prepare=NOT_INSTALLED))
    assert done.stdout == "['numpy.numba'] (4, 4, 4, 16)\n"
    assert done.stderr == ""


def test_a_numba_that_does_not_load_is_named_once_and_done_without(needs_numba):
    done = run(MISSING.format(prepare=BROKEN))
    assert done.stdout == "['numpy.numba'] (4, 4, 4, 16)\n"
    assert done.stderr.count("Numba was not loaded (ImportError: Numba needs NumPy 2.4") == 1


def test_loops_that_do_not_compile_are_named_once_and_done_without(needs_numba, monkeypatch):
    from agnostic_dl_numba.compiled import compiled

    monkeypatch.setattr(library, "_said", set())
    texts = [f"def run(x, start, stop):\n    {name}\n" for name in ("nonsense", "gibberish")]
    with pytest.warns(RuntimeWarning, match="not able to compile a loop") as said:
        found = [compiled(text, ("float32*", "intp", "intp")) for text in texts]
    assert found == [None, None]
    assert len(said) == 1


def test_a_process_keeps_so_many_loops_and_no_more(needs_numba):
    from agnostic_dl_numba.compiled import compiled

    assert compiled.cache_info().maxsize == 256


def test_numba_is_not_imported_before_something_is_compiled(needs_numba):
    code = (
        "import sys, agnostic_dl as adl\n"
        "backend = adl.use_backend('numpy', kernels=('numpy.numba',)).backend\n"
        "print('elementwise' in backend.kernels, 'numba' in sys.modules)\n"
    )
    assert run(code).stdout == "True False\n"


def test_the_reason_is_one_line(monkeypatch):
    monkeypatch.setattr(library, "find_spec", lambda name: None)
    assert library.reason() == "Numba is not installed: pip install numba"

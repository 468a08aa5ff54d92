from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from agnostic_dl_numpy import blas, threads


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Any:
    threads.thread_count.cache_clear()
    threads._pool.cache_clear()
    monkeypatch.setenv("AGNOSTIC_DL_NUMPY_THREADS", "3")
    yield
    monkeypatch.undo()
    threads._pool().shutdown()
    threads.thread_count.cache_clear()
    threads._pool.cache_clear()


def test_every_task_runs_once(three_threads: Any) -> None:
    assert threads.thread_count() == 3
    for count in (0, 1, 2, 3, 100):
        seen: list[int] = []
        threads.spread(seen.append, count)
        assert sorted(seen) == list(range(count))


def test_an_error_in_any_task_comes_out(three_threads: Any) -> None:
    def fail(index: int) -> None:
        if index == 5:
            raise ValueError("five")

    with pytest.raises(ValueError, match="five"):
        threads.spread(fail, 20)


def test_pieces_cover_the_whole() -> None:
    for total in (1, 2, 7, 100):
        for each in (1, 3, 1000):
            covered = [i for piece in threads.pieces(total, each) for i in range(*piece)]
            assert covered == list(range(total))


def test_the_blas_has_its_threads_back_afterwards() -> None:
    controls = blas._controls()
    if controls is None:
        pytest.skip("NumPy has a BLAS here whose threads cannot be set")
    get, _ = controls
    before = get()
    with blas.single_threaded():
        with blas.single_threaded():
            assert get() == 1
        assert get() == 1  # the outer one still holds
    assert get() == before
    with pytest.raises(ZeroDivisionError):
        threads.spread(lambda index: 1 / (index - 1), 2, products=True)
    assert get() == before


def test_importing_the_plugin_imports_no_numpy() -> None:
    code = "import agnostic_dl_numpy, sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ)).returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    code = (
        "import os, warnings; warnings.simplefilter('ignore')\n"
        "from agnostic_dl_numpy import threads\n"
        "threads.spread(lambda i: None, 8)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    threads.spread(lambda i: None, 8); os._exit(7)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 7)\n"
    )
    env = {**os.environ, "AGNOSTIC_DL_NUMPY_THREADS": "3"}
    assert subprocess.run([sys.executable, "-c", code], env=env, timeout=60).returncode == 0


@pytest.mark.skipif(not blas.controllable(), reason="this BLAS cannot be kept to one thread")
def test_pinned_the_pool_and_the_blas_keep_to_one_thread_for_good() -> None:
    source = (
        "import agnostic_dl as adl; from agnostic_dl_numpy import blas, threads\n"
        "assert threads.thread_count() == 3\n"
        "adl.get_backend('numpy').pin_threads()\n"
        "with blas.single_threaded(): pass\n"
        "print(threads.thread_count(), blas._controls()[0]())"
    )
    environment = {**os.environ, "AGNOSTIC_DL_NUMPY_THREADS": "3", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["1", "1"], done.stderr

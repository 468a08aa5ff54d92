"""The command line as a process: entry point, terminal, pipes, start-up, missing extra."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import agnostic_dl

MODULE = [sys.executable, "-m", "agnostic_dl"]
HEAVY = ("numpy", "matplotlib", "PIL", "array_api_compat", "safetensors", "pluggy")


def run(*arguments, **options):
    return subprocess.run(
        [*MODULE, *arguments], capture_output=True, text=True, timeout=60, **options
    )


def test_version_and_help():
    assert run("--version").stdout == f"agnostic-dl {agnostic_dl.__version__}\n"
    shown = run()
    assert shown.returncode == 0
    for command in ("train", "evaluate", "predict", "plugins"):
        assert command in shown.stdout
    assert shown.stdout == run("--help").stdout


def test_help_loads_no_array_library():
    code = (
        "import sys; from agnostic_dl.cli import main; main(['train', '--help']); "
        f"sys.exit(repr([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_a_missing_extra_is_named():
    code = (
        "import sys; sys.modules['typer'] = None; from agnostic_dl.cli import main; "
        "sys.exit(main(['--help']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the command line needs typer")
    assert "agnostic-dl[cli]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_library_is_named_before_training(tmp_path):
    code = (
        "import sys; from agnostic_dl.cli import main, options; "
        "options.find_spec = lambda name: None if name == 'matplotlib' else 1; "
        "sys.exit(main(['train', 'digits']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: not installed: matplotlib; install agnostic-dl with its extra 'cli'\n"
    )


def test_a_closed_pipe_ends_it_quietly(tmp_path):
    process = subprocess.Popen(
        [*MODULE, "train", "digits", "-m", "linear", "-e", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 1
    process.stderr.close()


def on_terminal(command, folder):
    """Everything that a command writes to a terminal of 100 columns."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment
    )
    os.close(slave)
    content = b""
    while True:
        try:
            content += os.read(master, 65536)
        except OSError:  # the terminal's other side is closed
            break
    os.close(master)
    assert process.wait(60) == 0
    return content.decode()


def test_a_terminal_gets_a_bar_and_lines_that_stay(tmp_path):
    shown = on_terminal([*MODULE, "train", "digits", "-m", "linear", "-e", "3"], tmp_path)
    assert "━" in shown
    assert "left" in shown
    assert [f"{k}/3 " in shown for k in (1, 2, 3)] == [True] * 3
    assert shown.count("test loss") == 2  # the heading, and the end
    assert shown.rstrip().endswith("run in runs/digits-linear-adam")

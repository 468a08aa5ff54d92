"""agnostic-dl bench: who takes part, what is timed, and that nothing is said without a figure."""

from __future__ import annotations

import json

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.cli import contestants, measurements, workloads
from agnostic_dl.cli.measurements import Figure, Figures, Speeds
from agnostic_dl.cli.workloads import Work


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The same work on less: a test need not time it well."""
    monkeypatch.setattr(measurements, "_SIDE", 64)
    monkeypatch.setattr(measurements, "_LENGTH", 1 << 12)
    monkeypatch.setattr(measurements, "_TURN", 1e-4)
    monkeypatch.setattr(workloads, "_EACH", 100)
    monkeypatch.delenv("AGNOSTIC_DL_KERNELS", raising=False)


SHORT = ("--models", "linear", "--batch-size", 4, "--rounds", 3)


def test_backends_stand_side_by_side(cli, own_folder):
    result = cli("bench", *SHORT, "--backends", "numpy,strict", "--json", "f/bench.json")
    assert (result.code, result.err) == (0, "")
    header = next(line for line in result.out.splitlines() if "workload" in line)
    assert header.split() == ["workload", "numpy", "strict"]
    wanted = ["linear, captured", "linear, eager", "convolution 5×5×64→64", "Adam, 10.2 M numbers"]
    for name in wanted:
        line = next(line for line in result.out.splitlines() if name in line)
        assert line.count(" ms ") == 2
        assert line.count("/s") == (0 if "Adam" in name else 2)
        assert line.count(" %") == 2
    assert "median of 3 rounds" in result.out
    found = json.loads((own_folder / "f" / "bench.json").read_text())
    assert [(r["workload"], r["backend"]) for r in found["results"]] == [
        (name, backend) for name in wanted for backend in ("numpy", "strict")
    ]
    for row in found["results"]:
        assert len(row["times_ms"]) == 3
        assert row["median_ms"] == pytest.approx(np.median(row["times_ms"]))
        assert row["flops"] > 0
        assert row["bytes"] > 0
    assert found["failed"] == []


def test_by_default_all_take_part_but_strict(monkeypatch):
    monkeypatch.setattr(
        contestants.plugins, "names",
        lambda kind: {"backend": ["abc", "numpy", "strict"], "kernels": ["numpy.x"]}[kind],
    )  # fmt: skip
    assert contestants.default_labels() == ["abc", "numpy", "numpy+kernels"]


def test_labels_choose_the_kernels(install):
    source = (
        "from agnostic_dl.extend import hookimpl, PRIMITIVES\n"
        "@hookimpl\n"
        "def agnostic_dl_kernels(backend_name):\n"
        "    return {'tan': lambda xp, x: xp.sin(x) / xp.cos(x)}\n"
    )
    entries = {"kernels": {"numpy.tans": "bench_tans"}, "api": {"1": "bench_tans"}}
    groups = {f"agnostic_dl.{group}": points for group, points in entries.items()}
    install("bench-kernels", groups, {"bench_tans": source})
    found, absent = contestants.choose(["numpy", "numpy+tans", "numpy+kernels"])
    assert [c.label for c in found] == ["numpy", "numpy+tans", "numpy+kernels"]
    assert absent == {}
    assert ["tan" in c.backend.kernels for c in found] == [False, True, True]


def test_who_cannot_take_part_is_named_with_the_reason(cli, monkeypatch):
    monkeypatch.setenv("AGNOSTIC_DL_KERNELS", "")
    strict = type(adl.get_backend("strict"))
    monkeypatch.setattr(strict, "probe", classmethod(lambda cls: "its abacus is broken"))
    result = cli("bench", *SHORT, "--backends", "numpy,strict,strict+kernels")
    assert result.code == 0
    assert "not available: strict: its abacus is broken" in result.out
    assert "not available: strict+kernels: its abacus is broken" in result.out
    result = cli("bench", *SHORT, "--backends", "strict")
    assert result.code == 1
    assert result.err == "error: nothing was measured: strict: its abacus is broken\n"


def test_a_device_that_is_absent_is_a_reason(cli):
    result = cli("bench", *SHORT, "--backends", "strict:nowhere")
    assert result.code == 1
    assert "nothing was measured: strict:nowhere: " in result.err
    assert "nowhere" in result.err.partition("strict:nowhere: ")[2]


def test_kernel_plugins_that_are_not_there(cli):
    result = cli("bench", *SHORT, "--backends", "strict+kernels")
    assert result.code == 1
    assert "strict+kernels: no kernel plugin for strict is installed" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "lenett"], ["Did you mean 'lenet'", "resnet20"]),
        (["--backends", "nunpy"], ["Did you mean 'numpy'"]),
        (["--backends", "numpy+nothing"], ["unknown kernels 'numpy.nothing'"]),
        (["--batch-size", "0"], ["--batch-size"]),
        (["--rounds", "0"], ["--rounds"]),
    ],
)
def test_wrong_use(cli, arguments, words):
    result = cli("bench", *arguments)
    assert result.code == 2, result.err
    assert len(result.err.splitlines()) == 1
    for word in words:
        assert word in result.err


def test_a_backend_that_fails_does_not_take_the_others_down(cli, monkeypatch):
    strict = type(adl.get_backend("strict"))

    def broken(self):
        raise RuntimeError("the device fell off")

    monkeypatch.setattr(measurements, "speeds_of", lambda backend: Speeds(1e9, 1e9))
    monkeypatch.setattr(strict, "synchronize", broken)
    result = cli("bench", *SHORT, "--backends", "numpy,strict")
    assert result.code == 0, result.err
    assert "failed: linear, eager on strict: RuntimeError: the device fell off" in result.out
    result = cli("bench", *SHORT, "--backends", "strict")
    assert result.code == 1
    assert "nothing was measured: every step failed" in result.err


def test_contestants_take_turns_forwards_and_backwards(monkeypatch):
    order, times = [], ([], [])
    calls = [(lambda: order.append("a"), times[0]), (lambda: order.append("b"), times[1])]
    monkeypatch.setattr(measurements, "_MOST_CALLS", 1)
    measurements.in_turns(calls, 3)
    assert order == ["a", "b", *"ab", *"ba", *"ab"]  # once to see how long it takes
    assert [len(kept) for kept in times] == [3, 3]
    monkeypatch.setattr(measurements, "_PATIENCE", 0.0)
    measurements.in_turns(calls, 100)
    assert [len(kept) for kept in times] == [5, 5]


def test_every_call_is_synchronised_and_on_its_own_backend(monkeypatch):
    seen = []
    backend = adl.get_backend("strict")
    monkeypatch.setattr(
        type(backend), "synchronize", lambda self: seen.append(adl.get_backend().name)
    )
    for group in workloads.choose(["linear"], 2):
        for workload in group:
            work = measurements._warmed(workload, backend)
            seen.clear()
            work.run()
            assert seen == ["strict"], workload.name


def test_the_share_is_the_roofline_bound_over_the_median():
    work = Work(lambda: None, flops=200, bytes=30)
    figure = Figure([1.0, 4.0, 2.0], 8, work)
    assert figure.median == 2.0
    assert figure.images_per_second == 4.0
    assert figure.share(Speeds(100.0, 100.0)) == 1.0  # two seconds of products
    assert figure.share(Speeds(1000.0, 30.0)) == 0.5  # one second of traffic


def test_the_best_speeds_that_were_seen_count(monkeypatch):
    seen = iter([Speeds(5.0, 1.0), Speeds(3.0, 2.0)])
    monkeypatch.setattr(measurements, "speeds_of", lambda backend: next(seen))
    numpy = adl.get_backend("numpy")
    two = [contestants.Contestant("numpy", numpy), contestants.Contestant("numpy+x", numpy)]
    figures = Figures({})
    for _ in range(2):
        measurements._look_at_speeds(figures, two)
    assert figures.speeds == {"numpy": Speeds(5.0, 2.0), "numpy+x": Speeds(5.0, 2.0)}


def test_the_flops_of_the_convolution_are_those_that_a_program_counts():
    backend = adl.get_backend("numpy")
    ((workload,), _) = workloads.choose([], 2)
    n, side, channels, filters, kernel = 2, 15, 64, 64, 5
    model = adl.nn.Sequential(
        adl.nn.Conv2d(channels, filters, kernel, padding="same", bias=False)
    ).init(0)
    step = adl.train_step(model, "mse", adl.optimizer("sgd", learning_rate=0.1))
    x, y = (np.zeros((n, side, side, c), np.float32) for c in (channels, filters))
    program = adl.program(step, x, y)
    counted = [
        adl.primitives.cost.flops(program, i) for i in program.code if i.op.startswith("conv2d")
    ]
    with adl.use_backend(backend):
        work = workload.prepare(backend)
    assert work.flops == 3 * counted[0]


def test_bench_is_in_the_help(cli):
    assert "bench" in cli("--help").out
    assert "compare_peers.py" in cli("bench", "--help").out

"""The benchmarks measure what they say; here for a moment, and without the peers as opponents."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import agnostic_dl as adl

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from peers import (  # noqa: E402
    candidates,
    comparing,
    extras,
    memory,
    processes,
    tables,
    verdicts,
    worker,
)
from peers.rows import ROWS, Target, small, tensors  # noqa: E402


@pytest.fixture(autouse=True)
def the_current_backend_stays():
    """Candidates choose theirs for a process of their own, which some tests here do without."""
    with adl.use_backend(adl.get_backend()):
        yield


def compare(*arguments):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "compare_peers.py"), *arguments],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip


# -- the command -----------------------------------------------------------------------------------


def test_compare_peers_measures_ours_alone(tmp_path):
    out, text = tmp_path / "figures.json", tmp_path / "table.md"
    done = compare("--rows", "S", "--rounds", "2", "--peers", "", "--seconds", "0.05",
                   "--out", str(out), "--markdown", str(text))  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    (row,) = figures["rows"]
    assert set(row["median_ms"]) == set(candidates.ours())
    assert all(0 < value < 100 for value in row["median_ms"].values())
    assert all(len(rounds) == 2 for rounds in row["times_ms"].values())
    assert max(row["losses_differ_by"]) <= 1e-6
    assert row["verdicts"] == []
    assert row["cost"]["flops"] > 2 * 3 * 8 * (4 * 16 + 16 * 3)  # three products for each layer
    assert {"cpu", "cores"} <= set(figures["machine"])
    assert figures["versions"]["numpy"] == np.__version__
    assert text.read_text() == done.stdout
    assert "| numpy | 0." in done.stdout
    assert "there are no ratios" in done.stdout


@pytest.mark.parametrize(
    ("option", "known"), [("--peers", "torch channels_last"), ("--rows", "W1")]
)
def test_an_unknown_name_is_told_the_known_ones(option, known):
    done = compare(option, "torhc")
    assert done.returncode == 1
    assert "torhc" in done.stderr
    assert known in done.stderr


# -- arithmetic ------------------------------------------------------------------------------------

PEER = [[10.0, 10.0, 90.0], [40.0], [12.0]]
OURS = [[5.0], [20.0], [4.0]]


def test_a_ratio_is_the_median_over_the_rounds():
    assert verdicts.ratio(PEER, OURS) == 2.0  # of 2, 2 and 3; that of the medians would be 2.4
    assert verdicts.least_ratio(PEER, OURS) == 2.5


@pytest.mark.parametrize(
    ("found", "words"),
    [(1.9, "met"), (1.899, "above the floor"), (1.615, "above the floor"), (1.6149, "below")],
)
def test_a_verdict_has_a_floor_at_15_percent_below_the_target(found, words):
    assert verdicts.verdict(found, 1.9) == words


def test_targets_are_judged_against_their_peer_or_the_fastest():
    times = {"numpy": OURS, "slow": PEER, "quick": [[6.0], [22.0], [4.0]]}
    targets = (Target("numpy", "slow", 2.0), Target("numpy", None, 2.0),
               Target("numpy+kernels", None, 1.0), Target("numpy", "absent", 1.0))  # fmt: skip
    first, second = verdicts.judge(targets, times, ["slow", "quick"])
    assert (first["peer"], first["ratio"], first["verdict"]) == ("slow", 2.0, "met")
    assert (second["peer"], second["ratio"], second["verdict"]) == ("quick", 1.1, "below")
    assert second["floor"] == pytest.approx(1.7)


def test_the_table_names_the_peer_and_the_verdict():
    (judged,) = verdicts.judge(
        (Target("numpy", None, 2.0),), {"numpy": OURS, "slow": PEER}, ["slow"]
    )
    row = {"row": "W1", "model": "mlp", "median_ms": {"numpy": 5.0, "slow": 12.0},
           "verdicts": [judged]}  # fmt: skip
    line = "| W1 mlp | numpy | 5 | slow (fastest peer) | 12 | 2.00 | 2.50 | 2.00 | 1.70 | met |"
    assert line in tables.promises([row])


def test_losses_that_differ_are_named():
    bounds = (1e-6, 1e-2)
    assert comparing.differences([1.0, 2.1], [1.0, 2.0]) == pytest.approx([0.0, 0.05])
    assert comparing.complaint([1.0 + 1e-7, 2.0], [1.0, 2.0], bounds) is None
    wrong = comparing.complaint([1.0, 2.1], [1.0, 2.0], bounds)
    assert wrong is not None
    assert "shows the loss 2.1 in step 2 where 2.0 is right" in wrong
    assert comparing.complaint([float("nan"), 2.0], [1.0, 2.0], bounds) is not None


class Ended:
    """A worker that nobody asks."""

    def end(self):
        self.ended = True


def contest(**losses):
    found = comparing.Contest(ROWS["S"], 1, None)
    for name, values in losses.items():
        found.losses[name], found.times[name], found.workers[name] = values, [], Ended()
    return found


def test_ours_and_the_oracle_must_agree_and_another_peer_is_left_out():
    right, wrong = [1.0] * 5, [1.0] * 4 + [1.1]
    one = contest(numpy=right, torch=right, jax=wrong)
    jax = one.workers["jax"]
    assert one.agree() == [0.0] * 5
    assert jax.ended
    assert "in step 5" in one.left_out["jax"]
    assert set(one.times) == set(one.workers) == {"numpy", "torch"}
    with pytest.raises(comparing.LossesDiffer, match="torch shows"):
        contest(numpy=right, torch=wrong).agree()
    with pytest.raises(comparing.LossesDiffer, match=r"numpy\+kernels shows"):
        contest(**{"numpy": right, "numpy+kernels": wrong, "torch": right}).agree()


def test_short_steps_are_timed_in_groups():
    calls = []
    times = worker.timed(lambda: calls.append(None), 0.01, warm=0.01)
    assert 3 <= len(times) < len(calls) / 100
    assert sum(times) / len(times) < 1e-4
    assert len(worker.timed(lambda: time.sleep(0.002), 0.0, warm=0.0)) == worker.FEWEST


def test_the_share_of_the_bound_is_of_the_dearer_of_both():
    row = {
        "row": "O1",
        "cost": {"flops": 10e9, "bytes": 1e9},
        "median_ms": {"numpy": 200.0, "jax": 1},
    }
    (entry,) = extras.roofline([row], {"gflops": 200.0, "gbytes": 10.0})
    assert entry["bound_ms"] == pytest.approx(100.0)
    assert entry["share"] == pytest.approx(0.5)


# -- who takes part --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("installed", "names"),
    [
        ({}, ["numpy"]),
        ({"one": "its library was not found"}, ["numpy"]),
        ({"one": None}, ["numpy", "numpy+kernels"]),
        ({"one": None, "two": None}, ["numpy", "numpy+kernels", "numpy+one", "numpy+two"]),
    ],
)
def test_ours_are_numpy_alone_with_all_kernels_and_with_each(monkeypatch, installed, names):
    monkeypatch.setattr(candidates, "kernel_plugins", lambda: installed)
    assert list(candidates.ours()) == names
    for name in names:
        assert candidates.kernels_of(name) == candidates.ours()[name]


def test_a_peer_without_its_library_or_compiler_says_so(monkeypatch):
    monkeypatch.setattr(candidates.importlib.util, "find_spec", lambda name: None)
    assert candidates.missing("jax") == "jax is not installed"
    monkeypatch.setattr(candidates.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(candidates.shutil, "which", lambda name: None)
    assert candidates.missing("torch fused") is None
    assert "no C++ compiler" in candidates.missing("torch compile")


# -- processes -------------------------------------------------------------------------------------


def test_a_candidate_that_dies_is_left_out_with_its_last_words(capsys):
    found = comparing.compare("S", ["numpy", "numpy+nonsense"], 1, 0.01, 1)
    assert set(found["median_ms"]) == {"numpy"}
    assert "nonsense" in found["left_out"]["numpy+nonsense"]
    assert "numpy+nonsense is left out" in capsys.readouterr().err


def test_one_that_hangs_is_ended_with_all_that_it_started():
    with processes.Worker("peers.worker", "numpy", "S", threads=1, patience=60) as one:
        one.answer()
        one.patience = 0.2
        with pytest.raises(processes.CandidateFailed, match="no answer in 0 s"):
            one.ask("time 60")
    assert one._process.returncode is not None


def test_every_process_has_the_same_number_of_threads():
    told = processes.environment(3)
    assert {told[n] for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")} == {"3"}
    with processes.Worker("peers.peaks", "1", threads=1) as one:
        found = one.answer()
    assert 0.1 < found["gbytes"] < 1000
    assert found["gflops"] == max(found["products"].values()) > 0.1


@pytest.mark.skipif(
    not memory.CLEAR.exists(), reason="the peak of memory is read from Linux's /proc"
)
def test_the_peak_of_memory_is_counted_from_here():
    code = (
        "import numpy as np; from peers import memory\n"
        "before = memory.resident(); kept = np.ones(8 << 20, np.float32)\n"
        "held = memory.peak() - before; del kept; after = memory.peak() - before\n"
        "print(held, after, memory.resident() and memory.peak() - before)\n"
    )  # in a process of its own: one that has freed much has memory in hand
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(memory.__file__).parents[1],
    )  # fmt: skip
    held, after, anew = map(float, done.stdout.split())
    assert 30 < held < 40
    assert after > 30  # it was held; the peak remembers
    assert anew < 10


def test_a_compilers_own_modules_are_there_before_memory_counts():
    if reason := candidates.kernel_plugins().get("numba", "the plugin for Numba is not installed"):
        pytest.skip(reason)
    code = (
        "import sys; from peers import memory; memory._import('numpy+numba'); import numba\n"
        "n = len(sys.modules); numba.njit(lambda x: x + 1)(1); print(len(sys.modules) - n)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(memory.__file__).parents[1])  # fmt: skip
    assert done.stdout.strip() == "0"


# -- the twins -------------------------------------------------------------------------------------


def test_the_rows_of_updates_have_ten_million_parameters():
    params, grads = tensors(ROWS["O1"])
    assert [a.shape for a in params.values()] == [a.shape for a in grads.values()]
    assert len(params) == 62
    assert sum(a.size for a in params.values()) == 10_234_314


def looked(candidate, row):
    step = candidates.step_of(candidate, small(row))
    return [step.look() for _ in range(len(row.bounds))]


PAIRS = [
    *((key, peer) for key in ROWS for peer in ("torch", "jax")),
    ("W1", "torch foreach"), ("O1", "torch fused"), ("O2", "torch fused"),
    ("W2", "torch channels_last"), ("W4", "torch channels_last fused"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "peer"), PAIRS)
def test_twins_show_our_losses(key, peer):
    row, library = ROWS[key], candidates.PEERS[peer].library
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    ours = looked("numpy", row)
    assert comparing.complaint(looked(peer, row), ours, row.bounds) is None
    assert len(set(ours)) == len(ours)  # it learns: the losses are not one constant


def test_a_layer_without_a_twin_is_found_out():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from peers.torch_models import twin

    import agnostic_dl as adl

    with pytest.raises(TypeError, match="no PyTorch layer stands for Tanh"):
        twin(adl.nn.Tanh())

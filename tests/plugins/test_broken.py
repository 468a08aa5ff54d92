"""Nine kinds of broken plugins at once: everything else works, each is told in one line."""

from __future__ import annotations

import time

import pytest

import agnostic_dl as adl
from agnostic_dl import doctor, errors

GOOD = ("roar", "purr", "hiss", "howl", "bark", "chirp", "growl", "hum", "buzz")


@pytest.fixture
def mixed(site, broken):
    for name in GOOD:
        site.install(f"good-{name}", name)
    return broken


def test_everything_else_works_and_failures_name_their_distribution(mixed):
    for name, cause in mixed.items():
        if name == "endless":
            continue  # only the one who asks for it waits: see the doctor
        with pytest.raises(errors.PluginError, match="bad-") as caught:
            adl.optimizer(name)
        if name != "collides":
            assert cause in str(caught.value)
    for name in (*GOOD, "sgd", "momentum", "adagrad", "adam"):
        assert adl.optimizer(name).learning_rate > 0


def test_the_doctor_gives_each_one_line_of_cause_and_one_of_cure(mixed):
    started = time.perf_counter()
    found = doctor.examine(time_limit=4.0)
    assert time.perf_counter() - started < 60
    ill = {d.name: d for d in found if not d.healthy}
    assert set(ill) == set(mixed)
    for name, cause in mixed.items():
        line = ill[name].line
        assert cause in line, line
        assert len(line) <= 118
        assert len(ill[name].cure_line) <= 118
        assert "\n" not in line + ill[name].cure_line
        assert ill[name].cure
        assert f"{ill[name].distribution} 1.2.3" in line
    healthy = {d.name: d for d in found if d.healthy}
    assert {*GOOD, "adam", "numpy"} <= set(healthy)
    assert all(d.import_seconds is not None for d in healthy.values())
    assert "Traceback" in ill["raises"].details


def test_a_long_cause_is_cut_to_the_line(site):
    site.install("long-pkg", "long", f"raise RuntimeError('a\\n' + {'x' * 500!r})")
    with pytest.raises(errors.PluginError, match="xxx" * 100):
        adl.optimizer("long")
    [found] = doctor.examine(["long"])
    assert len(found.line) == 118
    assert found.line.endswith("…")
    shown = next(p for p in adl.list_plugins() if p.name == "long")
    assert (
        len(f"{shown.kind} {shown.name!r} ({shown.distribution} {shown.version}): ")
        + len(shown.error)
        <= 120
    )


def test_what_dies_is_told_as_well(site):
    site.install("bye-pkg", "bye", "import os\nos._exit(7)")
    site.install("crash-pkg", "crash", "import os, signal\nos.kill(os.getpid(), signal.SIGABRT)")
    site.install("chatty", "chatty", "print('hello')\nimport sys\nprint('err', file=sys.stderr)")
    found = {d.name: d for d in doctor.examine(["bye", "crash", "chatty"])}
    assert "exit code 7" in found["bye"].line
    assert "SIGABRT" in found["crash"].line
    assert "returned nothing, expected" in found["chatty"].line
    assert {"hello", "err"} <= set(found["chatty"].details.split())


def test_the_doctor_knows_names_and_distributions(site):
    site.install("lion-pkg", "roar")
    assert [d.name for d in doctor.examine(["lion-pkg"])] == ["roar"]
    with pytest.raises(errors.UnknownNameError, match="no plugin nobody"):
        doctor.examine(["nobody"])

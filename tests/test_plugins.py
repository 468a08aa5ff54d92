"""Discovery: from metadata alone, imported on first use, one guard for each plugin."""

from __future__ import annotations

import json
import sys

import pytest

import agnostic_dl as adl
from agnostic_dl import plugins
from agnostic_dl.errors import PluginError, UnknownNameError, UsageError

OPTIMIZERS, BACKENDS = "agnostic_dl.optimizers", "agnostic_dl.backends"

GOOD = """
from dataclasses import dataclass
from agnostic_dl.extend import Optimizer, hookimpl

@dataclass(frozen=True)
class Sign(Optimizer):
    learning_rate: float = 0.1

    def update(self, xp, param, grad, state, *, learning_rate):
        return param - learning_rate * xp.sign(grad), state

@hookimpl
def agnostic_dl_optimizers():
    return {"NAME": Sign}
"""

BROKEN = {
    "ImportError": "import a_module_that_is_not_there",
    "SyntaxError": "def broken(:",
    "RuntimeError": "raise RuntimeError('no luck')",
    "SystemExit": "import sys; sys.exit(3)",
    "raising hook": GOOD.replace('return {"NAME": Sign}', "raise ValueError('in the hook')"),
    "misspelt hook": GOOD.replace("def agnostic_dl_optimizers", "def agnostic_dl_optimisers"),
    "no hook": "x = 1",
    "other name": GOOD.replace("NAME", "another"),
    "wrong argument": GOOD.replace("agnostic_dl_optimizers()", "agnostic_dl_optimizers(surprise)"),
    "not a mapping": GOOD.replace('{"NAME": Sign}', "3"),
}
EXPECTED = {
    "ImportError": "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
    "SyntaxError": "SyntaxError",
    "RuntimeError": "RuntimeError: no luck",
    "SystemExit": "SystemExit: 3",
    "raising hook": "ValueError: in the hook",
    "misspelt hook": "agnostic_dl_optimisers",
    "no hook": "returned nothing, expected the entry point's name",
    "other name": "['another'], expected the entry point's name",
    "wrong argument": "surprise",
    "not a mapping": "returned int, expected a dict",
}


def module_of(test, source, name="sign"):
    module = f"made_up_{test}".replace(" ", "_").lower()
    return module, {module: source.replace("NAME", name)}


def info_of(name):
    return next(info for info in adl.list_plugins() if info.name == name)


def test_a_plugin_is_found_listed_and_used(install):
    module, modules = module_of("good", GOOD)
    install("sign-sgd", {OPTIMIZERS: {"sign": module}}, modules, version="2.5")
    assert "sign" in adl.list_optimizers()
    assert module not in sys.modules
    assert info_of("sign") == adl.PluginInfo("sign", "optimizer", "sign-sgd", "2.5", "found")
    optimizer = adl.optimizer("sign", learning_rate=0.5)
    assert info_of("sign").state == "loaded"
    param = adl.get_backend("numpy").asarray([1.0, -1.0])
    new, _ = adl.optim.step(optimizer, param, param * 3, step=1)
    assert new.tolist() == [0.5, -0.5]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_recorded_and_takes_no_other_down(install, kind):
    module, modules = module_of(kind, BROKEN[kind])
    fine, more = module_of(f"fine beside {kind}", GOOD, "fine")
    install("broken-dist", {OPTIMIZERS: {"sign": module}}, modules, version="0.3")
    install("fine-dist", {OPTIMIZERS: {"fine": fine}}, more)
    for _ in range(2):  # told again, not tried again
        with pytest.raises(PluginError) as caught:
            adl.optimizer("sign")
        for word in ("sign", "broken-dist 0.3", EXPECTED[kind]):
            assert word in str(caught.value)
        assert "\n" not in str(caught.value)
    info = info_of("sign")
    assert info.state == "failed"
    assert EXPECTED[kind] in info.error
    assert adl.optimizer("fine").learning_rate == 0.1
    assert adl.optimizer("sgd").learning_rate == 0.01


def test_a_failed_look_up_lists_what_is_installed_what_failed_and_why(install):
    module, modules = module_of("failing lookup", BROKEN["RuntimeError"])
    install("broken-dist", {OPTIMIZERS: {"sign": module}}, modules)
    with pytest.raises(PluginError):
        adl.optimizer("sign")
    with pytest.raises(UnknownNameError) as caught:
        adl.optimizer("adamm")
    for word in ("'adamm'", "Did you mean 'adam'?", "momentum", "broken-dist 1.0", "no luck"):
        assert word in str(caught.value)
    assert isinstance(caught.value, UsageError)


def test_a_name_near_to_nothing_has_no_suggestion():
    with pytest.raises(UnknownNameError) as caught:
        adl.optimizer("xyzzy")
    assert "Did you mean" not in str(caught.value)
    assert ", ".join(adl.list_optimizers()) in str(caught.value)


def test_two_of_one_name_are_an_error_that_names_both_until_one_is_blocked(install, monkeypatch):
    for dist in ("first-dist", "second-dist"):
        module, modules = module_of(dist.replace("-", "_"), GOOD, "twice")
        install(dist, {OPTIMIZERS: {"twice": module}}, modules)
    with pytest.raises(PluginError) as caught:
        adl.optimizer("twice")
    for word in ("first-dist 1.0", "second-dist 1.0", "AGNOSTIC_DL_BLOCK"):
        assert word in str(caught.value)
    assert adl.optimizer("sgd")
    monkeypatch.setenv("AGNOSTIC_DL_BLOCK", "second_dist")
    assert type(adl.optimizer("twice")).__module__ == "made_up_first_dist"


@pytest.mark.parametrize("blocked", ["sign", "blocked-dist", " Blocked_Dist , other"])
def test_a_blocked_plugin_is_not_imported(install, monkeypatch, blocked):
    module, modules = module_of(f"blocked {len(blocked)}", GOOD)
    install("blocked-dist", {OPTIMIZERS: {"sign": module}}, modules)
    monkeypatch.setenv("AGNOSTIC_DL_BLOCK", blocked)
    assert "sign" not in adl.list_optimizers()
    assert info_of("sign").state == "blocked"
    with pytest.raises(UnknownNameError, match=r"blocked by \$AGNOSTIC_DL_BLOCK"):
        adl.optimizer("sign")
    assert module not in sys.modules


def test_listing_imports_none_of_them(install, python):
    module, modules = module_of("listed", "raise SystemExit('imported!')")
    groups = ("optimizers", "backends", "kernels", "models", "datasets", "callbacks", "commands")
    site = install("listed", {f"agnostic_dl.{g}": {"listed": module} for g in groups}, modules)
    done = python(
        "import agnostic_dl as a, sys, json\n"
        "a.list_optimizers(), [b.name for b in a.list_backends()]\n"
        "kinds = [i.kind for i in a.list_plugins() if i.name == 'listed']\n"
        f"print(json.dumps([kinds, {module!r} in sys.modules]))",
        site,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["backend", "optimizer", "kernels"], False]


def test_a_hyperparameter_that_is_not_there_names_those_that_are():
    with pytest.raises(UsageError, match=r"no hyperparameter 'beta'; it has: learning_rate, beta1"):
        adl.optimizer("adam", beta=0.9)


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), float("inf"), "fast", None])
def test_a_learning_rate_that_is_no_positive_number_is_refused(rate):
    with pytest.raises(UsageError, match="learning_rate: expected a positive number"):
        adl.optimizer("sgd", learning_rate=rate)


def test_what_no_plugin_registered_has_no_name():
    with pytest.raises(UnknownNameError, match=r"agnostic_dl\.optimizers"):
        plugins.name_of("optimizer", int)

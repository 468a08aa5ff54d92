"""Plugins are found from metadata alone, imported on first use, and ruled out for what they say."""

from __future__ import annotations

import sys

import pytest

import agnostic_dl as adl
from agnostic_dl import errors, plugins


def info(name):
    return next(p for p in adl.list_plugins() if p.name == name)


def test_a_plugin_is_found_then_loaded_and_tells_who_it_is(site):
    site.install("lion-pkg", "roar")
    assert "roar" in adl.list_optimizers()
    found = info("roar")
    assert (found.kind, found.distribution, found.version) == ("optimizer", "lion-pkg", "1.2.3")
    assert (found.state, found.error, found.import_seconds) == ("found", None, None)
    assert "lion_pkg" not in sys.modules
    assert adl.optimizer("roar", learning_rate=0.5).learning_rate == 0.5
    assert info("roar").state == "loaded"
    assert info("roar").import_seconds > 0


def test_listings_import_no_plugin_and_no_array_library(run_python):
    out = run_python("""
        import sys, agnostic_dl as adl
        names = (adl.list_optimizers(), [p.name for p in adl.list_plugins()],
                 [b.name for b in adl.list_backends()])
        heavy = {"numpy", "array_api_strict", "array_api_compat", "torch", "jax", "pluggy"}
        loaded = [m for m in sys.modules if m.startswith("agnostic_dl_") or m in heavy]
        print(len(names[1]), loaded)
    """)
    count, loaded = out.split(" ", 1)
    assert int(count) >= 6
    assert loaded.strip() == "[]"


@pytest.mark.parametrize(
    ("api", "requires", "problem"),
    [
        ("1", (), None),
        (None, (), None),
        ("2", (), "written for plugin API 2, this agnostic-dl has 1"),
        (None, ("agnostic-dl>=99",), "requires agnostic-dl >=99, this is"),
        (None, ("Agnostic_DL (<0.1)",), "requires agnostic-dl <0.1, this is"),
        (None, ("agnostic-dl~=0.1", "agnostic-dl>=0.0.9,<1,!=0.3", "agnostic-dl==0.1.*"), None),
        (None, ("agnostic-dl-numpy>=99", 'agnostic-dl>=99; extra == "next"'), None),
    ],
)
def test_the_versions_that_a_plugin_was_written_for_are_checked(site, api, requires, problem):
    site.install("versioned", "versioned", api=api, requires=requires)
    if problem is None:
        assert adl.optimizer("versioned")
        return
    assert info("versioned").state == "incompatible"
    assert problem in info("versioned").error
    assert "versioned" not in adl.list_optimizers()
    with pytest.raises(errors.PluginError, match=r"versioned 1\.2\.3"):
        adl.optimizer("versioned")
    assert "versioned" not in sys.modules


@pytest.mark.parametrize("by", ["roar", "Lion_Pkg"])
def test_blocked_by_name_or_distribution_before_import(site, monkeypatch, by):
    site.install("lion-pkg", "roar")
    monkeypatch.setenv("AGNOSTIC_DL_BLOCK", f"other,{by}")
    assert info("roar").state == "blocked"
    assert "roar" not in adl.list_optimizers()
    with pytest.raises(errors.PluginError, match="blocked by"):
        adl.optimizer("roar")
    assert "lion_pkg" not in sys.modules


def test_a_collision_names_both_distributions_and_blocking_one_frees_the_other(site, monkeypatch):
    site.install("one-pkg", "roar")
    site.install("two-pkg", "roar")
    with pytest.raises(errors.PluginError, match=r"one-pkg 1\.2\.3.*two-pkg 1\.2\.3") as caught:
        adl.optimizer("roar")
    assert "AGNOSTIC_DL_BLOCK" in str(caught.value)
    monkeypatch.setenv("AGNOSTIC_DL_BLOCK", "one-pkg")
    assert type(adl.optimizer("roar")).__module__ == "two_pkg"


def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(site, tmp_path, monkeypatch):
    site.install("lion-pkg", "roar", version="1.0")
    other = type(site)(tmp_path / "older")
    other.folder.mkdir()
    other.install("lion-pkg", "roar", version="0.9")
    monkeypatch.setattr(sys, "path", [*sys.path, str(other.folder)])
    assert [p.version for p in adl.list_plugins() if p.name == "roar"] == ["1.0"]


def test_unreadable_metadata_is_that_packages_loss_alone(site):
    site.install("lion-pkg", "roar")
    site.install("torn", "torn")
    torn = next(site.folder.glob("torn*.dist-info"))
    (torn / "entry_points.txt").write_text("[agnostic_dl.optimizers]\nno equals sign\n")
    (site.folder / "bytes-1.dist-info").mkdir()
    (site.folder / "bytes-1.dist-info" / "entry_points.txt").write_bytes(b"[agnostic_dl.x\xff\xfe")
    plugins.refresh()
    assert info("no equals sign").state == "failed"
    assert info("roar").state == "found"


def test_an_unknown_name_tells_the_near_match_and_what_failed(site):
    site.install("lion-pkg", "roar")
    site.install("ill-pkg", "ill", "1/0")
    with pytest.raises(errors.PluginError, match="ZeroDivisionError"):
        adl.optimizer("ill")
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'roar'") as caught:
        adl.optimizer("roarr")
    assert "ill-pkg 1.2.3" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (("@hookimpl\n", ""), "is not marked with @hookimpl"),
        (("def agnostic_dl_optimizers", "def agnostic_dl_optimiser"), "unknown hook"),
        (("{NAME: Rule}", "[Rule]"), "returned list, expected a dict"),
        (("{NAME: Rule}", "{'other': Rule}"), "expected the entry point's name"),
        (("{NAME: Rule}", "{NAME: 3}"), "expected a frozen dataclass"),
        (("learning_rate: float = 0.1", "rate: float = 0.1"), "no field learning_rate"),
        (("agnostic_dl_optimizers()", "agnostic_dl_optimizers(extra)"), "extra"),
    ],
)
def test_a_broken_contract_is_told_in_one_line(site, good_source, change, cause):
    site.install("lion-pkg", "roar", good_source.replace(*change))
    with pytest.raises(errors.PluginError) as caught:
        adl.optimizer("roar")
    assert cause in str(caught.value)
    assert "lion-pkg 1.2.3" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_imported_from_its_module_knows_its_registered_name():
    from agnostic_dl_optimizers.adagrad import AdaGrad

    assert plugins.name_of("optimizer", AdaGrad) == "adagrad"


BACKEND = """
from agnostic_dl.extend import Backend, hookimpl

class Odd(Backend):
    name = NAME

    @classmethod
    def probe(cls):
        raise OSError("the driver is upside down")

@hookimpl
def agnostic_dl_backends():
    return {NAME: Odd}
"""


def test_a_probe_that_raises_is_a_reason(site):
    site.install("odd-pkg", "odd", BACKEND, kind="backends")
    reasons = {b.name: b.reason for b in adl.list_backends()}
    assert "upside down" in reasons["odd"]
    assert reasons["numpy"] is None
    with pytest.raises(errors.BackendUnavailable, match=r"upside down.*available: .*numpy"):
        adl.get_backend("odd")


def test_an_absent_device_is_told_at_once():
    with pytest.raises(errors.BackendUnavailable, match="numpy on the device 'cuda:7'"):
        adl.use_backend("numpy", device="cuda:7")


def test_two_hundred_plugins_are_listed_without_importing_one(site):
    for number in range(200):
        site.install(f"pkg-{number}", f"rule-{number}")
    assert sum(p.name.startswith("rule-") for p in adl.list_plugins()) == 200
    assert adl.optimizer("rule-77").learning_rate == 0.1
    assert [m for m in sys.modules if m.startswith("pkg_")] == ["pkg_77"]

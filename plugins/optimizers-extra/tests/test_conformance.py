"""The conformance kit, on every optimizer of this distribution."""

from __future__ import annotations

import pytest

import agnostic_dl as adl

OURS = [p.name for p in adl.list_plugins() if p.distribution == "agnostic-dl-optimizers-extra"]


@pytest.mark.parametrize("name", OURS)
def test_every_rule_is_kept(name):
    report = adl.testing.check_optimizer(name)
    skipped = {finding.rule for finding in report.findings if finding.outcome == "skipped"}
    assert skipped <= {"reference", "elementwise", "device"}, report


def test_all_are_elementwise_but_those_that_need_norms_and_matrices():
    rest = {name for name in OURS if not adl.optimizer(name).elementwise}
    assert rest == {"lamb", "muon"}

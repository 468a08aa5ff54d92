"""What is damaged does not come back: bits, cut files, generations that do not belong together."""

from __future__ import annotations

import pytest
from saved_runs import NEWEST, OLDER, contents

import agnostic_dl as adl
from agnostic_dl.errors import CheckpointError, CheckpointWarning

pytest.importorskip("safetensors", reason="safetensors is not installed")


@pytest.mark.parametrize("place", [0, 9, 30, 500, -1])
def test_a_flipped_bit_is_found(run, place):
    path = run / NEWEST
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged") as caught:
        adl.Trainer.load(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, -1])
def test_a_cut_file_is_found(run, keep):
    path = run / NEWEST
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match=NEWEST):
        adl.Trainer.load(run)


@pytest.mark.parametrize("damage", ["flipped", "cut", "absent"])
def test_the_generation_before_is_loaded_with_a_warning(two, damage):
    run, before = two
    content = bytearray((run / NEWEST).read_bytes())
    content[len(content) // 2] ^= 4
    (run / NEWEST).write_bytes(content if damage == "flipped" else content[:99])
    if damage == "absent":
        (run / NEWEST).unlink()
    with pytest.warns(CheckpointWarning, match=r"falling back .* model\.previous\.safetensors"):
        again = adl.Trainer.load(run)
    assert contents(again) == before


def test_where_both_are_damaged_the_newest_is_named(two):
    run, _ = two
    for name in (NEWEST, OLDER):
        (run / name).write_bytes((run / name).read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"run/model\.safetensors: damaged"):
        adl.Trainer.load(run)


def test_a_header_of_one_save_with_the_arrays_of_another_is_refused(two):
    run, _ = two
    older, newer = (run / OLDER).read_bytes(), (run / NEWEST).read_bytes()
    size = 8 + int.from_bytes(newer[:8], "little")
    body = older[8 + int.from_bytes(older[:8], "little") :]
    assert len(body) == len(newer) - size
    (run / NEWEST).write_bytes(newer[:size] + body)
    (run / OLDER).unlink()
    with pytest.raises(CheckpointError, match="digest"):
        adl.Trainer.load(run)


def test_what_is_no_run_says_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint here.*Trainer\.save"):
        adl.Trainer.load(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        adl.Trainer.load(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="file: damaged"):
        adl.Trainer.load(tmp_path / "file")

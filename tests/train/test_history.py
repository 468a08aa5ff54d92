"""History: rows and columns, and CSV."""

from __future__ import annotations

import csv

import pytest

from agnostic_dl.train import History

ROWS = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": 0.75}]


def test_rows_and_columns():
    history = History()
    for row in ROWS:
        history.append(row)
    assert len(history) == 2
    assert history[-1] == ROWS[1]
    assert history["loss"] == [0.5, 0.25]
    assert history["val_loss"] == [None, 0.75]
    assert history.columns == ["epoch", "loss", "val_loss"]
    assert list(history) == ROWS
    with pytest.raises(KeyError, match="no column 'acc'; there are: epoch, loss, val_loss"):
        _ = history["acc"]


def test_csv_holds_every_row_and_column(tmp_path):
    History(ROWS).to_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "1", "loss": "0.5", "val_loss": ""},
        {"epoch": "2", "loss": "0.25", "val_loss": "0.75"},
    ]


def test_repr_shows_the_last_row():
    assert "2 epochs" in repr(History(ROWS))
    assert "val_loss=0.75" in repr(History(ROWS))
    assert "0 epochs" in repr(History())

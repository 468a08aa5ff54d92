"""The shortest training, and what is read of the folder that it leaves."""

from __future__ import annotations

import csv

from agnostic_dl.train import checkpoint

LINEAR = ("train", "digits", "--model", "linear")


def rows(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def described(folder):
    return checkpoint.read(folder / checkpoint.NAME)[1]


def weights(folder):
    """Every array of the checkpoint, to the bit, and where the run stands."""
    _, manifest, arrays = checkpoint.read(folder / checkpoint.NAME)
    return {n: a.tobytes() for n, a in arrays.items()}, manifest["state"], manifest["position"]

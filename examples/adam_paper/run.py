"""Run the Adam paper's experiments at a budget and say which of its claims hold.

    python examples/adam_paper/run.py logistic mlp cnn --budget 0.01

Data: $AGNOSTIC_DL_DATA (else ../shared/data beside the project) with mnist/ and cifar10/, the
latter a folder of class folders; --mnist and --cifar10 name others. Every experiment leaves a
folder with its report; README.md in --out holds the claims and what became of them. An interrupted
run goes on.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

import agnostic_dl as adl

sys.path.insert(0, str(Path(__file__).resolve().parent))
from experiments import EXPERIMENTS, Experiment, plan

ROOT = Path(__file__).resolve().parents[2]


def data_folder(name: str, given: str | None) -> Path:
    folder = Path(given or Path(os.environ.get("AGNOSTIC_DL_DATA", ROOT / "../shared/data")) / name)
    if not folder.is_dir():
        raise SystemExit(f"{name}: no folder {folder}: name one with --{name}")
    return folder


def installed(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The optimizers of the figure that are installed, and those that are not."""
    there = adl.list_optimizers()
    return (
        [name for name in names if name.partition(":")[0] in there],
        [name for name in names if name.partition(":")[0] not in there],
    )


def run(
    experiment: Experiment, folder: Path, budget: float, data: adl.data.Data, workers: int | None
) -> tuple:
    """The comparison, and the note on what the budget cuts."""
    own = plan(experiment, budget, len(data.train))
    names, missing = installed(experiment.optimizers)
    note = f"Section {experiment.section} of the Adam paper. {own.cuts}"
    if missing:
        note += f" Not installed, so left out: {', '.join(missing)}."
    found = adl.compare(
        data, names, model=experiment.model, model_options=experiment.model_options,
        schedule=experiment.schedule, epochs=own.epochs, limit=own.limit, seeds=own.seeds,
        trials=own.trials, search_steps=own.search_steps, batch_size=128, out=folder, note=note,
        workers=workers, xray=True, progress=say,
    )  # fmt: skip
    return found, note


def say(news: dict) -> None:
    """A line for each measurement."""
    if "epoch" in news:
        who = f"{news['label']} rate {news['rate']:.3g} epoch {news['epoch']:.2f}"
        print(
            f"  {who} validation loss {news['val_loss']:.4f} ({news['seconds']:.0f} s)", flush=True
        )


def losses_by_epoch(found) -> dict[str, list[float]]:
    """Optimizer → mean training loss of every epoch, over the seeds."""
    result: dict[str, list[float]] = {}
    for label in found.settings["optimizers"]:
        rows = [r for r in found.curves if r["optimizer"] == label and r["loss"] is not None]
        epochs: dict[int, list[float]] = {}
        for row in rows:
            epochs.setdefault(math.ceil(row["epoch"]), []).append(row["loss"])
        result[label] = [sum(own) / len(own) for _, own in sorted(epochs.items())]
    diverged = {run["optimizer"] for run in found.runs if run["diverged"]}
    return {label: [] if label in diverged else own for label, own in result.items()}


def verdicts(experiment: Experiment, found) -> list[str]:
    lines, losses = [], losses_by_epoch(found)
    for claim in experiment.claims:
        holds, numbers = claim.check(losses)
        word = "holds" if holds else "does not hold"
        lines.append(f"- Paper: {claim.text} **Here it {word}**: training loss {numbers}.")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="*", default=["logistic", "mlp", "cnn"])
    parser.add_argument("--budget", type=float, default=0.02, help="share of the paper's steps")
    parser.add_argument("--out", type=Path, default=Path("runs/adam_paper"))
    parser.add_argument("--mnist")
    parser.add_argument("--cifar10")
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    if unknown := [name for name in options.experiments if name not in EXPERIMENTS]:
        parser.error(f"no experiment {', '.join(unknown)}; there are: {', '.join(EXPERIMENTS)}")
    pages = [f"# The Adam paper's experiments at budget {options.budget:g}\n"]
    loaded: dict[str, adl.data.Data] = {}
    for name in options.experiments:
        experiment = EXPERIMENTS[name]
        if experiment.data not in loaded:
            given = getattr(options, experiment.data)
            loaded[experiment.data] = adl.data.load(data_folder(experiment.data, given))
        print(f"{experiment.section} {experiment.title}", flush=True)
        folder = options.out / name
        found, note = run(experiment, folder, options.budget, loaded[experiment.data],
                          options.workers)  # fmt: skip
        lines = verdicts(experiment, found)
        link = f"Report: [{name}/report.html]({name}/report.html)\n"
        pages += [f"## {experiment.section} {experiment.title}\n", note + "\n", *lines, "",
                  f"```\n{found}\n```\n", link]  # fmt: skip
        print("\n".join(lines), flush=True)
        (options.out / "README.md").write_text("\n".join(pages))


if __name__ == "__main__":
    main()

"""What oneDNN's own blocked layouts would bring over images as they lie, and its own first choice.

    python benchmarks/onednn_layouts.py [--rounds 12]

For the convolutions of lenet, adam-paper-cnn and resnet20 at batch 128, float32: milliseconds of
processor time in one thread. Images (N, H, W, C) as they are, computed by what the library tries
first and by what the plugin chooses, against all layouts chosen by the library and nothing
reordered, which is what a network that stays blocked from layer to layer would have.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from ctypes import c_void_p
from functools import partial
from typing import Any

os.environ["AGNOSTIC_DL_NUMPY_THREADS"] = "1"

from agnostic_dl_numpy import scratch
from agnostic_dl_onednn import library
from agnostic_dl_onednn.kernels import Convolution
from agnostic_dl_onednn.primitive import Execution, implementation, queried

#: Height and width, channels in and out, kernel, stride.
LAYERS = [
    (28, 1, 32, 3, 1), (14, 32, 64, 3, 1), (32, 3, 64, 5, 1), (15, 64, 64, 5, 1),
    (7, 64, 128, 5, 1), (32, 3, 16, 3, 1), (32, 16, 16, 3, 1), (32, 16, 32, 3, 2),
    (16, 32, 32, 3, 1), (16, 32, 64, 3, 2), (8, 64, 64, 3, 1),
]  # fmt: skip
ARGUMENTS = {
    "forward": ("src", "weights", "dst"), "data": ("diff_dst", "weights", "diff_src"),
    "weights": ("src", "diff_dst", "diff_weights"),
}  # fmt: skip


def milliseconds(kind: str, describe: Callable[[], Any], rounds: int) -> Any:
    """The least time of the computation alone, and what computes it; None: nothing good does."""
    try:
        description = describe()
    except library.OneDNNError:
        return None
    name = implementation(description)
    if "ref" in name:
        return None
    memories, kept = {}, []
    for argument in ARGUMENTS[kind]:
        layout = queried(description, argument)
        kept.append(scratch.aligned(library.size_of(layout)))
        kept[-1].fill(0)
        memories[argument] = library.memory(layout)
        library.call("dnnl_memory_set_data_handle", memories[argument],
                     c_void_p(kept[-1].ctypes.data))  # fmt: skip
    execution, times = Execution(description, memories), []
    for _ in range(rounds):
        started = time.process_time()
        execution.run()
        times.append(time.process_time() - started)
    return 1e3 * min(times), name


def main() -> None:
    """Print a row for each convolution and direction."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    if library.reason() is not None:
        raise SystemExit(library.reason())
    library.threads()
    print(f"oneDNN {library.version()}\n\n| convolution | pass | its first choice | the plugin's "
          "| ratio | blocked | ratio |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for size, channels, filters, kernel, stride in LAYERS:
        border = (kernel - 1) // 2
        out = (size + 2 * border - kernel) // stride + 1
        problem = Convolution(
            (128, size, size, channels), (kernel, kernel, channels, filters),
            (128, out, out, filters), False, False, (stride,) * 2, ((border,) * 2,) * 2, (1, 1),
        )  # fmt: skip
        for kind in ARGUMENTS:
            ways = (
                partial(problem.first, kind, ()), partial(problem.description, kind, ()),
                partial(problem.description, kind, ("src", "dst")),
            )  # fmt: skip
            first, plain, blocked = (milliseconds(kind, way, rounds) for way in ways)
            what = f"{size}×{size}, {channels} → {filters}, {kernel}×{kernel} / {stride}"
            print(f"| {what} | {kind} | {_cell(first)} | {_cell(plain)} | {_ratio(first, plain)} | "
                  f"{_cell(blocked)} | {_ratio(plain, blocked)} |")  # fmt: skip


def _cell(found: Any) -> str:
    return f"{found[0]:.2f} ({found[1]})" if found else "–"


def _ratio(one: Any, other: Any) -> str:
    return f"{one[0] / other[0]:.2f}" if one and other else "–"


if __name__ == "__main__":
    main()

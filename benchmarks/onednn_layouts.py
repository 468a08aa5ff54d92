"""What oneDNN's own blocked layouts would bring over images as they lie, (N, H, W, C).

    python benchmarks/onednn_layouts.py [--rounds 12]

For the convolutions of lenet, adam-paper-cnn and resnet20 at batch 128, float32: milliseconds of
processor time in one thread, images as they are against all layouts chosen by the library and
nothing reordered, which is what a network that stays blocked from layer to layer would have.
"""

from __future__ import annotations

import argparse
import os
import time
from ctypes import c_void_p
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


def milliseconds(problem: Convolution, kind: str, chosen: tuple[str, ...], rounds: int) -> Any:
    """The least time of the computation alone, and what computes it; None: nothing good does."""
    try:
        description = problem.description(kind, chosen)
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
    print(f"oneDNN {library.version()}\n\n| convolution | pass | as they are | blocked | ratio |")
    print("|---|---|---|---|---|")
    for size, channels, filters, kernel, stride in LAYERS:
        border = (kernel - 1) // 2
        out = (size + 2 * border - kernel) // stride + 1
        problem = Convolution(
            (128, size, size, channels), (kernel, kernel, channels, filters),
            (128, out, out, filters), False, False, (stride,) * 2, ((border,) * 2,) * 2, (1, 1),
        )  # fmt: skip
        for kind in ARGUMENTS:
            plain = milliseconds(problem, kind, (), rounds)
            blocked = milliseconds(problem, kind, ("src", "dst"), rounds)
            cells = [f"{found[0]:.2f} ({found[1]})" if found else "–" for found in (plain, blocked)]
            ratio = f"{plain[0] / blocked[0]:.2f}" if plain and blocked else "–"
            what = f"{size}×{size}, {channels} → {filters}, {kernel}×{kernel} / {stride}"
            print(f"| {what} | {kind} | {' | '.join(cells)} | {ratio} |")


if __name__ == "__main__":
    main()

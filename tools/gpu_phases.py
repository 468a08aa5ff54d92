"""One phase of gpu_check.py. It prints one line of JSON, or raises."""

from __future__ import annotations

import argparse
import json

from gpu_checks import conformance, environment, exactness, mixed, speed, steps, training
from gpu_checks.bench import Bench

import agnostic_dl as adl

PHASES = {f.__name__: f for f in (
    environment.environment, environment.transfers, exactness.kernels, exactness.generated,
    exactness.convolutions, exactness.products, training.replay, training.graphs, mixed.mixed,
    environment.devices, conformance.conformance, conformance.kernel_conformance,
    training.training, training.mnist, speed.adam, speed.convolution_speed, steps.launch_bound,
    steps.resnet18, steps.resnet18_compiled, environment.suite,
)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--mnist")
    options = parser.parse_args()
    bench = Bench(options)
    with adl.use_backend(bench.backend):
        result = PHASES[options.phase](bench)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Build cuDNN's plans for the model zoo's convolutions against an H200's properties, without a GPU.

    pip install nvidia-cudnn-frontend==1.24.1 nvidia-cudnn-cu13==9.19.0.56   # 470 MB
    python tools/cudnn_plans.py [--batch 512] [--properties environment.json]

Prints how many plans were built, and every one that was refused; the exit status is 1 if any was.
Then, for how many there is a plan that gives the same bits in each run, and of how many autotuning
has the choice; whether they run it takes a device to say.
The properties are made by hand, unless those that gpu_check.py has read from a device are given.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from agnostic_dl_cupy.convolution import geometry
from agnostic_dl_cupy.cudnn_graphs import Spec, build

H200: dict[str, Any] = {
    "deviceName": "NVIDIA H200", "deviceVer": 900, "cudaDeviceId": 0, "driverVer": 13000,
    "multiProcessorCount": 132, "warpSize": 32, "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048, "maxCtasPerSM": 32, "regsPerBlock": 65536,
    "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
    "l2CacheSize": 62914560, "totalGlobalMem": 150754820096, "smClockRateKHz": 1980000,
    "memClockRateKHz": 3201000, "pciDeviceId": 9013, "isTccDriver": 0, "supportCoopLaunch": 1,
}  # fmt: skip

#: Network → (side of the image, channels in, channels out, kernel, stride, padding).
SHAPES = {
    "lenet": [(28, 1, 32, 3, 1, 1), (14, 32, 64, 3, 1, 1)],
    "adam-paper-cnn": [(32, 3, 64, 5, 1, 2), (15, 64, 64, 5, 1, 2), (7, 64, 128, 5, 1, 2)],
    "resnet20": [
        (32, 3, 16, 3, 1, 1), (32, 16, 16, 3, 1, 1), (32, 16, 32, 3, 2, 1), (16, 32, 32, 3, 1, 1),
        (16, 32, 64, 3, 2, 1), (8, 64, 64, 3, 1, 1), (32, 16, 32, 1, 2, 0), (16, 32, 64, 1, 2, 0),
    ],
    "resnet18": [
        (32, 3, 64, 3, 1, 1), (32, 64, 64, 3, 1, 1), (32, 64, 128, 3, 2, 1),
        (16, 128, 128, 3, 1, 1), (16, 128, 256, 3, 2, 1), (8, 256, 256, 3, 1, 1),
        (8, 256, 512, 3, 2, 1), (4, 512, 512, 3, 1, 1), (32, 64, 128, 1, 2, 0),
        (16, 128, 256, 1, 2, 0), (8, 256, 512, 1, 2, 0),
    ],
}  # fmt: skip
DTYPES = (("bfloat16", False), ("float16", False), ("float32", False), ("float32", True))


def specs(batch: int) -> list[tuple[str, Spec]]:
    """Every shape × operation × dtype, and bias + ReLU on the way forward."""
    found = []
    for network, shapes in SHAPES.items():
        for side, inputs, outputs, kernel, stride, padding in shapes:
            geo = geometry(
                (batch, side, side, inputs), (kernel, kernel, inputs, outputs),
                stride=(stride, stride), padding=((padding, padding),) * 2, dilation=(1, 1),
                groups=1,
            )  # fmt: skip
            for dtype, tf32 in DTYPES:
                for operation in ("forward", "input_grad", "weight_grad"):
                    found.append((network, Spec(operation, geo, dtype, False, False, tf32, 0)))
                found.append((network, Spec("forward", geo, dtype, True, True, tf32, 0)))
    return found


def properties(path: Path | None) -> dict[str, Any]:
    """A device's: those by hand, or what the phase "environment" of gpu_check.py has written."""
    if path is None:
        return H200
    found: dict[str, Any] = json.loads(path.read_text())["result"]["cudnn properties"]
    return found


def choice(cudnn: Any, spec: Spec, target: dict[str, Any]) -> int:
    """How many plans autotuning would run. To build one selects it: the scratch memory tells."""
    graph, built = build(cudnn, spec._replace(autotune=True), **target), 0
    for index in range(graph.get_execution_plan_count()):
        with suppress(cudnn.cudnnGraphNotSupportedError):
            graph.build_plan_at_index(index)
            if graph.get_workspace_size() != graph.get_workspace_size_plan_at_index(index):
                raise AssertionError(f"plan {index} of {spec} was built and is not selected")
            built += 1
    return built


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--properties", type=Path)
    arguments = parser.parse_args()
    wanted, device = specs(arguments.batch), properties(arguments.properties)
    import cudnn

    target = {
        "device_property": cudnn.create_device_properties(json.dumps(device)),
        "sm_version": device["deviceVer"] // 10,
    }
    refused, choices, repeatable = 0, [], 0
    for network, spec in wanted:
        try:
            build(cudnn, spec, **target)
            choices.append(choice(cudnn, spec, target))
        except cudnn.cudnnGraphNotSupportedError as error:
            refused += 1
            print(f"refused: {network} {spec}: {str(error).splitlines()[0]}")
        else:
            with suppress(cudnn.cudnnGraphNotSupportedError):
                build(cudnn, spec._replace(repeatable=True), **target)
                repeatable += 1
    versions = f"cuDNN {cudnn.backend_version()}, frontend {cudnn.__version__}"
    print(f"{len(wanted) - refused} of {len(wanted)} plans built ({versions})")
    print(f"{repeatable} of them with the same bits in each run")
    print(f"autotuning chooses among {sum(choices)}, at least {min(choices, default=0)} for each")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())

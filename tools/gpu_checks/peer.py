"""PyTorch's side of the comparisons: on the same device, with its switches said aloud."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpu_checks.bench import Bench

#: Channels of the stages, and blocks in each.
STAGES = {"resnet18": ((64, 128, 256, 512), 2), "resnet20": ((16, 32, 64), 3)}


def torch_or_none() -> Any:
    """The module, or None where it is absent."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def device(bench: Bench) -> str:
    """Where PyTorch computes: on the GPU, or in a rehearsal on the CPU."""
    if not bench.dry and not torch_or_none().cuda.is_available():
        raise AssertionError("this PyTorch has no CUDA: install its CUDA build, or none")
    return bench.pick("cuda", "cpu")


def switches(torch: Any, tf32: bool) -> dict[str, Any]:
    """Set TF32 for convolutions and products alike, cuDNN's search on; what now holds."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    return {
        "torch": torch.__version__, "cudnn.benchmark": True,
        "cudnn.allow_tf32": tf32, "cuda.matmul.allow_tf32": tf32,
    }  # fmt: skip


def images(bench: Bench, array: Any, dtype: str = "float32") -> Any:
    """(N, H, W, C) of the host as (N, C, H, W) in memory format channels_last."""
    torch = torch_or_none()
    found = torch.from_numpy(array).to(device(bench), getattr(torch, dtype))
    return found.permute(0, 3, 1, 2)


def weights(array: Any) -> Any:
    """An array of our state as PyTorch lays it out."""
    torch = torch_or_none()
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    return torch.from_numpy(np.array(array.T if array.ndim == 2 else array))


def twin(bench: Bench, name: str, ours: Any, channels: int) -> Any:
    """PyTorch's network with the same layers and the same first weights, channels last."""
    torch = torch_or_none()
    if name == "lenet":
        made = _lenet(torch, ours, channels)
    else:
        made = _residual(torch, channels, *STAGES[name])
    arrays = ours.state_dict()
    state = {n: weights(np.asarray(bench.backend.to_numpy(a))) for n, a in arrays.items()}
    missing, unexpected = made.load_state_dict(state, strict=False)
    left = [n for n in missing if not n.endswith("num_batches_tracked")]
    if left or unexpected:
        raise AssertionError(f"the networks differ: {left}, {unexpected}")
    return made.to(device(bench)).to(memory_format=torch.channels_last)


def _lenet(torch: Any, ours: Any, channels: int) -> Any:
    nn, state = torch.nn, ours.state_dict()

    class Rows(nn.Module):
        """Flattens (N, C, H, W) in our order of elements, with the channels innermost."""

        def forward(self, x: Any) -> Any:
            return x.permute(0, 2, 3, 1).flatten(1)

    inner, hidden = state["fc1.weight"].shape
    return nn.Sequential(_named(
        conv1=nn.Conv2d(channels, 32, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(32, 64, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        flatten=Rows(), fc1=nn.Linear(inner, hidden), relu3=nn.ReLU(), fc2=nn.Linear(hidden, 10),
    ))  # fmt: skip


def _named(**layers: Any) -> Any:
    from collections import OrderedDict

    return OrderedDict(layers)


def _residual(torch: Any, channels: int, stages: tuple[int, ...], blocks: int) -> Any:
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inside: int, outside: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(outside)
            self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(outside)
            self.shortcut = nn.Sequential() if stride == 1 and inside == outside else nn.Sequential(
                _named(conv=nn.Conv2d(inside, outside, 1, stride, bias=False),
                       bn=nn.BatchNorm2d(outside))
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            inner = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))

    inside = stages[0]
    layers = {"conv1": nn.Conv2d(channels, inside, 3, padding=1, bias=False),
              "bn1": nn.BatchNorm2d(inside), "relu1": nn.ReLU()}  # fmt: skip
    for stage, outside in enumerate(stages, 1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            layers[f"stage{stage}_block{block}"] = Block(inside, outside, stride)
            inside = outside
    pool = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return nn.Sequential(_named(**layers, **pool, fc=nn.Linear(inside, 10)))


def training_step(
    bench: Bench, module: Any, x: Any, y: Any, *, bfloat16: bool = False
) -> Callable[[], Any]:  # fmt: skip
    """A step of Adam on one batch; its loss, not synchronised. bfloat16: by autocast."""
    torch = torch_or_none()
    where = device(bench)
    optimizer = torch.optim.Adam(
        module.parameters(), lr=1e-3, fused=True, capturable=where == "cuda"
    )

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(where, dtype=torch.bfloat16, enabled=bfloat16):
            loss = torch.nn.functional.cross_entropy(module(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def graphed(bench: Bench, step: Callable[[], Any]) -> Callable[[], Any]:
    """The step as a torch.cuda.CUDAGraph made by hand; rehearsed: the step itself."""
    torch = torch_or_none()
    if bench.dry:
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay(loss: Any = loss) -> Any:
        graph.replay()
        return loss

    return replay

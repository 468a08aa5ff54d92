"""Time of one step through the bridges beside PyTorch's and optax's own, in turns, as a ratio.

    python tools/measure_bridges.py [torch] [optax]

With OMP_NUM_THREADS=1 the figures do not depend on who else is computing.
"""

from __future__ import annotations

import statistics
import sys
import time

import agnostic_dl as adl

NETWORKS = {
    "lenet, 421k": ((32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (3136, 128), (128,), (128, 10),
                    (10,)),
    "wide, 4.2M": ((2048, 2048), (2048,)),
    "resnet-20, 272k": ((16, 3, 3, 3), *((16, 16, 3, 3),) * 7, *((32, 32, 3, 3),) * 6,
                        *((64, 64, 3, 3),) * 6, *((64,),) * 40, (64, 10), (10,)),
}  # fmt: skip
ROUNDS, STEPS = 9, 8


def turns(ours, theirs) -> str:
    """Medians of both, taken in turns, and the median of the ratios."""
    for run in (ours, theirs) * 3:
        run()
    pairs = []
    for _ in range(ROUNDS):
        times = []
        for run in (ours, theirs):
            started = time.perf_counter()
            for _ in range(STEPS):
                run()
            times.append((time.perf_counter() - started) / STEPS)
        pairs.append(times)
    one, two = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return f"ours {one:8.3f} ms   theirs {two:8.3f} ms   ratio {ratio:5.2f}"


def with_torch() -> None:
    import torch

    def params(shapes):
        made = [torch.nn.Parameter(torch.randn(s)) for s in shapes]
        for p in made:
            p.grad = torch.randn(p.shape)
        return made

    own = {
        "sgd": lambda p: torch.optim.SGD(p, lr=1e-3),
        "momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
        "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-3),
        "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    }
    for network, shapes in NETWORKS.items():
        for name, make in own.items():
            ours = adl.interop.torch.optimizer(name, params(shapes), lr=1e-3)
            print(f"torch {network:16} {name:9}", turns(ours.step, make(params(shapes)).step))
    cnn(torch)


def cnn(torch) -> None:
    """A whole training step of a CNN on 64 images of 28×28."""
    from torch import nn

    x, y = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))

    def training(make):
        model = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
        optimizer = make(model.parameters())

        def step():
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

        return step

    ours = training(lambda p: adl.interop.torch.optimizer("adam", p))
    print("torch, a CNN's whole step, adam   ", turns(ours, training(torch.optim.Adam)))


def with_optax() -> None:
    import jax
    import optax

    def stepping(transform, shapes):
        keys = jax.random.split(jax.random.PRNGKey(0), len(shapes))
        holder = [[jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]]
        holder.append(transform.init(holder[0]))
        grads = [jax.random.normal(k, s) for k, s in zip(keys[::-1], shapes, strict=True)]

        @jax.jit
        def one(params, state):
            moves, state = transform.update(grads, state, params)
            return optax.apply_updates(params, moves), state

        def run():
            holder[:] = one(*holder)
            jax.block_until_ready(holder[0])

        return run

    own = {
        "sgd": optax.sgd(1e-3), "momentum": optax.sgd(1e-3, momentum=0.9),
        "adagrad": optax.adagrad(1e-3), "adam": optax.adam(1e-3),
    }  # fmt: skip
    for network, shapes in NETWORKS.items():
        for name, theirs in own.items():
            ours = adl.interop.optax.transform(name, learning_rate=1e-3)
            pair = stepping(ours, shapes), stepping(theirs, shapes)
            print(f"optax {network:16} {name:9}", turns(*pair))


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["torch", "optax"]
    for part in wanted:
        {"torch": with_torch, "optax": with_optax}[part]()

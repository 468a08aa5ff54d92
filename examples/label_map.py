"""An image in, a label for every pixel out: a small fully convolutional network, shown in colours.

    python examples/label_map.py [IMAGE] [--steps 1000] [--out label_map]

Every layer is a convolution of 16 filters of 3×3, stride 1, padding 1; the last has one filter per
label. Without IMAGE a scene of shapes on a noisy ground is drawn, whose labels are known; the
labels of an IMAGE are the nearest of its main colours, which the network learns from each pixel's
neighbourhood. Leaves the image, the labels that were asked for and those that the network gives.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import agnostic_dl as adl
from agnostic_dl import nn

COLORS = ("#2b2d42", "#ef476f", "#ffd166", "#06d6a0", "#118ab2", "#9b5de5")


def network(labels: int) -> nn.Sequential:
    """Convolutions only: images (N, H, W, 3) of any size → scores (N, H, W, labels)."""
    return nn.Sequential(
        conv1=nn.Conv2d(3, 16, 3, stride=1, padding=1), relu1=nn.ReLU(),
        conv2=nn.Conv2d(16, 16, 3, stride=1, padding=1), relu2=nn.ReLU(),
        conv3=nn.Conv2d(16, 16, 3, stride=1, padding=1), relu3=nn.ReLU(),
        scores=nn.Conv2d(16, labels, 1),
    )  # fmt: skip


def pixel_loss(scores: adl.Tensor, labels: adl.Tensor) -> adl.Tensor:
    """Mean cross-entropy over the pixels: scores (N, H, W, K), labels (N * H * W,)."""
    flat = adl.primitives.PRIMITIVES["reshape"](scores, shape=(-1, scores.shape[-1]))
    return adl.losses.cross_entropy(flat, labels)


def scene(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture (size, size, 3) of a disc, a square and a stripe, and its labels 0..3."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    labels = np.zeros((size, size), dtype=np.int64)
    labels[np.abs(x - y) < 0.08] = 3
    labels[(x - 0.32) ** 2 + (y - 0.62) ** 2 < 0.045] = 1
    labels[(np.abs(x - 0.7) < 0.16) & (np.abs(y - 0.3) < 0.16)] = 2
    tones = np.array([[0.45, 0.45, 0.5], [0.6, 0.45, 0.45], [0.5, 0.6, 0.45], [0.4, 0.5, 0.65]])
    picture = tones[labels] + draw.normal(0, 0.12, (size, size, 3))
    return picture.clip(0, 1).astype(np.float32), labels


def main_colors(picture: np.ndarray, count: int, rounds: int = 20) -> np.ndarray:
    """Labels (H, W) of the nearest of *count* colours, found by k-means from a fixed start."""
    pixels = picture.reshape(-1, 3)
    order = np.argsort(pixels.sum(axis=1))
    centres = pixels[order[np.linspace(0, len(order) - 1, count).astype(int)]]
    for _ in range(rounds):
        labels = ((pixels[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        centres = np.array([
            pixels[labels == k].mean(axis=0) if (labels == k).any() else centres[k]
            for k in range(count)
        ])  # fmt: skip
    return labels.reshape(picture.shape[:2])


def progress(step: int, steps: int, loss: float, accuracy: float) -> None:
    done = 24 * step // steps
    end = "\n" if step == steps or not sys.stdout.isatty() else "\r"
    print(f"[{'=' * done}{' ' * (24 - done)}] step {step}/{steps}  loss {loss:.4f}  "
          f"pixels right {100 * accuracy:.1f} %", end=end, flush=True)  # fmt: skip


def train(picture: np.ndarray, labels: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """Labels (H, W) that the trained network gives, and the share of them that are right."""
    xp = adl.get_backend().xp
    model = network(int(labels.max()) + 1).init(0)
    step = adl.train_step(model, pixel_loss, adl.optimizer("adam", learning_rate=5e-3))
    x, y = picture[None], labels.reshape(-1)
    for number in range(1, steps + 1):
        loss = step(x, y)
        if number % max(steps // 20, 1) == 0 or number == steps:
            found = predict(model, x, xp)
            progress(number, steps, float(loss), float((found == labels).mean()))
    found = predict(model, x, xp)
    return found, float((found == labels).mean())


def predict(model: nn.Module, x: np.ndarray, xp) -> np.ndarray:
    with adl.no_grad():
        scores = model(adl.get_backend().asarray(x)).data
    return adl.get_backend().to_numpy(xp.argmax(scores, axis=-1))[0]


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64, help="the longer side, in pixels")
    parser.add_argument("--out", type=Path, default=Path("label_map"))
    options = parser.parse_args(arguments)
    if options.image is None:
        picture, labels = scene(options.size)
    else:
        try:
            image = Image.open(options.image).convert("RGB")
        except OSError as error:
            parser.error(f"{options.image}: not a picture that can be read: {error}")
        image.thumbnail((options.size, options.size))
        picture = np.asarray(image, dtype=np.float32) / 255
        labels = main_colors(picture, 4)
    found, share = train(picture, labels, options.steps)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = {
        "image": (255 * picture).astype(np.uint8),
        "labels": adl.viz.label_to_color_map(labels, COLORS),
        "network": adl.viz.label_to_color_map(found, COLORS),
    }
    for name, array in pictures.items():
        shown = Image.fromarray(array).resize((4 * array.shape[1], 4 * array.shape[0]), 0)
        shown.save(options.out / f"{name}.png")
    print(f"{100 * share:.2f} % of the pixels right; pictures in {options.out}")
    return share


if __name__ == "__main__":
    main()

"""Whole models of the zoo against the same networks in PyTorch, with the same weights, in float64:
outputs, gradients and five steps of SGD."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
tnn = torch.nn


def lenet(shape, classes):
    h, w, c = shape
    return tnn.ModuleDict({
        "conv1": tnn.Conv2d(c, 32, 3, padding="same"), "relu1": tnn.ReLU(),
        "pool1": tnn.MaxPool2d(2), "conv2": tnn.Conv2d(32, 64, 3, padding="same"),
        "relu2": tnn.ReLU(), "pool2": tnn.MaxPool2d(2), "flatten": Flat(),
        "fc1": tnn.Linear((h // 4) * (w // 4) * 64, 128), "relu3": tnn.ReLU(),
        "fc2": tnn.Linear(128, classes),
    })  # fmt: skip


def adam_paper_cnn(shape, classes):
    layers, channels = {}, shape[2]
    for i, filters in enumerate((64, 64, 128), 1):
        layers[f"conv{i}"] = tnn.Conv2d(channels, filters, 5, padding=2)
        layers[f"relu{i}"], layers[f"pool{i}"] = tnn.ReLU(), tnn.MaxPool2d(3, 2)
        channels = filters
    layers |= {"flatten": Flat(), "fc1": tnn.LazyLinear(1000), "relu4": tnn.ReLU()}
    return tnn.ModuleDict(layers | {"fc2": tnn.Linear(1000, classes)})


def mlp(shape, classes):
    return tnn.ModuleDict({
        "flatten": Flat(), "fc1": tnn.Linear(shape[0] * shape[1] * shape[2], 1000),
        "relu1": tnn.ReLU(), "fc2": tnn.Linear(1000, 1000), "relu2": tnn.ReLU(),
        "fc3": tnn.Linear(1000, classes),
    })  # fmt: skip


class Flat(tnn.Module):
    """Flatten in our order: height, width, channels."""

    def forward(self, x):
        return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).flatten(1)


class Block(tnn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = tnn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = tnn.BatchNorm2d(outside)
        self.conv2 = tnn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = tnn.BatchNorm2d(outside)
        self.shortcut = tnn.ModuleDict()
        if stride != 1 or inside != outside:
            self.shortcut["conv"] = tnn.Conv2d(inside, outside, 1, stride, bias=False)
            self.shortcut["bn"] = tnn.BatchNorm2d(outside)

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + run(self.shortcut, x))


class Mean(tnn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def resnet20(shape, classes):
    return residual(shape[2], classes, (16, 32, 64), 3)


def resnet18(shape, classes):
    return residual(shape[2], classes, (64, 128, 256, 512), 2)


def residual(channels, classes, stages, blocks):
    inside = stages[0]
    layers = {
        "conv1": tnn.Conv2d(channels, inside, 3, padding=1, bias=False),
        "bn1": tnn.BatchNorm2d(inside), "relu1": tnn.ReLU(),
    }  # fmt: skip
    for stage, outside in enumerate(stages, 1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            layers[f"stage{stage}_block{block}"] = Block(inside, outside, stride)
            inside = outside
    return tnn.ModuleDict(layers | {"pool": Mean(), "fc": tnn.Linear(inside, classes)})


def run(layers, x):
    for layer in layers.values():
        x = layer(x)
    return x


#: name → twin in PyTorch, image shape (odd sizes where the model takes them), options
MODELS = {
    "mlp": (mlp, (5, 6, 2), {"dropout": 0.0}),
    "lenet": (lenet, (9, 8, 1), {}),
    "adam-paper-cnn": (adam_paper_cnn, (17, 15, 3), {}),
    "resnet20": (resnet20, (9, 12, 3), {}),
    "resnet18": (resnet18, (9, 12, 3), {}),
}


def to_torch(array):
    """Our layout to PyTorch's: convolution weights and images, and linear weights."""
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    return torch.from_numpy(np.array(array.T if array.ndim == 2 else array))


def as_ours(array):
    array = array.detach().numpy()
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def twins(name):
    make, shape, options = MODELS[name]
    ours = adl.models.create(name, input_shape=shape, classes=7, **options)
    ours.astype("float64").init(1)
    theirs = make(shape, 7).double()
    run(theirs, torch.zeros(2, shape[2], *shape[:2], dtype=torch.float64))  # lazy layers
    for module in theirs.modules():
        if isinstance(module, tnn.BatchNorm2d):
            module.reset_running_stats()
    weights = {n: to_torch(np.asarray(a)) for n, a in ours.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(n.endswith("num_batches_tracked") for n in missing)
    rng = np.random.default_rng(3)
    batch = rng.uniform(size=(6, *shape)), rng.integers(0, 7, 6)
    return ours, theirs, batch


def torch_loss(theirs, batch):
    x, y = batch
    outputs = run(theirs, torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    return outputs, tnn.functional.cross_entropy(outputs, torch.from_numpy(y))


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients(host, relative_error, name):
    ours, theirs, (x, y) = twins(name)
    outputs, loss = torch_loss(theirs, (x, y))
    loss.backward()
    found = ours(host.asarray(x))
    assert relative_error(found.data, outputs.detach().numpy()) <= 1e-12
    adl.losses.cross_entropy(found, host.asarray(y)).backward()
    expected = {n: as_ours(p.grad) for n, p in theirs.named_parameters()}
    assert set(expected) == set(ours.parameters())
    scale = max(np.max(np.abs(g)) for g in expected.values())
    for parameter, tensor in ours.parameters().items():
        error = np.max(np.abs(tensor.grad.data - expected[parameter])) / scale
        assert error <= 1e-12, parameter


@pytest.mark.parametrize("name", MODELS)
def test_five_steps_of_sgd(relative_error, name):
    ours, theirs, batch = twins(name)
    step = adl.train_step(ours, "cross_entropy", adl.optimizer("sgd", learning_rate=0.05))
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.05)
    for _ in range(5):
        sgd.zero_grad()
        loss = torch_loss(theirs, batch)[1]
        loss.backward()
        sgd.step()
        assert float(step(*batch)) == pytest.approx(float(loss.detach()), rel=1e-12)
    for parameter, values in ours.state_dict().items():
        expected = as_ours(theirs.state_dict()[parameter])
        assert relative_error(values, expected) <= 1e-12, parameter
    ours.eval()
    theirs.eval()
    found = ours(batch[0]).data
    assert relative_error(found, torch_loss(theirs, batch)[0].detach().numpy()) <= 1e-12

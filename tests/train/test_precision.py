"""Mixed precision: against PyTorch's autocast and GradScaler, against float32, and to the bit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import NonFiniteError, UnknownNameError, UsageError
from agnostic_dl.optim import Engine
from agnostic_dl.primitives import PRIMITIVES as P
from agnostic_dl.primitives.definition import watcher
from agnostic_dl.train import Checkpoints, XRay, archive, checkpoint
from agnostic_dl.train.precision import LossScaling

HALVES = [
    "float16",
    pytest.param("bfloat16", marks=pytest.mark.skipif(
        "bfloat16" not in adl.get_backend("numpy").dtypes, reason="ml_dtypes is not installed")),
]  # fmt: skip
#: Unit roundoff: half the distance from 1 to the next number.
ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


@pytest.fixture(autouse=True)
def own_kernels():
    """Other plugins' kernels may add up in another order in a fused operation."""
    with adl.use_backend("numpy", kernels=()):
        yield


def cnn():
    return nn.Sequential(
        conv=nn.Conv2d(2, 6, 3, padding=1), relu=nn.ReLU(), pool=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(54, 16), tanh=nn.Tanh(), fc2=nn.Linear(16, 3),
    ).init(0)  # fmt: skip


def mlp():
    return nn.Sequential(
        flatten=nn.Flatten(), fc1=nn.Linear(72, 32), relu=nn.ReLU(), fc2=nn.Linear(32, 3)
    ).init(0)


def everything():
    """Batch norm, dropout, layer norm, average pooling and a residual beside the usual."""
    return nn.Sequential(
        conv=nn.Conv2d(2, 6, 3, padding=1, bias=False), bn=nn.BatchNorm2d(6), relu=nn.ReLU(),
        pool=nn.AvgPool2d(2), flatten=nn.Flatten(), drop=nn.Dropout(0.2), fc1=nn.Linear(54, 16),
        norm=nn.LayerNorm(16), gelu=nn.GELU(), fc2=nn.Linear(16, 3),
    ).init(0)  # fmt: skip


def batches(count, size=32):
    """Images (6, 6, 2) of three classes that differ in their brightest rows."""
    draw = np.random.default_rng(0)
    for _ in range(count):
        y = draw.integers(0, 3, size)
        x = draw.normal(0, 0.5, (size, 6, 6, 2)).astype(np.float32)
        x[np.arange(size)[:, None], 2 * y[:, None] + np.arange(2)] += 1.0
        yield x, y


def same_state(one, other):
    a, b = one.model.state_dict(), other.model.state_dict()
    slots = one.state["slots"], other.state["slots"]
    rest = [{n: v for n, v in step.state.items() if n != "slots"} for step in (one, other)]
    return (
        rest[0] == rest[1]
        and all(np.array_equal(a[n], b[n]) for n in a)
        and all(
            np.array_equal(kept[s], slots[1][n][s]) for n, kept in slots[0].items() for s in kept
        )
    )


# -- beside PyTorch --------------------------------------------------------------------------------


def twin(torch, model):
    """The same network in PyTorch, on images (N, H, W, C), with the same weights."""
    weights = {n: torch.tensor(v) for n, v in model.state_dict().items()}
    conv, lines = None, {}
    if "conv.weight" in weights:
        conv = torch.nn.Conv2d(2, 6, 3, padding=1)
        conv.weight.data = weights["conv.weight"].permute(3, 2, 0, 1).contiguous()
        conv.bias.data = weights["conv.bias"]
    for name in ("fc1", "fc2"):
        weight = weights[f"{name}.weight"]
        lines[name] = torch.nn.Linear(*weight.shape)
        lines[name].weight.data = weight.T.contiguous()
        lines[name].bias.data = weights[f"{name}.bias"]
    middle = torch.tanh if conv is not None else torch.relu

    def forward(x):
        if conv is not None:
            x = torch.nn.functional.max_pool2d(torch.relu(conv(x.permute(0, 3, 1, 2))), 2)
            x = x.permute(0, 2, 3, 1)
        return lines["fc2"](middle(lines["fc1"](x.flatten(1))))

    modules = [*lines.values(), *([conv] if conv is not None else [])]
    return forward, [p for m in modules for p in m.parameters()]


def pytorch_losses(torch, model, precision, count):
    forward, parameters = twin(torch, model)
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "float16")
    losses = []
    for x, y in batches(count):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=getattr(torch, precision)):
            out = forward(torch.tensor(x))
            loss = torch.nn.functional.cross_entropy(out, torch.tensor(y))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("make", [mlp, cnn])
def test_losses_are_those_of_pytorchs_autocast(make, precision):
    """Within ten roundings of the first loss, over 30 steps in which it falls to a tenth."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = pytorch_losses(torch, make(), precision, 30)
    step = adl.train_step(
        make(), "cross_entropy", adl.optimizer("adam", learning_rate=1e-2), precision=precision
    )
    ours = [float(step(x, y)) for x, y in batches(30)]
    assert step.captured
    assert ours[-1] < 0.1 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=10 * ROUNDOFF[precision] * ours[0])
    plain = adl.train_step(make(), "cross_entropy", adl.optimizer("adam", learning_rate=1e-2))
    assert [float(plain(x, y)) for x, y in batches(30)] != ours


def linear_in_its_target(outputs, targets):
    """A loss whose gradient is the targets'; that of 1e30 overflows in float16 at any scale."""
    return P["mean"](P["multiply"](outputs, targets))


def tiny(precision="float16", optimizer=None, **options):
    model = nn.Sequential(nn.Linear(1, 1, bias=False)).init(0)
    model[0].weight.data = np.ones((1, 1), np.float32)
    optimizer = optimizer or adl.optimizer("momentum", learning_rate=2.0**-6)
    return adl.train_step(model, linear_in_its_target, optimizer, precision=precision, **options)


ONE = np.ones((1, 1), np.float32)
GOOD, BAD = (ONE, ONE / 8), (ONE, np.float32(1e30) * ONE)


@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("check", [False, True])
def test_scales_and_weights_are_those_of_gradscaler(capture, check):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    overflows = [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=2.0**-6, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", growth_interval=3)
    step = tiny(capture=capture, check=check)
    step.precision.scaling = LossScaling(interval=3)
    for overflow in overflows:
        before = scaler.scale(weight.sum()), step.state["scaling"]["scale"]
        assert scaler.get_scale() == before[1]
        weight.grad = torch.full((1,), float("inf") if overflow else scaler.get_scale() / 8)
        scaler.step(optimizer)
        scaler.update()
        step(*(BAD if overflow else GOOD))
        assert step.state["scaling"]["scale"] == scaler.get_scale()
        assert step.state["scaling"]["clean"] == scaler._get_growth_tracker()
        np.testing.assert_array_equal(step.model[0].weight.data[0], weight.detach().numpy())
    assert step.captured == capture
    assert step.count == overflows.count(0)


def test_the_defaults_are_gradscalers():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs, ours = torch.amp.GradScaler("cpu"), LossScaling()
    assert ours.initial == theirs.get_scale()
    assert ours.growth == theirs.get_growth_factor()
    assert ours.backoff == theirs.get_backoff_factor()
    assert ours.interval == theirs.get_growth_interval()


@pytest.mark.parametrize("capture", [False, True])
def test_gradients_are_clipped_after_their_scale_is_taken_away(capture):
    """As PyTorch has it: unscale_, then clip_grad_norm_. The step is as long as the limit says."""
    engine = Engine(adl.optimizer("sgd", learning_rate=1.0), clip_norm=0.0625)
    step = tiny(optimizer=engine, capture=capture)
    for k in range(1, 4):
        step(*GOOD)
        assert step.model[0].weight.data[0, 0] == pytest.approx(1 - 0.0625 * k, rel=1e-5)


# -- beside float32 --------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("make", [mlp, cnn, everything])
def test_gradients_are_float32s_within_some_roundings(make, precision):
    (x, y), found = next(batches(1)), []
    for wanted in (None, precision):
        step = adl.train_step(make(), "cross_entropy", adl.optimizer("sgd"), precision=wanted)
        found.append(step.gradients(x, y))
    (loss, outputs, grads), (mixed_loss, mixed_outputs, mixed) = found
    assert mixed_loss == pytest.approx(float(loss), rel=8 * ROUNDOFF[precision])
    assert mixed_outputs.dtype == np.float32
    np.testing.assert_allclose(mixed_outputs, outputs, rtol=0, atol=16 * ROUNDOFF[precision])
    for name, grad in grads.items():
        assert mixed[name].dtype == np.float32
        gap = np.linalg.norm(mixed[name] - grad) / np.linalg.norm(grad)
        assert 0 < gap < 8 * ROUNDOFF[precision], name


@pytest.mark.parametrize("precision", HALVES)
def test_digits_are_learnt_as_well_as_in_float32(precision):
    data = adl.data.load("digits")
    accuracy = {}
    for wanted in (None, precision):
        model = adl.models.create("lenet", input_shape=(8, 8, 1), classes=10)
        trainer = adl.Trainer(model, "adam", precision=wanted)
        trainer.fit(data.train, epochs=6, batch_size=64)
        accuracy[wanted] = trainer.evaluate(data.test)["accuracy"]
    assert accuracy[None] > 0.9
    assert accuracy[precision] > accuracy[None] - 0.01


def test_without_a_precision_nothing_watches():
    seen = []

    class Looks(nn.Module):
        def forward(self, x):
            seen.append(watcher.get())
            return x

    model = nn.Sequential(Looks(), mlp())
    adl.train_step(model, "cross_entropy", adl.optimizer("sgd"), capture=False)(*next(batches(1)))
    assert seen == [None]


# -- to the bit ------------------------------------------------------------------------------------

OPTIMIZERS = {
    "adam": lambda: adl.optimizer("adam", learning_rate=0.01),
    "clipped": lambda: Engine(adl.optimizer("momentum", learning_rate=0.1), clip_norm=0.5),
    "lamb": lambda: adl.optimizer("lamb"),
    "frozen": lambda: Engine(adl.optimizer("adam"), overrides={"fc1.*": None}),
}


def run(precision, optimizer, *, make=everything, **options):
    """Eight steps on batches of two sizes; the third and sixth overflow in float16."""
    step = adl.train_step(make(), weighted, OPTIMIZERS[optimizer](), precision=precision, **options)
    losses = []
    for k, (x, y) in enumerate(batches(8, 12)):
        n = 12 - 4 * (k % 2)
        targets = np.concatenate([y[:n, None], np.full((n, 1), 1e3 if k in (2, 5) else 1.0)], 1)
        losses.append(float(step(x[:n], targets.astype(np.float32))))
    return step, losses


def weighted(outputs, targets):
    """Cross-entropy times a weight that stands beside the labels."""
    labels = P["astype"](P["getitem"](targets, key=(slice(None), 0)), dtype=np.int64)
    factor = P["getitem"](targets, key=(slice(None), 1))
    return P["mean"](P["multiply"](P["softmax_cross_entropy"](outputs, labels), factor))


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("check", [False, True])
def test_captured_steps_are_the_eager_ones_to_the_bit(precision, optimizer, check, monkeypatch):
    eager, losses = run(precision, optimizer, capture=False, check=check)
    planned, found = run(precision, optimizer, check=check)
    monkeypatch.setattr(
        adl.get_backend("numpy"), "compile",
        lambda program, like=None: program.interpreted(adl.get_backend("numpy"), like),
    )  # fmt: skip
    interpreted, others = run(precision, optimizer, check=check)
    assert planned.captured
    assert interpreted.captured
    assert losses == found == others
    assert same_state(eager, planned)
    assert same_state(eager, interpreted)
    left_out = 2 if precision == "float16" else 0
    assert planned.count == 8 - left_out
    if left_out:
        assert planned.state["scaling"] == {"scale": 2.0**14, "clean": 2}


class Remembers(nn.Module):
    """Keeps the largest values of its last batch, which is short, in a buffer."""

    def __init__(self, features):
        self.top = nn.Buffer((features,))

    def forward(self, x):
        if self.training:
            self.top.data = P["max"](x, axis=0)
        return x


@pytest.mark.parametrize("precision", HALVES)
def test_what_a_layer_puts_into_its_buffers_is_float32(precision):
    def make():
        return nn.Sequential(
            flatten=nn.Flatten(), fc1=nn.Linear(72, 8), top=Remembers(8), fc2=nn.Linear(8, 3)
        ).init(0)

    steps = [run(precision, "adam", make=make, capture=capture)[0] for capture in (False, True)]
    assert steps[1].captured
    assert same_state(*steps)
    assert steps[0].model["top"].top.data.dtype == np.float32
    assert np.any(steps[0].model["top"].top.data)
    found = []
    for watchers in ([], [XRay()]):
        trainer = adl.Trainer(make(), "adam", precision=precision)
        data = tuple(np.concatenate(parts) for parts in zip(*batches(3, 16), strict=True))
        trainer.fit(data, epochs=1, batch_size=16, callbacks=watchers)
        found.append(trainer.step)
        assert trainer.model["top"].top.data.dtype == np.float32
    assert same_state(*found)


@pytest.mark.parametrize("capture", [False, True])
def test_a_step_that_is_left_out_changes_nothing_but_the_scale(capture):
    step = adl.train_step(
        everything(), weighted, OPTIMIZERS["adam"](), precision="float16", capture=capture
    )
    x, y = next(batches(1))
    calm, wild = (np.stack([y, np.full(32, w)], 1).astype(np.float32) for w in (1.0, 1e4))
    step(x, calm)
    before = {n: a.copy() for n, a in step.model.state_dict().items()}
    moments = {n: {s: a.copy() for s, a in kept.items()} for n, kept in step.state["slots"].items()}
    assert np.isfinite(float(step(x, wild)))
    assert step.count == 1
    assert step.state["scaling"] == {"scale": 2.0**15, "clean": 0}
    for name, array in step.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    for name, kept in step.state["slots"].items():
        for slot, array in kept.items():
            np.testing.assert_array_equal(array, moments[name][slot])
    step(x, calm)
    assert step.count == 2


class Own(Engine):
    """An engine whose states are made anew, of what it knows."""

    def update(self, params, grads, state):
        new, made = super().update(params, grads, state)
        return new, self.known(made)

    def observe(self, state, metric):
        return self.known(super().observe(state, metric))

    def known(self, state):
        return {name: state[name] for name in ("step", "schedules", "slots")}


def test_an_engine_of_ones_own_need_not_know_the_scale():
    plain, own = (tiny(optimizer=kind(adl.optimizer("momentum"))) for kind in (Engine, Own))
    for batch in (GOOD, BAD, GOOD, GOOD):
        for step in (plain, own):
            step(*batch)
            step.state = step.engine.observe(step.state, {"loss": 1.0})
    assert own.state["scaling"] == {"scale": 2.0**15, "clean": 2}
    assert same_state(plain, own)


def settled(precision="float16"):
    trainer = adl.Trainer(everything(), "adam", precision=precision, seed=3)
    x, y = (np.concatenate(parts) for parts in zip(*batches(4, 16), strict=True))
    return trainer, (x, y)


@pytest.mark.parametrize("precision", HALVES)
def test_a_resumed_run_goes_on_to_the_bit(precision, tmp_path):
    whole, data = settled(precision)
    whole.step.precision.scaling = whole.step.precision.scaling and LossScaling(interval=5)
    whole.fit(data, epochs=2, batch_size=16)
    parts, _ = settled(precision)
    parts.step.precision.scaling = parts.step.precision.scaling and LossScaling(interval=5)
    parts.fit(data, epochs=1, batch_size=16)
    parts.save(tmp_path / "run.safetensors")
    again = adl.Trainer.load(tmp_path / "run.safetensors")
    assert again.precision == precision
    assert same_state(again.step, parts.step)
    again.step.precision.scaling = again.step.precision.scaling and LossScaling(interval=5)
    again.fit(data, epochs=1, batch_size=16)
    assert same_state(again.step, whole.step)
    assert again.history["loss"] == whole.history["loss"]
    if precision == "float16":
        assert again.step.state["scaling"] == {"scale": 2.0**17, "clean": 3}


BROKEN = [
    {"scale": "large"}, {"scale": 0.0}, {"scale": -2.0}, {"scale": 2.0**-15}, {"scale": 1e300},
    {"scale": float("inf")}, {"scale": float("nan")}, {"scale": 8}, {"clean": -1}, {"clean": True},
    {"clean": 1.0}, {"more": 1},
]  # fmt: skip


@pytest.mark.parametrize("broken", [*BROKEN, None, "whole"], ids=repr)
def test_a_checkpoint_with_a_broken_scale_is_refused(broken, tmp_path, monkeypatch):
    trainer, data = settled()
    trainer.fit(data, epochs=1, batch_size=16)
    position = dict(trainer.step.position)
    if broken is None:
        del position["scaling"]
    else:
        whole = broken == "whole"
        position["scaling"] = [2.0, 3] if whole else {"scale": 8.0, "clean": 0} | broken
    monkeypatch.setattr(trainer.step, "position", position)
    trainer.save(tmp_path / "run.safetensors")
    wanted = "float16, but its scale .* is missing" if broken is None else "scale of the loss is no"
    with pytest.raises(adl.errors.CheckpointError, match=wanted):
        adl.Trainer.load(tmp_path / "run.safetensors")


@pytest.mark.parametrize("precision", [None, *HALVES])
def test_only_a_precision_needs_the_newer_format(precision, tmp_path):
    """Format 2 is what a version without precisions reads, and would go on in float32."""
    trainer, data = settled(precision)
    trainer.fit(data, epochs=1, batch_size=16)
    described = checkpoint.description(trainer)
    assert described["format"] == (2 if precision is None else 3)
    arrays = {f"model.{n}": a for n, a in trainer.model.state_dict().items()}
    for parameter, slots in trainer.step.state["slots"].items():
        arrays |= {f"optimizer.{parameter}.{n}": a for n, a in slots.items()}
    path = tmp_path / "run.safetensors"

    def load(**changes):
        path.write_bytes(b"".join(archive.pack(arrays, described | changes)))
        return adl.Trainer.load(path)

    assert load(format=2).precision == precision
    kept = described["state"] | {"scaling": {"scale": 8.0, "clean": 0}}
    if precision == "float16":
        assert load(state=kept).step.state["scaling"] == kept["scaling"]
    else:
        with pytest.raises(adl.errors.CheckpointError, match="has a scale of the loss, which"):
            load(state=kept)
    with pytest.raises(adl.errors.CheckpointError, match="format 2 or 3"):
        load(format=4)
    with pytest.raises(adl.errors.CheckpointError, match="precision is missing"):
        load(format=3, precision=None)


def test_measuring_and_predicting_compute_in_float32():
    trainer, data = settled("float16")
    plain, _ = settled(None)
    assert trainer.evaluate(data) == plain.evaluate(data)
    np.testing.assert_array_equal(trainer.predict(data[0]), plain.predict(data[0]))


@pytest.mark.parametrize("capture", [False, True])
def test_a_step_that_is_left_out_is_neither_saved_nor_recorded_again(capture, tmp_path):
    class Counting(Checkpoints):
        def save(self, trainer):
            counts.append(trainer.step.count)

        def on_epoch_end(self, trainer, row):
            """Saves without asking for the count."""

    counts, xray = [], XRay()
    trainer = adl.Trainer(mlp(), "adam", precision="float16")
    trainer.step.precision.scaling = LossScaling(interval=3)
    trainer.step.state = trainer.step.state | {"scaling": {"scale": 2.0**21, "clean": 0}}
    watchers = [Counting(tmp_path, every_steps=2), *([] if capture else [xray])]
    data = tuple(np.concatenate(parts) for parts in zip(*batches(8, 8), strict=True))
    trainer.fit(data, epochs=2, batch_size=8, callbacks=watchers)
    made = trainer.step.count
    assert trainer.step.captured == capture
    assert 8 <= made <= 12
    assert counts == list(range(2, made + 1, 2))
    if not capture:
        assert [step for step, _ in xray.losses] == list(range(1, made + 1))


# -- what is computed in what ----------------------------------------------------------------------


@pytest.mark.parametrize("precision", HALVES)
def test_products_are_short_and_each_weight_is_cast_once(precision):
    step = adl.train_step(
        cnn(), "cross_entropy", adl.optimizer("adam"), precision=precision, check=True
    )
    program = adl.program(step, *next(batches(1)))
    dtype = {n: value.dtype for n, value in program.values.items()}
    products = [i for i in program.code if i.op in ("conv2d", "conv2d_weight_grad", "linear")]
    assert len(products) == 4
    for instruction in (*products, *(i for i in program.code if i.op == "matmul")):
        if instruction.op == "matmul" and dtype[instruction.outs[0]] == "float32":
            continue  # whether gradients are finite
        assert {dtype[n] for n in (*instruction.reads, *instruction.outs)} == {precision}
    views = {i.outs[0] for i in program.code if i.op == "unpack"}
    readers = [i for i in program.code if views & set(i.reads)]
    assert [i.op for i in readers] == ["astype"] * 6
    assert {dtype[n] for name, n in program.outputs.items() if name in program.donations} == {
        "float32"
    }
    losses = [i for i in program.code if i.op.startswith("softmax_cross_entropy")]
    assert {dtype[n] for i in losses for n in i.outs} == {"float32"}


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("dtype", ["float64", "uint8", "int32"])
def test_batches_of_other_dtypes_are_computed_in_short_as_well(precision, dtype):
    """Small whole numbers are exact in every dtype, so the step is that of float32's batch."""
    x = np.random.default_rng(0).integers(0, 9, (16, 6, 6, 2)).astype(np.float32)
    steps, y = [], np.arange(16) % 3
    for batch in (x, x.astype(dtype)):
        step = adl.train_step(
            cnn(), "cross_entropy", adl.optimizer("adam"), precision=precision, check=True
        )
        program = adl.program(step, batch, y)
        dtypes = {
            program.values[n].dtype
            for i in program.code if i.op in ("conv2d", "conv2d_bias", "conv2d_weight_grad")
            for n in (*i.reads, *i.outs)
        }  # fmt: skip
        assert dtypes == {precision}
        losses = [step(batch, y) for _ in range(3)]
        assert step.captured
        steps.append((step, losses))
    assert steps[0][1] == steps[1][1]
    assert same_state(steps[0][0], steps[1][0])


# -- errors ----------------------------------------------------------------------------------------


def test_an_unknown_precision_is_refused():
    with pytest.raises(UnknownNameError, match=r"'half'.*'float16' or 'bfloat16'"):
        adl.train_step(mlp(), "mse", adl.optimizer("sgd"), precision="half")
    with pytest.raises(UnknownNameError, match="'half'"):
        adl.Trainer(mlp(), precision="half")


@pytest.mark.parametrize("given", [np.dtype("float16"), np.float16, 16, True, ["float16"]])
def test_a_precision_is_given_by_its_name(given):
    for make in (
        lambda: adl.train_step(mlp(), "mse", adl.optimizer("sgd"), precision=given),
        lambda: adl.Trainer(mlp(), precision=given),
    ):
        with pytest.raises(UsageError, match=r"precision: expected None, 'float16' or 'bfloat16'"):
            make()


def test_a_backend_without_the_dtype_is_refused():
    with adl.use_backend("strict"):
        for precision in ("float16", "bfloat16"):
            with pytest.raises(UsageError, match=r"'strict' has no such dtype.*float32, float64"):
                adl.train_step(mlp(), "mse", adl.optimizer("sgd"), precision=precision)


def test_a_run_may_be_used_where_it_could_not_be_trained(tmp_path):
    trainer, data = settled("float16")
    trainer.fit(data, epochs=1)
    trainer.save(tmp_path / "run.safetensors")
    there = adl.Trainer.load(tmp_path / "run.safetensors", backend="strict")
    assert there.evaluate(data)["loss"] == pytest.approx(trainer.evaluate(data)["loss"], rel=1e-5)
    with pytest.raises(UsageError, match="'strict' has no such dtype"):
        there.fit(data, epochs=1)


def test_models_of_another_dtype_are_refused():
    model = mlp().astype("float64")
    with pytest.raises(UsageError, match=r"'fc1.weight' is float64: use model.astype"):
        adl.train_step(model, "mse", adl.optimizer("sgd"), precision="float16")


def test_another_precision_cannot_go_on_with_a_run():
    with pytest.raises(UsageError, match="precision 'float16' cannot go on in None"):
        settled(None)[0].continue_from(settled("float16")[0])


@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("check", [False, True])
def test_a_scale_that_falls_too_far_is_an_error(capture, check):
    step = tiny(capture=capture, check=check)
    for _ in range(30):
        step(*BAD)
    assert step.state["scaling"]["scale"] == 2.0**-14
    with pytest.raises(NonFiniteError, match=r"gradient .*'0.weight'.*scaled by 6.10352e-05"):
        step(*BAD)
    assert step.count == 0
    assert step.state["scaling"]["scale"] == 2.0**-14


def test_looking_at_a_step_that_overflows_does_not_warn():
    step = adl.train_step(mlp(), "cross_entropy", adl.optimizer("sgd"), precision="float16")
    x, y = next(batches(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "linear" in str(adl.program(step, x * np.float32(1e5), y))
        grads = step.gradients(x * np.float32(1e5), y)[2]
    assert not all(np.isfinite(grad).all() for grad in grads.values())


@pytest.mark.parametrize("capture", [False, True])
def test_a_loss_that_is_no_number_is_an_error_at_once(capture):
    step = tiny(capture=capture, check=True)
    step(*GOOD)
    with pytest.raises(NonFiniteError, match="loss became nan in step 2"):
        step(ONE, np.nan * ONE)
    assert step.state["scaling"] == {"scale": 2.0**16, "clean": 1}
    unchecked = tiny(capture=capture)
    assert np.isnan(float(unchecked(ONE, np.nan * ONE)))
    assert unchecked.state["scaling"]["scale"] == 2.0**15


def test_a_layer_that_overflows_in_float16_is_named():
    model = mlp()
    model["fc1"].weight.data = model["fc1"].weight.data * np.float32(1e6)
    step = adl.train_step(
        model, "cross_entropy", adl.optimizer("sgd"), precision="float16", check=True
    )
    with pytest.raises(NonFiniteError, match="first in the output of Linear 'fc1'"):
        step(*next(batches(1)))

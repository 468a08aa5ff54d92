"""Trainer: fit, evaluate, predict."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn, schedules
from agnostic_dl.errors import DataError, NonFiniteError, UnknownNameError, UsageError
from agnostic_dl.train import Callback


class Pictures:
    """The least that training needs of a dataset, and what it remembers of one."""

    classes = ("top", "middle", "bottom")
    image_shape = (6, 5, 1)

    def __init__(self, x, y):
        self.x, self.y, self.asked = x, y, []

    def __len__(self):
        return len(self.y)

    def __getitem__(self, indices):
        x, y = self.x[indices], self.y[indices]
        self.asked.append(y)
        return x, y


def trainer_of(model, rate=0.01, **options):
    return adl.Trainer(model, adl.optimizer("adam", learning_rate=rate), **options)


def test_fewer_examples_than_a_batch_are_one_batch_unless_a_size_is_asked_for():
    x, y = np.zeros((6, 4), dtype=np.float32), np.arange(6) % 3
    trainer = adl.Trainer(nn.Sequential(nn.Linear(4, 3)), adl.optimizer("sgd"))
    assert trainer.fit((x, y), epochs=1)[-1]["step"] == 1
    with pytest.raises(adl.errors.UsageError, match="at most 6"):
        trainer.fit((x, y), epochs=1, batch_size=128)


def test_fit_learns_and_keeps_a_row_for_every_epoch(problem, small):
    trainer = trainer_of(small())
    history = trainer.fit(problem, validation=problem, epochs=12, batch_size=16)
    assert history is trainer.history
    assert history["epoch"] == list(range(1, 13))
    assert history["step"] == [4 * e for e in range(1, 13)]  # 16 + 16 + 16 + 2
    assert history.columns == [
        "epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate",
        "seconds", "images_per_second",
    ]  # fmt: skip
    assert history["val_accuracy"][-1] > 0.9
    assert history[-1]["loss"] < history[0]["loss"]


def test_the_epochs_loss_is_the_mean_over_examples_not_over_batches(problem):
    """With a rate of almost nothing, a whole epoch is one evaluation."""
    x, y = problem
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, 3)).init(0)
    trainer = adl.Trainer(model, adl.optimizer("sgd", learning_rate=1e-30))
    row = trainer.fit((x[:17], y[:17]), epochs=1, batch_size=16)[0]
    measured = trainer.evaluate((x[:17], y[:17]))
    assert row["loss"] == pytest.approx(measured["loss"], rel=1e-6)
    assert row["accuracy"] == pytest.approx(measured["accuracy"], rel=1e-6)


def test_every_epoch_sees_each_example_once_in_an_order_of_its_own(problem, small):
    x, _ = problem
    data = Pictures(x, np.arange(50) % 3)
    numbers = np.arange(50)
    orders = []

    class Numbered(Pictures):
        def __getitem__(self, indices):
            orders[-1].extend(numbers[indices])
            return super().__getitem__(indices)

    data = Numbered(x, data.y)
    trainer = trainer_of(small())
    for _ in range(2):
        orders.append([])
        trainer.fit(data, epochs=1, batch_size=20)
    assert [sorted(order) for order in orders] == [list(range(50))] * 2
    assert orders[0] != orders[1] != list(range(50))


def weights(trainer):
    state = trainer.model.state_dict()
    return b"".join(trainer.backend.to_numpy(values).tobytes() for values in state.values())


def test_a_dataset_and_a_tuple_and_a_pair_of_datasets_train_alike(problem, small):
    class Both:
        train, test = Pictures(*problem), Pictures(*problem)

    found = []
    for data in (problem, Pictures(*problem), Both()):
        trainer = trainer_of(small())
        trainer.fit(data, validation=data, epochs=1, batch_size=25)
        found.append((weights(trainer), trainer.history["val_loss"]))
    assert found[0] == found[1] == found[2]


def test_the_trainer_remembers_what_a_prediction_needs(problem, small):
    trainer = trainer_of(small())
    trainer.fit(Pictures(*problem), epochs=1, batch_size=25)
    assert trainer.info == {"classes": ["top", "middle", "bottom"], "image_shape": [6, 5, 1]}


def test_fit_twice_is_fit_once_for_longer(problem, small):
    once, twice = trainer_of(small()), trainer_of(small())
    once.fit(problem, epochs=4, batch_size=20)
    twice.fit(problem, epochs=1, batch_size=20)
    twice.fit(problem, epochs=3, batch_size=20)
    assert weights(once) == weights(twice)
    assert once.history["loss"] == twice.history["loss"]
    assert twice.history["epoch"] == [1, 2, 3, 4]


def test_the_seed_decides_all(problem, small):
    def run(seed):
        trainer = trainer_of(small(), seed=seed)
        trainer.fit(problem, epochs=2, batch_size=20)
        return weights(trainer)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_evaluate_changes_nothing_and_does_not_depend_on_the_batch(problem, small):
    trainer = trainer_of(small())
    trainer.fit(problem, epochs=1, batch_size=25)
    before = weights(trainer)
    whole, parts = trainer.evaluate(problem), trainer.evaluate(problem, batch_size=7)
    assert set(whole) == {"loss", "accuracy"}
    assert whole["accuracy"] == pytest.approx(parts["accuracy"], rel=1e-6)
    assert whole["loss"] == pytest.approx(parts["loss"], rel=1e-5)
    assert weights(trainer) == before
    assert trainer.model.training


def test_predict_gives_probabilities_in_the_data_s_order(problem, small):
    trainer = trainer_of(small())
    trainer.fit(problem, epochs=1, batch_size=25)
    x, y = problem
    probabilities = trainer.predict(x)
    assert probabilities.shape == (50, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(
        trainer.predict(x, batch_size=7), probabilities, rtol=1e-4, atol=1e-6
    )
    share = np.mean(np.argmax(probabilities, axis=1) == y)
    assert share == pytest.approx(trainer.evaluate(problem)["accuracy"])
    with pytest.raises(UsageError, match="at least one image"):
        trainer.predict(x[:0])


def test_a_schedule_is_followed_and_a_plateau_watches_the_validation(problem, small):
    schedule = schedules.step_decay(0.01, every=4)
    trainer = trainer_of(small(), rate=schedule)
    trainer.fit(problem, epochs=3, batch_size=16)
    assert trainer.history["learning_rate"] == pytest.approx([1e-2, 1e-3, 1e-4])
    plateau = schedules.reduce_on_plateau(0.01, patience=0, threshold=10.0)  # never good enough
    trainer = trainer_of(small(), rate=plateau)
    trainer.fit(problem, validation=problem, epochs=3, batch_size=25)
    assert trainer.history["learning_rate"] == pytest.approx([1e-2, 1e-2, 1e-3])


def test_callbacks_see_the_run(problem, small):
    seen = []

    class Watch(Callback):
        def on_fit_start(self, trainer, epochs, steps_per_epoch):
            seen.append(("start", epochs, steps_per_epoch))

        def on_step_end(self, trainer, step, count, loss):
            seen.append((step, count))
            assert np.isfinite(loss)

        def on_epoch_end(self, trainer, row):
            seen.append(("epoch", row["epoch"]))

        def on_fit_end(self, trainer):
            seen.append("end")

    trainer_of(small()).fit(problem, epochs=1, batch_size=20, callbacks=[Watch(), Callback()])
    assert seen == [("start", 1, 3), (1, 20), (2, 20), (3, 10), ("epoch", 1), "end"]


def test_a_loss_that_is_not_finite_stops_training_with_its_place(problem, small):
    x, y = problem
    spoilt = x.copy()
    spoilt[:] = np.nan
    ended = []

    class Watch(Callback):
        def on_fit_end(self, trainer):
            ended.append(True)

    with pytest.raises(NonFiniteError, match=r"epoch 1, batch 1: .*nan in step 1.*'conv'"):
        trainer_of(small()).fit((spoilt, y), epochs=1, batch_size=50, callbacks=[Watch()])
    assert ended == [True]


def test_a_trainer_on_another_backend_leaves_the_current_one_alone(problem, small):
    trainer = trainer_of(small(), backend="strict")
    trainer.fit(problem, epochs=1, batch_size=25)
    strict = adl.get_backend("strict")
    assert adl.get_backend().name == "numpy"
    assert isinstance(trainer.model["fc"].weight.data, strict.array_type)
    assert isinstance(trainer.predict(problem[0]), strict.array_type)


def test_optimizers_by_name_and_engines():
    model = nn.Linear(1, 1)
    assert adl.Trainer(model, "momentum").optimizer == adl.optimizer("momentum")
    engine = adl.optim.Engine(adl.optimizer("sgd"), clip_norm=1.0)
    assert adl.Trainer(model, engine).optimizer is engine


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda t, p: t.fit(p, batch_size=51), UsageError, r"51 is larger.*50 examples"),
        (lambda t, p: t.fit(p, batch_size=0), UsageError, "batch_size: expected a positive"),
        (lambda t, p: t.fit(p, epochs=0, batch_size=5), UsageError, "epochs: expected a positive"),
        (
            lambda t, p: t.fit((p[0], p[1][:-1]), batch_size=5),
            DataError,
            "50 examples and y has 49",
        ),
        (lambda t, p: t.fit((p[0][:0], p[1][:0])), DataError, "empty"),
        (lambda t, p: t.fit(3), UsageError, "expected a dataset"),
        (lambda t, p: t.fit((1, 2)), DataError, r"pair of arrays \(x, y\)"),
        (lambda t, p: adl.Trainer("lenet"), UsageError, r"nn\.Module, got str"),
        (lambda t, p: adl.Trainer(nn.ReLU(), loss="cross"), UnknownNameError, "'cross'"),
        (lambda t, p: adl.Trainer(nn.ReLU(), backend="numpi"), UnknownNameError, "'numpy'"),
    ],
)
def test_wrong_use_says_what_is_wrong(problem, small, make, kind, words):
    with pytest.raises(kind, match=words):
        make(trainer_of(small()), problem)

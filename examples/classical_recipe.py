"""The recipe of classical tutorials in one run: convolutions by AdaGrad, the rest by SGD.

``python examples/classical_recipe.py [DATA] [EPOCHS]`` trains lenet on DATA (a folder, an .npz or
the built-in "digits"). One Engine holds both optimizers: its overrides give every parameter whose
name matches the pattern "conv*" to AdaGrad, and all others to SGD.
"""

import argparse
from collections.abc import Sequence

import agnostic_dl as adl


def classical_engine() -> adl.optim.Engine:
    """SGD for the fully connected layers, AdaGrad for the convolutions."""
    return adl.optim.Engine(
        adl.optimizer("sgd", learning_rate=0.05),
        overrides={"conv*": adl.optimizer("adagrad", learning_rate=0.02)},
    )


def train(source: str, epochs: int) -> adl.train.History:
    """Train and print one line per epoch."""
    data = adl.data.load(source)
    model = adl.models.create(
        "lenet", input_shape=data.train.image_shape, classes=len(data.train.classes)
    )
    trainer = adl.Trainer(model, classical_engine())
    history = trainer.fit(data, validation=data, epochs=epochs, batch_size=32)
    for row in history:
        print(f"epoch {row['epoch']}: loss {row['loss']:.4f}, test {row['val_accuracy']:.2%}")
    return history


def main(arguments: Sequence[str] | None = None) -> adl.train.History:
    """Train as the command line says; a wrong argument ends in one line and exit status 2."""
    parser = argparse.ArgumentParser(description="Convolutions by AdaGrad, the rest by SGD.")
    parser.add_argument("data", nargs="?", default="digits", help='a folder, an .npz or "digits"')
    parser.add_argument("epochs", nargs="?", type=int, default=5)
    options = parser.parse_args(arguments)
    try:
        return train(options.data, options.epochs)
    except (adl.errors.UsageError, adl.errors.DataError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

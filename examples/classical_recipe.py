"""The recipe of classical tutorials in one run: convolutions by AdaGrad, the rest by SGD.

``python examples/classical_recipe.py [DATA] [EPOCHS]`` trains lenet on DATA (a folder, an .npz or
the built-in "digits"). One Engine holds both optimizers: its overrides give every parameter whose
name matches the pattern "conv*" to AdaGrad, and all others to SGD.
"""

import sys

import agnostic_dl as adl


def classical_engine() -> adl.optim.Engine:
    """SGD for the fully connected layers, AdaGrad for the convolutions."""
    return adl.optim.Engine(
        adl.optimizer("sgd", learning_rate=0.05),
        overrides={"conv*": adl.optimizer("adagrad", learning_rate=0.02)},
    )


def main(source: str = "digits", epochs: int = 5) -> adl.train.History:
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


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))

"""Train on the pictures in FOLDER and print the fingerprint. Arguments: FOLDER PIN (yes or no)."""

from __future__ import annotations

import sys

from reliability_rows import common

import agnostic_dl as adl

if __name__ == "__main__":
    if sys.argv[2] == "yes":
        adl.get_backend().pin_threads()
    data = adl.data.load(sys.argv[1])
    model = adl.models.create(
        "lenet", input_shape=data.train.image_shape, classes=len(data.classes)
    )
    trainer = adl.Trainer(model, adl.optimizer("adam"), seed=2)
    trainer.fit(data, validation=data, epochs=1, batch_size=64)
    print(common.fingerprint(trainer))

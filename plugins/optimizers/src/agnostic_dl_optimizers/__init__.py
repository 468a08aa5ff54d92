"""Four first-order optimizers, one module each: sgd, momentum, adagrad, adam."""

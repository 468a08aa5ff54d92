"""Eight more optimizers, one module each, published the way a third party would."""

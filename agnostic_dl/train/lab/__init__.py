"""The laboratory: comparisons of optimizers, X-rays of a run, and what they say in words."""

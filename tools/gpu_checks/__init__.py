"""The phases of gpu_check.py, by theme; each is a function of a Bench that returns its findings."""

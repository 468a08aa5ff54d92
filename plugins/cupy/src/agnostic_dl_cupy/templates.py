"""The CUDA sources: which kernels there are, and for which dtypes each is compiled."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple

#: dtype → the lines that choose what arrays hold, what is computed with, how many elements lie in
#: 16 bytes, and an integer that has as many bytes as these are elements.
STORAGE = {
    "float32": "#define ACCUM float\n#define WIDTH 4\n#define MARKS unsigned",
    "float64": "#define ACCUM double\n#define WIDTH 2\n#define MARKS unsigned short",
    "float16": "#define STORAGE_HALF\n#define ACCUM float\n#define WIDTH 8\n#define MARKS size_t",
    "bfloat16":
        "#define STORAGE_BFLOAT16\n#define ACCUM float\n#define WIDTH 8\n#define MARKS size_t",
}  # fmt: skip
#: Further types of a unit, by dtype: the labels of the classification, and what normalization has
#: for each channel, where that is wider than the images.
LABELS = {"int32": "int", "int64": "long long"}
VECTORS = {"float32": "float"}

UNITS = {
    "elementwise": ("relu", "relu_grad", "add_bias", "dropout_mask"),
    "pooling": ("max_pool2d", "max_pool2d_grad", "avg_pool2d", "avg_pool2d_grad"),
    "normalization": (
        "batch_norm_partial", "batch_norm_finish", "batch_norm_apply",
        "batch_norm_grad_partial", "batch_norm_grad_finish", "batch_norm_input_grad",
    ),
    "classification": ("softmax_cross_entropy", "softmax_cross_entropy_grad"),
    "windows": ("image_to_columns", "columns_to_image", "transpose"),
    "storage": ("pack",),
    "reduction": ("sum_partial", "sum_finish", "dot_partial"),
}  # fmt: skip

#: Arrays that one launch lays end to end.
TABLE = 128

#: nvrtc's options; -fmad stays on: what is compared with references is compared to rounding.
OPTIONS = ("--std=c++17",)


class Variant(NamedTuple):
    """One compilation: a unit for a dtype (and for that of the labels, or of the channels)."""

    unit: str
    dtype: str
    labels: str = ""


def variants() -> list[Variant]:
    """Every compilation that a run may ask for."""
    return [
        Variant(unit, dtype, labels)
        for unit in UNITS
        for dtype in STORAGE
        for labels in _further(unit, dtype)
    ]


def _further(unit: str, dtype: str) -> tuple[str, ...]:
    if unit == "classification":
        return tuple(LABELS)
    return ("", *VECTORS) if unit == "normalization" and dtype.endswith("float16") else ("",)


@cache
def source(variant: Variant) -> str:
    """The CUDA source of one compilation, whole: nothing but CUDA's own headers is included."""
    unit, dtype, labels = variant
    lines = [STORAGE[dtype], f"#define TABLE {TABLE}"]
    if labels:
        name, kinds = ("LABEL", LABELS) if unit == "classification" else ("VECTOR", VECTORS)
        lines.append(f"#define {name} {kinds[labels]}")
    return "\n".join([*lines, _text("prelude.cuh"), _text(f"{unit}.cu")])


def _text(name: str) -> str:
    return files("agnostic_dl_cupy").joinpath("cuda", name).read_text(encoding="utf-8")

"""What is measured on one parameter in one step: norms of whole arrays, quantiles of samples.

Everything is computed in the arrays' own library and brought to the host in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}

#: Name → 0-d array.
Values = dict[str, Any]


def sampled(xp: Any, array: Any, elements: int | None) -> Any:
    """At most *elements* elements of the array at even distances, as a vector (n,)."""
    flat = xp.reshape(array, (-1,))
    size = int(flat.shape[0])
    stride = 1 if elements is None else max(-(-size // elements), 1)
    return flat if stride == 1 else flat[::stride]


def square_sum(xp: Any, x: Any) -> Any:
    """Σ x² over all elements, 0-d."""
    flat = xp.reshape(x, (-1,))
    return xp.vecdot(flat, flat)


def norms(xp: Any, before: Any, after: Any, grad: Any) -> Values:
    """Squares and products of a parameter's weights, gradient and update; roots are for later."""
    update = after - before
    flat, against = xp.reshape(update, (-1,)), xp.reshape(grad, (-1,))
    return {
        "gradient_square": xp.vecdot(against, against),
        "weight_square": square_sum(xp, before),
        "update_square": xp.vecdot(flat, flat),
        "update_gradient": xp.vecdot(flat, against),
    }


def effective_step(xp: Any, update: Any, grad: Any, rate: float) -> Values:
    """Quantiles of |Δ| / |g|, the rate that SGD would need for the same step, and of |Δ| / α."""
    size = xp.abs(update)
    return {
        **quantiles(xp, "effective_step", size / _nonzero(xp, grad), grad != 0),
        **quantiles(xp, "step_over_rate", size / rate, grad != 0),
    }


def sign_agreement(xp: Any, grad: Any, before: Any, weight: float) -> Values:
    """How many elements' gradients kept their sign, of how many; zeros are left out.

    *weight*: for how many elements of the parameter each of the sample stands.
    """
    signs = xp.sign(grad) * xp.sign(before)
    real = grad.dtype
    kept = xp.sum(xp.astype(signs > 0, real))
    counted = xp.sum(xp.astype(signs != 0, real))
    return {"sign_kept": weight * kept, "sign_counted": weight * counted}


def state_values(
    xp: Any, state: Mapping[str, Any], samples: Mapping[str, Any], correction: tuple[float, float]
) -> Values:
    """Root mean squares of every state array, and what the names m, v and sum stand for.

    *correction*: 1 - β₁ᵗ and 1 - β₂ᵗ, by which m and √v are divided.
    """
    found: Values = {}
    for name, array in state.items():
        found[f"state_{name}_rms"] = xp.sqrt(square_sum(xp, array) / math.prod(array.shape))
    if "m" in samples and "v" in samples:
        m, v = samples["m"] / correction[0], samples["v"] / correction[1]
        ratio = xp.abs(m) / xp.sqrt(_positive(xp, v))
        found.update(quantiles(xp, "m_over_sqrt_v", ratio, v > 0))
    if "sum" in samples:
        total = samples["sum"]
        found.update(quantiles(xp, "denominator", xp.sqrt(total), total > 0))
    return found


def quantiles(xp: Any, name: str, values: Any, counted: Any) -> Values:
    """The quantiles of those *values* that are *counted*; NaN where there is none."""
    real = values.dtype
    ordered = xp.sort(xp.where(counted, values, xp.full_like(values, math.inf)))
    count = xp.sum(xp.astype(counted, real))
    last = xp.maximum(count - 1, xp.zeros_like(count))
    return {
        f"{name}_{label}": xp.where(
            count > 0,
            xp.take(ordered, xp.reshape(xp.astype(xp.round(last * q), xp.int64), (1,)), axis=0)[0],
            xp.full_like(count, math.nan),
        )
        for label, q in QUANTILES.items()
    }


def products(xp: Any, u: Any, w: Any, weight: float = 1.0) -> tuple[Any, Any, Any]:
    """u·w, |u|² and |w|² of two vectors, each times *weight*."""
    return weight * xp.vecdot(u, w), weight * xp.vecdot(u, u), weight * xp.vecdot(w, w)


def _nonzero(xp: Any, x: Any) -> Any:
    return xp.where(x != 0, xp.abs(x), xp.ones_like(x))


def _positive(xp: Any, x: Any) -> Any:
    return xp.where(x > 0, x, xp.ones_like(x))


# -- on the host ---------------------------------------------------------------------------------


def finished(raw: Mapping[str, float]) -> dict[str, float]:
    """One parameter's numbers as they are shown, from the sums that were measured."""
    row = {n: v for n, v in raw.items() if not n.endswith(("_square", "_gradient", "_counted"))}
    gradient, weight, update = (
        math.sqrt(max(raw[f"{n}_square"], 0.0)) for n in ("gradient", "weight", "update")
    )
    row.pop("sign_kept", None)
    shown = {
        "gradient_norm": gradient,
        "weight_norm": weight,
        "update_norm": update,
        "update_to_weight": _ratio(update, weight),
        "cosine_to_descent": _ratio(-raw["update_gradient"], update * gradient),
    }
    if "sign_kept" in raw:
        shown["sign_agreement"] = _ratio(raw["sign_kept"], raw["sign_counted"])
    if "state_velocity_rms" in raw and raw.get("size"):
        velocity = raw["state_velocity_rms"] * math.sqrt(raw["size"])
        shown["velocity_over_gradient"] = _ratio(velocity, gradient)
    return {**shown, **row}


def whole(rows: list[dict[str, float]]) -> dict[str, float]:
    """The sums of all parameters together; what is no sum is their mean, weighted by size."""
    total: dict[str, float] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        having = [row for row in rows if math.isfinite(row.get(name, math.nan))]
        if name == "size" or name.endswith(("_square", "_gradient", "_kept", "_counted")):
            total[name] = sum(row[name] for row in having)
        elif having:
            sizes = sum(row["size"] for row in having)
            if name.endswith("_rms"):
                mean = sum(row["size"] * row[name] ** 2 for row in having) / sizes
                total[name] = math.sqrt(mean)
            else:
                total[name] = sum(row["size"] * row[name] for row in having) / sizes
    return total


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan

"""Gradients through functions that others wrote for the Array API: SciPy, scikit-learn, extras.

    SCIPY_ARRAY_API=1 python examples/outside_code.py [scipy] [sklearn] [array_api_extra]

Nothing of these libraries is patched: they are handed a Tensor, find its namespace and compute.
Each function below is differentiated and compared with finite differences; those under "refuses"
must raise, with the reason. Libraries that are not installed are left out.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # SciPy reads it when it is imported

import numpy as np

import agnostic_dl as adl

xp = adl.namespace("numpy")
generator = np.random.default_rng(0)
V = generator.random(7) + 0.2
W = xp.asarray(generator.random(7) + 0.1)
X = generator.random((6, 3)) + 0.2
Y = xp.asarray(generator.random(6) + 0.1)
Z = xp.asarray(generator.random((4, 3)) + 0.1)

#: Name → (function of a Tensor, where it is differentiated).
Cases = dict[str, tuple[Callable[[Any], Any], Any]]


def scipy_cases() -> tuple[Cases, Cases]:
    from scipy import (
        cluster,
        differentiate,
        fft,
        integrate,
        linalg,
        optimize,
        signal,
        special,
        stats,
    )
    from scipy.spatial import distance
    from scipy.spatial.transform import Rotation

    works: Cases = {
        "special.logsumexp": (special.logsumexp, V),
        "special.softmax": (lambda v: special.softmax(v) * W, V),
        "special.log_softmax": (special.log_softmax, V),
        "special.rel_entr": (lambda v: special.rel_entr(v, W), V),
        "special.xlogy": (lambda v: special.xlogy(v, W), V),
        "stats.skew": (stats.skew, V),
        "stats.kurtosis": (stats.kurtosis, V),
        "stats.zscore": (lambda v: stats.zscore(v) ** 3, V),
        "stats.gmean": (stats.gmean, V),
        "stats.pmean": (lambda v: stats.pmean(v, 3), V),
        "stats.variation": (stats.variation, V),
        "stats.circvar": (stats.circvar, V),
        "stats.trim_mean": (lambda v: stats.trim_mean(v, 0.2), V),
        "stats.lmoment": (stats.lmoment, V),
        "stats.quantile": (lambda v: stats.quantile(v, 0.3), V),
        "stats.directional_stats": (lambda x: stats.directional_stats(x).mean_direction, X),
        "stats.differential_entropy": (stats.differential_entropy, V),
        "stats.boxcox_llf": (lambda v: stats.boxcox_llf(0.3, v), V),
        "integrate.trapezoid": (integrate.trapezoid, V),
        "integrate.cumulative_simpson": (integrate.cumulative_simpson, V),
        "integrate.tanhsinh, in its integrand": (
            lambda v: (
                integrate.tanhsinh(
                    lambda t: xp.exp(-t * v[0]), xp.asarray(0.0), xp.asarray(1.0)
                ).integral
            ),
            V,
        ),
        "integrate.cubature, in its integrand": (
            lambda v: (
                integrate.cubature(
                    lambda t: xp.exp(-t * v[0]), xp.asarray([0.0]), xp.asarray([1.0])
                ).estimate
            ),
            V,
        ),
        "differentiate.derivative": (lambda v: differentiate.derivative(xp.sin, v).df, V),
        "optimize.rosen": (optimize.rosen, V),
        "signal.fftconvolve": (lambda v: signal.fftconvolve(v, W), V),
        "signal.hilbert, its envelope": (lambda v: xp.abs(signal.hilbert(v)), V),
        "signal.resample": (lambda v: signal.resample(v, 10) ** 2, V),
        "fft.rfft": (lambda v: xp.abs(fft.rfft(v)), V),
        "fft.fht": (lambda v: fft.fht(v, 0.1, 0.5), V),
        "cluster.vq.whiten": (cluster.vq.whiten, X),
        "Rotation.from_rotvec(…).apply": (
            lambda v: Rotation.from_rotvec(v[:3]).apply(W[:3]),
            V,
        ),
    }
    refuses: Cases = {
        "special.erf": (special.erf, V),
        "special.gammaln": (special.gammaln, V),
        "stats.ttest_1samp": (lambda v: stats.ttest_1samp(v, 0.0).statistic, V),
        "stats.pearsonr": (lambda v: stats.pearsonr(v, W).statistic, V),
        "integrate.simpson": (integrate.simpson, V),
        "signal.lfilter": (lambda v: signal.lfilter(W[:1], W[:2], v), V),
        "fft.dct": (fft.dct, V),
        "linalg.expm": (lambda x: linalg.expm(x[:3, :]), X),
        "spatial.distance.cdist": (lambda x: distance.cdist(x, Z), X),
    }
    return works, refuses


def sklearn_cases() -> tuple[Cases, Cases]:
    import sklearn
    from sklearn import decomposition, linear_model, metrics, preprocessing

    sklearn.set_config(array_api_dispatch=True)
    pairwise = metrics.pairwise
    works: Cases = {
        "mean_squared_error, raw values": (
            lambda x: metrics.mean_squared_error(Z, x[:4, :], multioutput="raw_values"), X,
        ),
        "pairwise.cosine_similarity": (lambda x: pairwise.cosine_similarity(x, Z), X),
        "pairwise.euclidean_distances": (lambda x: pairwise.euclidean_distances(x, Z), X),
        "pairwise.rbf_kernel": (lambda x: pairwise.rbf_kernel(x, Z), X),
        "pairwise.laplacian_kernel": (lambda x: pairwise.laplacian_kernel(x, Z), X),
        "MinMaxScaler": (lambda x: preprocessing.MinMaxScaler().fit_transform(x) ** 2, X),
        "normalize": (preprocessing.normalize, X),
        "PolynomialFeatures": (lambda x: preprocessing.PolynomialFeatures(2).fit_transform(x), X),
        "Ridge, coefficients by data": (
            lambda x: linear_model.Ridge(solver="svd").fit(x, Y).coef_, X,
        ),
        "PCA, explained variance by data": (
            lambda x: decomposition.PCA(2, svd_solver="full").fit(x).explained_variance_, X,
        ),
    }  # fmt: skip
    refuses: Cases = {
        "mean_squared_error, a float": (lambda x: metrics.mean_squared_error(Z, x[:4, :]), X),
        "log_loss, a float": (lambda v: metrics.log_loss(xp.asarray([0, 1] * 3), v / 2), Y.data),
    }
    return works, refuses


def extra_cases() -> tuple[Cases, Cases]:
    import array_api_extra as xpx

    works: Cases = {
        "cov": (xpx.cov, X),
        "kron": (lambda x: xpx.kron(x, x), X),
        "sinc": (xpx.sinc, V),
        "create_diagonal": (xpx.create_diagonal, V),
        "pad": (lambda x: xpx.pad(x, 1), X),
        "apply_where": (lambda v: xpx.apply_where(v > 0.5, v, xp.log, xp.sin), V),
        "at(…).set": (lambda v: xpx.at(v * 2)[2].set(v[0]), V),
        "at(…).add": (lambda v: xpx.at(v, 2).add(v[1], copy=True), V),
        "partition": (lambda v: xpx.partition(v, 2)[:2], V),
    }
    return works, {"at(…).set on an argument": (lambda v: xpx.at(v)[2].set(0.0), V)}


def total(out: Any) -> Any:
    """The sum of a Tensor: what has become a number has left the tape."""
    if not isinstance(out, adl.Tensor):
        raise adl.errors.GradientError(f"left the tape: the function returns {type(out).__name__}")
    return xp.sum(xp.real(out))


def main() -> int:
    surprises, chosen = 0, sys.argv[1:]
    for library, make in (
        ("scipy", scipy_cases), ("sklearn", sklearn_cases), ("array_api_extra", extra_cases),
    ):  # fmt: skip
        if chosen and library not in chosen:
            continue
        try:
            works, refuses = make()
        except ImportError as error:
            print(f"{library}: left out ({error})")
            continue
        print(f"\n{library} {sys.modules[library].__version__}: differentiates")
        for name, (f, at) in works.items():
            report = adl.testing.check_grads(lambda x, f=f: total(f(x)), (at,), order=1)
            print(f"    {name:40s} relative error {report.errors[1]:.0e}")
        print(f"{library}: refuses")
        for name, (f, at) in refuses.items():
            try:
                adl.grad(lambda x, f=f: total(f(x)))(at)
            except adl.errors.AgnosticDLError as error:
                print(f"    {name:40s} {str(error).partition(':')[0]}")
            else:
                print(f"    {name:40s} works by now: move it up")
                surprises += 1
    return surprises


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())

"""Tests that need Numba ask for one of these; without it they are skipped."""

import pytest

from agnostic_dl_numba import library


@pytest.fixture(scope="session")
def numba_kernels():
    if library.reason() is not None:
        pytest.skip(library.reason())
    return ("numpy.numba",)


@pytest.fixture(scope="session")
def kernel(numba_kernels):
    from agnostic_dl_numba.chain import ChainKernel

    return ChainKernel()


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory):
    """What is compiled here is of no use to anybody else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("NUMBA_CACHE_DIR", raising=False)
        yield

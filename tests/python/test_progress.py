"""fastopt.tqdm: a progress bar as a callback, for our solvers and SciPy's."""

import io
import sys

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import rosen, rosen_der

import fastopt


def test_the_bar_counts_iterations_and_shows_the_value():
    pytest.importorskip("tqdm")
    out = io.StringIO()
    bar = fastopt.tqdm(total=7, file=out, mininterval=0, ascii=True)
    result = fastopt.cbo(rosen, [(-2, 2)] * 2, rng=1, maxiter=7, callback=bar)
    bar.close()
    text = out.getvalue()
    assert result.nit == 7 and "7/7" in text and "iterations" in text
    assert f"fun={result.fun:.6g}" in text


@pytest.mark.parametrize("solver", ["cbo", "admm_relu", "sketch_newton", "minimize", "scipy"])
def test_every_solver_takes_it(solver):
    pytest.importorskip("tqdm")
    out = io.StringIO()
    with fastopt.tqdm(file=out, mininterval=0) as bar:
        if solver == "cbo":
            fastopt.cbo(rosen, [(-2, 2)] * 2, rng=1, maxiter=3, callback=bar)
        elif solver == "admm_relu":
            x = np.linspace(-1, 1, 30)[:, None]
            fastopt.admm_relu(x, np.abs(x[:, 0]), beta=0.1, gates=5, rng=1, callback=bar)
        elif solver == "sketch_newton":
            fastopt.sketch_newton(rosen, [0, 0], jac=rosen_der, maxiter=3, callback=bar)
        elif solver == "minimize":
            fastopt.minimize(rosen, [0, 0], method="cbo", options={"maxiter": 3}, callback=bar)
        else:
            scipy.optimize.minimize(rosen, [0, 0], method="L-BFGS-B", callback=bar)
    assert "1 iterations" in out.getvalue() or "1it" in out.getvalue()


def test_a_bar_that_nobody_keeps_ends_with_the_run():
    pytest.importorskip("tqdm")
    out = io.StringIO()
    fastopt.cbo(
        rosen, [(-2, 2)] * 2, rng=1, maxiter=3, callback=fastopt.tqdm(file=out, mininterval=0)
    )
    assert out.getvalue().endswith("\n")


def test_without_tqdm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        fastopt.tqdm()

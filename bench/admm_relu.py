"""admm_relu beside cvxpy + Clarabel, SCS, scnn and scikit-learn's MLP in one run.

python bench/admm_relu.py [--peers] [--quick] [--jsonl FILE] [--mnist FILE]
    [--tables s,gated,spread,path,estimators,mnist,wide,free]

Every record holds seconds (wall and CPU), objective, gap, violation and iterations. Peers that are
missing are skipped with a message; the slow ones run only with --peers. Table mnist wants an .npz
file with X (n, 784) of bytes, y (n,) and the row numbers `train` and `test`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time

import admm_peers
import numpy as np

import fastopt
from fastopt import admm_relu, admm_relu_path

RECORDS: list[dict] = []


def note(table: str, name: str, **facts) -> None:
    RECORDS.append({"table": table, "name": name, **facts})
    shown = "  ".join(
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in facts.items()
    )
    print(f"{table:>10}  {name:<34} {shown}", flush=True)


def timed(function, repeats=5):
    """(result, median wall seconds, least, most, median CPU seconds)."""
    walls, cpus, result = [], [], None
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = function()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return result, {
        "s": float(np.median(walls)),
        "s_min": min(walls),
        "s_max": max(walls),
        "cpu_s": float(np.median(cpus)),
    }


def problem_s(n=1000, d=20, seed=0, noise=0.1, neurons=10):
    """A teacher network with rows of about unit norm."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) / np.sqrt(d)
    W, a = rng.standard_normal((neurons, d + 1)), rng.standard_normal(neurons)
    y = np.maximum(np.column_stack([X, np.ones(n)]) @ W.T, 0) @ a / np.sqrt(neurons)
    return X, y + noise * rng.standard_normal(n)


def seconds_to(history, best, accuracy):
    """Seconds and iterations until the objective is within `accuracy` of the best."""
    reached = np.flatnonzero(history["fun"] <= best * (1 + accuracy))
    if reached.size == 0:
        return float("nan"), -1
    return float(history["time"][reached[0]]), int(history["nit"][reached[0]])


def table_s(peers: bool) -> None:
    X, y = problem_s()
    kw = {"beta": 0.1, "gates": 50, "rng": 1, "threads": 1}
    best = admm_relu(X, y, gap_tol=1e-10, **kw)
    for name, more in (
        ("conic, gap 1e-4", {}),
        ("conic, gap 1e-8", {"gap_tol": 1e-8}),
        ("conic, gap 1e-4, 2 threads", {"threads": 2}),
        ("conic, gap 1e-8, 2 threads", {"gap_tol": 1e-8, "threads": 2}),
        ("conic float32, gap 1e-4", {"dtype": "float32"}),
    ):
        r, t = timed(lambda more=more: admm_relu(X, y, **{**kw, **more}))
        h = admm_relu(X, y, record_history=True, **{**kw, **more})
        note(
            "S",
            name,
            **t,
            excess=r.fun / best.fun - 1,
            gap=r.relative_gap,
            violation=r.constr_violation,
            nit=r.nit,
            to_1e_4_s=seconds_to(h.history, best.fun, 1e-4)[0],
        )
    for iterations in (10, 100, 1000):
        r, t = timed(lambda i=iterations: admm_relu(X, y, method="admm", maxiter=i, **kw), 3)
        note(
            "S",
            f"admm, {iterations} iterations",
            **t,
            excess=r.fun / best.fun - 1,
            gap=r.relative_gap,
        )
    floor(X, 50)
    if peers:
        for peer in (admm_peers.convex_solvers, admm_peers.scnn_relu, admm_peers.mlp):
            peer(X, y, best, note)


def least_cpu(function, repeats=9):
    """The least CPU seconds: what a busy machine disturbs least."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return min(times)


def floor(X, P) -> None:
    """Flops and bytes of one iteration against the machine's gemm and memory rates."""
    from threadpoolctl import threadpool_limits

    from fastopt import _cpu

    n, d = X.shape[0], X.shape[1] + 1
    a = np.random.default_rng(0).standard_normal((1024, 1024))
    with threadpool_limits(1, "blas"):  # the engine runs on one thread here too
        gemm = 2 * 1024**3 / least_cpu(lambda: a @ a) / 1e9
    big = np.ones(20_000_000)
    bandwidth = big.nbytes / least_cpu(lambda: big.sum()) / 1e9
    flops = 4 * n * P * d + 2 * n * d * 2 * P  # F, F', and one pass over the rows of all cones
    system = n * n * 8 / 2
    seconds = flops / gemm / 1e9 + system / bandwidth / 1e9
    y = np.random.default_rng(1).standard_normal(n)
    run = lambda k: admm_relu(  # noqa: E731
        X, y, beta=0.1, gates=P, rng=1, threads=1, maxiter=k, gap_tol=1e-15, polish=False, rho=4.0
    )
    per = (least_cpu(lambda: run(300)) - least_cpu(lambda: run(100))) / 200
    note(
        "floor",
        "one conic iteration",
        gemm_gflops=gemm,
        read_gb_s=bandwidth,
        floor_ms=1e3 * seconds,
        measured_cpu_ms=1e3 * per,
        ratio=per / seconds,
        isa=_cpu.isa(),
    )


def table_gated(peers: bool) -> None:
    X, y = problem_s()
    kw = {"beta": 0.1, "gates": 50, "rng": 1, "method": "gated", "threads": 1}
    best = admm_relu(X, y, gap_tol=1e-10, **kw)
    for dtype in ("float64", "float32"):
        r, t = timed(lambda dtype=dtype: admm_relu(X, y, dtype=dtype, **kw))
        note("gated", dtype, **t, excess=r.fun / best.fun - 1, gap=r.relative_gap, nit=r.nit)
    if peers:
        admm_peers.scnn_gated(X, y, best, note)


def spread():
    """Problems of many shapes, scales and correlations."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        n, d, P = [(200, 5, 20), (400, 10, 30), (300, 30, 20), (600, 8, 40)][seed % 4]
        X, y = problem_s(n, d, seed)
        if seed % 3 == 1:
            X = X @ (np.eye(d) + 0.9 * np.ones((d, d)))
        if seed % 3 == 2:
            X = X * np.exp(rng.standard_normal(d))
        for fraction in (1e-3, 1e-2, 1e-1):
            yield seed, X, y, P, fraction


def table_spread(peers: bool) -> None:
    ratios, own = [], []
    for seed, X, y, P, fraction in spread():
        kw = {
            "beta_ratio": fraction,
            "gates": P,
            "rng": seed,
            "standardize": True,
            "maxiter": 2000,
            "record_history": True,
            "polish": False,
        }
        auto = admm_relu(X, y, **kw)
        counts = []
        for factor in (0.05, 0.25, 1, 4, 20):
            r = admm_relu(X, y, rho=auto.rho * factor, **kw)
            counts.append(r.nit if r.success else 10**6)
        ratios.append(auto.nit / min(counts))
        own.append(auto.nit)
        if fraction == 1e-2:
            note("spread", f"problem {seed}", nit=auto.nit, best=min(counts), gap=auto.relative_gap)
    note(
        "spread",
        "iterations / best of 5 rho",
        median=float(np.median(ratios)),
        p90=float(np.quantile(ratios, 0.9)),
        worst=max(ratios),
        median_nit=float(np.median(own)),
    )


def table_path(peers: bool) -> None:
    X, y = problem_s()
    zero = admm_relu(X, y, beta_ratio=1, gates=50, rng=1)
    betas = zero.beta_max * np.logspace(0, np.log10(0.1 / zero.beta_max), 20)
    one, t1 = timed(lambda: admm_relu(X, y, beta=betas[-1], gates=zero.gates, threads=1))
    path, t20 = timed(lambda: admm_relu_path(X, y, betas, gates=zero.gates, threads=1))
    note("path", "one beta", **t1, gap=one.relative_gap)
    note(
        "path",
        "20 betas",
        **t20,
        gap=float(path.relative_gap.max()),
        ratio=t20["cpu_s"] / t1["cpu_s"],
    )


def table_estimators(peers: bool) -> None:
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedShuffleSplit
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from fastopt.sklearn import ConvexReLUClassifier

    sets = [
        ("digits", load_digits(return_X_y=True), 2),
        ("breast_cancer", load_breast_cancer(return_X_y=True), 8),
    ]
    for name, (X, y), splits in sets:
        rows: dict[str, list] = {}
        cut = StratifiedShuffleSplit(splits, test_size=0.2, random_state=0)
        for train, test in cut.split(X, y):
            for label, model in (
                ("fastopt", ConvexReLUClassifier(random_state=0)),
                (
                    "MLP",
                    make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=500)),
                ),
                ("LogReg", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
            ):
                cpu = time.process_time()
                model.fit(X[train], y[train])
                cpu = time.process_time() - cpu
                rows.setdefault(label, []).append((model.score(X[test], y[test]), cpu))
        for label, values in rows.items():
            score, cpu = np.mean(values, axis=0)
            note("estimator", f"{name}: {label}", accuracy=float(score), cpu_s=float(cpu))


MNIST: dict[str, str] = {}


def table_mnist(peers: bool) -> None:
    """8000 digits of 784 pixels: a few iterations, beside MLPClassifier and its seconds."""
    from sklearn.neural_network import MLPClassifier

    from fastopt.sklearn import ConvexReLUClassifier

    if "file" not in MNIST:
        print("table mnist is left out: --mnist FILE says where the data are")
        return
    part = np.load(MNIST["file"], allow_pickle=False)
    X, y = part["X"] / 255.0, part["y"].astype(int)
    train, test = part["train"], part["test"]
    for name, model in (
        ("fastopt, 5 iterations", ConvexReLUClassifier(max_iter=5, random_state=0)),
        (
            "fastopt, 5 iterations, float32",
            ConvexReLUClassifier(max_iter=5, dtype="float32", random_state=0),
        ),
        ("MLPClassifier", MLPClassifier(random_state=0)),
    ):
        _, t = admm_peers.timed_once(lambda m=model: m.fit(X[train], y[train]))
        note("mnist", name, **t, accuracy=float(model.score(X[test], y[test])))


def table_wide(peers: bool) -> None:
    """n = 10000, d = 3072, P = 50, two classes: to 97 % train accuracy."""
    import resource

    rng = np.random.default_rng(0)
    n, d = 10000, 3072
    X = rng.standard_normal((n, d), dtype=np.float32).astype(float)
    X /= np.sqrt(d)
    y = np.sign(np.maximum(X @ rng.standard_normal((d, 8)), 0) @ rng.standard_normal(8) + 1e-9)
    accuracy: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()

    def stop(intermediate_result):
        accuracy.append(float((np.sign(intermediate_result.predict(X)) == y).mean()))
        return accuracy[-1] >= 0.97

    r = admm_relu(
        X, y, beta=1e-3, gates=50, rng=1, method="admm", dtype="float32", callback=stop, maxiter=30
    )
    note(
        "wide",
        "admm float32 to 97 %",
        s=time.perf_counter() - began,
        cpu_s=time.process_time() - cpu,
        accuracy=accuracy[-1],
        nit=r.nit,
        peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    )


def table_free(peers):
    """What the sampled gates cost: the least certified value against networks of free neurons."""
    from scipy.optimize import minimize
    from sklearn.datasets import load_digits

    digits = load_digits()
    X = digits.data / 16
    y = np.where(digits.target == 0, 1.0, -1.0)
    began = time.perf_counter()
    r = admm_relu(X, y, beta_ratio=1e-2, gates=50, rng=1)
    beta = r.beta
    note("free", "50 sampled gates", s=time.perf_counter() - began, fun=r.fun, bound=r.dual_fun)
    A, k = np.column_stack([X, np.ones(len(X))]), 100
    n_in = k * A.shape[1]

    def value(w):
        U, a = w[:n_in].reshape(k, -1), w[n_in:]
        z = A @ U.T
        h = np.maximum(z, 0)
        residual = h @ a - y
        gradient = ((residual[:, None] * a) * (z > 0)).T @ A + beta * U
        f = 0.5 * residual @ residual + beta / 2 * (w @ w)
        return f, np.concatenate([gradient.ravel(), h.T @ residual + beta * a])

    for seed in range(3):
        w0 = 0.1 * np.random.default_rng(seed).standard_normal(n_in + k)
        began = time.perf_counter()
        end = minimize(value, w0, jac=True, method="L-BFGS-B", options={"maxiter": 3000})
        seconds = time.perf_counter() - began
        note("free", f"L-BFGS, {k} free neurons, seed {seed}", s=seconds, fun=float(end.fun))


TABLES = {
    "s": table_s,
    "gated": table_gated,
    "spread": table_spread,
    "path": table_path,
    "estimators": table_estimators,
    "mnist": table_mnist,
    "wide": table_wide,
    "free": table_free,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default="s,gated,spread,path,estimators,free")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--quick", action="store_true", help="tables s and gated only")
    parser.add_argument("--mnist", help="the data of table mnist, an .npz file")
    parser.add_argument("--jsonl", help="append one record per line to this file")
    chosen = parser.parse_args(argv)
    print(f"fastopt {fastopt.__version__}, numpy {np.__version__}, {platform.machine()}")
    RECORDS.clear()
    if chosen.mnist:
        MNIST["file"] = chosen.mnist
    for name in ["s", "gated"] if chosen.quick else chosen.tables.split(","):
        TABLES[name](chosen.peers)
    if chosen.jsonl:
        with open(chosen.jsonl, "a", encoding="utf-8") as out:
            out.writelines(json.dumps(one) + "\n" for one in RECORDS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

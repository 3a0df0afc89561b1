"""Others on the same convex program, or the same network problem, as bench/admm_relu.py.

Each function runs one and notes seconds, what it reached and by how much it leaves the cones. All
get the same gates. Objectives are computed here, from the weights that came back, never taken from
the solver: relative to `best`, which is certified.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Note = Callable[..., None]


def timed_once(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, {"s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def program_value(X1, gates, V, W, y, beta):
    """(objective, largest violation) of block weights V, W (P, d) of the convex program."""
    D = (X1 @ gates.T >= 0).astype(float)
    E = 2 * D - 1
    fit = (D * (X1 @ (V - W).T)).sum(axis=1)
    sizes = np.linalg.norm(V, axis=1).sum() + np.linalg.norm(W, axis=1).sum()
    worst = max(float(-(E * (X1 @ one.T)).min()) for one in (V, W))
    return 0.5 * ((fit - y) ** 2).sum() + beta * sizes, max(worst, 0.0)


def convex_solvers(X, y, best, note: Note) -> None:
    """cvxpy with Clarabel and with SCS."""
    try:
        import cvxpy as cp
    except ImportError:
        print("cvxpy is missing: pip install cvxpy clarabel scs")
        return
    X1 = np.column_stack([X, np.ones(len(X))])
    D = (X1 @ best.gates.T >= 0).astype(float)
    P, d = best.gates.shape
    E = 2 * D - 1

    def solved(solver, options):  # a new problem each time: an old one keeps its solver's settings
        V, W = cp.Variable((d, P)), cp.Variable((d, P))
        fit = cp.sum(cp.multiply(D, X1 @ (V - W)), axis=1)
        sizes = cp.sum(cp.norm(V, axis=0) + cp.norm(W, axis=0))
        problem = cp.Problem(
            cp.Minimize(0.5 * cp.sum_squares(fit - y) + best.beta * sizes),
            [cp.multiply(E, X1 @ V) >= 0, cp.multiply(E, X1 @ W) >= 0],
        )
        problem.solve(solver=solver, **options)
        return V.value.T, W.value.T

    loose = {f"tol_{k}": 1e-4 for k in ("gap_abs", "gap_rel", "feas")}
    for name, solver, options in (
        ("cvxpy + Clarabel, tol 1e-4", "CLARABEL", loose),
        ("cvxpy + Clarabel, tol 1e-8", "CLARABEL", {}),
        ("cvxpy + SCS, eps 1e-4", "SCS", {"eps": 1e-4, "max_iters": 20000}),
    ):
        try:
            (V, W), t = timed_once(lambda s=solver, o=options: solved(s, o))
        except cp.SolverError as error:
            print(f"{name}: {error}")
            continue
        value, worst = program_value(X1, best.gates, V, W, y, best.beta)
        note("S", name, **t, excess=float(value / best.fun - 1), violation=worst)


def _scnn(X1, y, gates, beta, make):
    """The weights (blocks, P, d) and gates that scnn's `make(module, G)` ends with."""
    import torch
    from scnn.metrics import Metrics
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1

    torch.set_num_threads(1)
    model, solver = make(gates.T.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ended, _ = optimize_model(
            model,
            solver,
            Metrics(metric_freq=10**6),
            X1,
            y[:, None],
            regularizer=NeuronGL1(beta / len(y)),  # its loss is the mean
            return_convex=True,
            unitize_data=False,
            dtype="float64",
        )
    return [one.reshape(len(gates), -1) for one in ended.parameters], ended.G.T


def scnn_installed() -> bool:
    try:
        import scnn.optimize  # noqa: F401
    except ImportError:
        print("scnn is missing: pip install pyscnn (the package called scnn is another one)")
        return False
    return True


def scnn_relu(X, y, best, note: Note) -> None:
    """scnn's augmented Lagrangian for the program with cones, its defaults but in float64."""
    if not scnn_installed():
        return
    from scnn.models import ConvexReLU
    from scnn.solvers import AL

    def make(G):
        model = ConvexReLU(G, c=1, bias=False)
        return model, AL(model)

    X1 = np.column_stack([X, np.ones(len(X))])
    ((V, W), gates), t = timed_once(lambda: _scnn(X1, y, best.gates, best.beta, make))
    value, worst = program_value(X1, gates, V, W, y, best.beta)
    name = "scnn augmented Lagrangian"
    note("S", name, **t, excess=value / best.fun - 1, violation=worst)


def scnn_gated(X, y, best, note: Note) -> None:
    """scnn's R-FISTA for the gated program, its defaults but in float64."""
    if not scnn_installed():
        return
    from scnn.models import ConvexGatedReLU
    from scnn.solvers import RFISTA

    X1 = np.column_stack([X, np.ones(len(X))])
    for tolerance in (1e-6, 1e-8):

        def make(G, tolerance=tolerance):
            model = ConvexGatedReLU(G, c=1, bias=False)
            return model, RFISTA(model, tol=tolerance)

        ((V,), gates), t = timed_once(lambda m=make: _scnn(X1, y, best.gates, best.beta, m))
        value, _ = program_value(X1, gates, V, np.zeros_like(V), y, best.beta)
        note("gated", f"scnn R-FISTA, tol {tolerance:g}", **t, excess=value / best.fun - 1)


def mlp(X, y, best, note: Note) -> None:
    """scikit-learn's MLPRegressor on the same squared error and weight decay.

    Its neurons may take any pattern, so that its objective may lie below `best`, which is the least
    for the sampled ones; its own penalty leaves out the offsets, which count here as in the program
    (each neuron scaled for the least penalty). Every network obeys the cones of its own patterns.
    """
    try:
        from sklearn.neural_network import MLPRegressor
    except ImportError:
        print("scikit-learn is missing: pip install scikit-learn")
        return
    for solver, most in (("adam", 200), ("adam", 2000), ("lbfgs", 2000)):
        model = MLPRegressor(
            solver=solver, alpha=best.beta, max_iter=most, tol=1e-7, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the budget may end first
            _, t = timed_once(lambda m=model: m.fit(X, y))
        (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
        sizes = np.sqrt((W1**2).sum(axis=0) + b1**2) @ np.abs(W2[:, 0]) + abs(b2[0])
        value = 0.5 * ((model.predict(X) - y) ** 2).sum() + best.beta * sizes
        name = f"MLPRegressor, {solver}, at most {most}"
        note("S", name, **t, excess=value / best.fun - 1, violation=0.0, nit=int(model.n_iter_))

"""Others on the same convex program, or the same network problem, as bench/admm_relu.py.

Each function runs one peer and returns its records: seconds, what it reached and by how much it
leaves the cones. All get the same gates. Objectives are computed here, from the weights that came
back, never taken from the solver: relative to `best`, which is certified.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import Record, Seconds, has, timed


def squared(fit, y):
    return 0.5 * ((fit - y) ** 2).sum()


def logistic(fit, y):
    return np.logaddexp(0, -y * fit).sum()


def hinge(fit, y):
    return np.maximum(1 - y * fit, 0).sum()


LOSSES = {"squared": squared, "logistic": logistic, "hinge": hinge}


@dataclass(frozen=True)
class Problem:
    """A program, the certified optimum of it, and where its records go."""

    table: str
    row: str
    X: Any
    y: Any
    best: Any
    loss: str = "squared"

    @property
    def X1(self):
        return np.column_stack([self.X, np.ones(len(self.X))])

    def value(self, V, W, gates):
        """(objective, largest violation) of block weights V, W (P, d)."""
        D = (self.X1 @ gates.T >= 0).astype(float)
        E = 2 * D - 1
        fit = (D * (self.X1 @ (V - W).T)).sum(axis=1)
        sizes = np.linalg.norm(V, axis=1).sum() + np.linalg.norm(W, axis=1).sum()
        worst = max(float(-(E * (self.X1 @ one.T)).min()) for one in (V, W))
        return LOSSES[self.loss](fit, self.y) + self.best.beta * sizes, max(worst, 0.0)

    def record(
        self,
        column: str,
        peer: str,
        spent: Seconds,
        fun: float,
        violation: float | None,
        **more: Any,
    ) -> Record:
        return Record(
            table=self.table,
            row=self.row,
            column=column,
            peer=peer,
            times=[spent.cpu],
            wall=spent.wall,
            fun=float(fun),
            violation=violation,
            extra={"excess": float(fun / self.best.fun - 1)},
            **more,
        )


LOOSE = {f"tol_{k}": 1e-4 for k in ("gap_abs", "gap_rel", "feas")}
CLARABEL = ("cvxpy + Clarabel, tol 1e-4", "CLARABEL", LOOSE)
CLARABEL_TIGHT = ("cvxpy + Clarabel, tol 1e-8", "CLARABEL", {})
SCS = ("cvxpy + SCS, eps 1e-4", "SCS", {"eps": 1e-4, "max_iters": 20000})


def convex_solvers(p: Problem, choice: tuple = (CLARABEL, CLARABEL_TIGHT, SCS)) -> list[Record]:
    """cvxpy with Clarabel and with SCS."""
    if not has("cvxpy", "Clarabel and SCS"):
        return []
    import cvxpy as cp

    losses = {
        "squared": lambda fit: 0.5 * cp.sum_squares(fit - p.y),
        "logistic": lambda fit: cp.sum(cp.logistic(-cp.multiply(p.y, fit))),
        "hinge": lambda fit: cp.sum(cp.pos(1 - cp.multiply(p.y, fit))),
    }
    D = (p.X1 @ p.best.gates.T >= 0).astype(float)
    E = 2 * D - 1

    def solved(solver, options):  # a new problem each time: an old one keeps its solver's settings
        V, W = cp.Variable(p.best.gates.T.shape), cp.Variable(p.best.gates.T.shape)
        fit = cp.sum(cp.multiply(D, p.X1 @ (V - W)), axis=1)
        sizes = cp.sum(cp.norm(V, axis=0) + cp.norm(W, axis=0))
        problem = cp.Problem(
            cp.Minimize(losses[p.loss](fit) + p.best.beta * sizes),
            [cp.multiply(E, p.X1 @ V) >= 0, cp.multiply(E, p.X1 @ W) >= 0],
        )
        problem.solve(solver=solver, **options)
        return V.value.T, W.value.T

    records = []
    for name, solver, options in choice:
        if not has(solver.lower(), name):
            continue
        try:
            (V, W), spent = timed(lambda s=solver, o=options: solved(s, o))
        except cp.SolverError as error:
            print(f"{name}: {error}")
            continue
        fun, worst = p.value(V, W, p.best.gates)
        records.append(p.record(name, f"cvxpy, {solver.lower()}", spent, fun, worst))
    return records


def _scnn(p: Problem, make):
    """The weights (blocks, P, d) and gates that scnn's `make(G)` ends with."""
    import torch
    from scnn.metrics import Metrics
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1

    torch.set_num_threads(1)
    model, solver = make(p.best.gates.T.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ended, _ = optimize_model(
            model,
            solver,
            Metrics(metric_freq=10**6),
            p.X1,
            p.y[:, None],
            regularizer=NeuronGL1(p.best.beta / len(p.y)),  # its loss is the mean
            return_convex=True,
            unitize_data=False,
            dtype="float64",
        )
    return [one.reshape(len(p.best.gates), -1) for one in ended.parameters], ended.G.T


def scnn_relu(p: Problem) -> list[Record]:
    """scnn's augmented Lagrangian for the program with cones, its defaults but in float64."""
    if not (has("torch", "scnn") and has("scnn", "scnn (pip install pyscnn)")):
        return []
    from scnn.models import ConvexReLU
    from scnn.solvers import AL

    def make(G):
        model = ConvexReLU(G, c=1, bias=False)
        return model, AL(model)

    ((V, W), gates), spent = timed(lambda: _scnn(p, make))
    fun, worst = p.value(V, W, gates)
    return [p.record("scnn augmented Lagrangian", "pyscnn, torch", spent, fun, worst)]


def scnn_gated(p: Problem) -> list[Record]:
    """scnn's R-FISTA for the gated program, its defaults but in float64."""
    if not (has("torch", "scnn") and has("scnn", "scnn (pip install pyscnn)")):
        return []
    from scnn.models import ConvexGatedReLU
    from scnn.solvers import RFISTA

    records = []
    for tolerance in (1e-6, 1e-8):

        def make(G, tolerance=tolerance):
            model = ConvexGatedReLU(G, c=1, bias=False)
            return model, RFISTA(model, tol=tolerance)

        ((V,), gates), spent = timed(lambda m=make: _scnn(p, m))
        fun, _ = p.value(V, np.zeros_like(V), gates)
        name = f"scnn R-FISTA, tol {tolerance:g}"
        records.append(p.record(name, "pyscnn, torch", spent, fun, None))
    return records


def mlp(p: Problem) -> list[Record]:
    """scikit-learn's MLPRegressor on the same squared error and weight decay.

    Its neurons may take any pattern, so that its objective may lie below `best`, which is the least
    for the sampled ones; its own penalty leaves out the offsets, which count here as in the program
    (each neuron scaled for the least penalty). Every network obeys the cones of its own patterns.
    """
    if not has("sklearn", "MLPRegressor"):
        return []
    from sklearn.neural_network import MLPRegressor

    records = []
    for solver, most in (("adam", 200), ("adam", 2000), ("lbfgs", 2000)):
        model = MLPRegressor(
            solver=solver, alpha=p.best.beta, max_iter=most, tol=1e-7, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the budget may end first
            _, spent = timed(lambda m=model: m.fit(p.X, p.y))
        (W1, W2), (b1, b2) = model.coefs_, model.intercepts_
        sizes = np.sqrt((W1**2).sum(axis=0) + b1**2) @ np.abs(W2[:, 0]) + abs(b2[0])
        fun = squared(model.predict(p.X), p.y) + p.best.beta * sizes
        name = f"MLPRegressor, {solver}, at most {most}, free neurons"
        records.append(p.record(name, "scikit-learn", spent, fun, 0.0, nit=int(model.n_iter_)))
    return records

"""The network demo: digits by `admm_relu`, to a certified gap, beside scikit-learn's MLPClassifier.

Both get the same standardised training samples of scikit-learn's digits (8 x 8 pixels, 10 classes)
and are asked about the same others. `admm_relu` minimises the squared error of targets -1 and 1
over the sampled activation patterns and proves how far from the least it is; MLPClassifier
minimises the cross entropy with its default settings, by Adam from random weights, and proves
nothing: from other weights it ends elsewhere. The two objectives are not comparable; the gap, the
accuracy and the seconds are.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._problem import Array

TITLE = "digits by a two-layer ReLU network with a certificate, beside scikit-learn's MLPClassifier"
REQUIRES: tuple[str, ...] = ("sklearn",)

BETA_RATIO = 1e-3  # of the beta from which on the network is zero
GATES, QUICK_GATES = 50, 16
GAP, QUICK_GAP = 1e-3, 1e-2
PEERS = 3  # MLPs from different weights; one when quick
TEST_SHARE = 0.2
ACCURACY, QUICK_ACCURACY = 0.965, 0.94  # what is claimed of the test set
BEHIND_PEER = 0.015  # and how far below MLPClassifier at most
FEASIBLE = 1e-10


@dataclass(frozen=True)
class Fit:
    """One trained network."""

    solver: str
    objective: float
    bound: float  # -inf: none
    gap: float  # relative; inf: none
    train_accuracy: float
    test_accuracy: float
    neurons: int
    iterations: int
    seconds: float


@dataclass(frozen=True)
class Table:
    """What `run` measured."""

    seed: int
    quick: bool
    n_train: int
    n_test: int
    gates: int
    beta: float
    gap_wanted: float
    violation: float
    ours: Fit
    peers: list[Fit]
    history: dict[str, Array]  # of `ours`: time, fun, dual_fun


def _data(seed: int) -> tuple[Array, Array, Any, Any]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=TEST_SHARE, random_state=seed, stratify=y
    )
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), scaler.transform(X_test), y, y_test


def _fit_admm(
    X: Array, y: Any, X_test: Array, y_test: Any, seed: int, quick: bool
) -> tuple[Fit, Any]:
    from fastopt import admm_relu

    began = time.perf_counter()
    targets = 2.0 * np.eye(10)[y] - 1.0
    result = admm_relu(
        X,
        targets,
        beta_ratio=BETA_RATIO,
        gates=QUICK_GATES if quick else GATES,
        rng=seed,
        gap_tol=QUICK_GAP if quick else GAP,
        record_history=True,
    )
    seconds = time.perf_counter() - began
    accuracy = [
        float(np.mean(result.predict(points).argmax(axis=1) == labels))
        for points, labels in ((X, y), (X_test, y_test))
    ]
    fit = Fit(
        "fastopt admm_relu",
        float(result.fun),
        float(result.dual_fun),
        float(result.relative_gap),
        accuracy[0],
        accuracy[1],
        int(result.n_neurons),
        int(result.nit),
        seconds,
    )
    return fit, result


def _fit_mlp(X: Array, y: Any, X_test: Array, y_test: Any, seed: int) -> Fit:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(random_state=seed)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its default budget may end first
        model.fit(X, y)
    return Fit(
        f"sklearn MLPClassifier, seed {seed}",
        float(model.loss_ * len(X)),
        -math.inf,
        math.inf,
        float(model.score(X, y)),
        float(model.score(X_test, y_test)),
        int(model.hidden_layer_sizes[0]),
        int(model.n_iter_),
        time.perf_counter() - began,
    )


def run(seed: int = 0, quick: bool = False) -> Table:
    """Train both; `quick`: fewer gates, a wider gap, one MLP."""
    X, X_test, y, y_test = _data(seed)
    ours, result = _fit_admm(X, y, X_test, y_test, seed, quick)
    peers = [_fit_mlp(X, y, X_test, y_test, seed + k) for k in range(1 if quick else PEERS)]
    return Table(
        seed=seed,
        quick=quick,
        n_train=len(X),
        n_test=len(X_test),
        gates=len(result.gates),
        beta=float(result.beta),
        gap_wanted=QUICK_GAP if quick else GAP,
        violation=float(result.constr_violation),
        ours=ours,
        peers=peers,
        history={name: np.array(result.history[name]) for name in ("time", "fun", "dual_fun")},
    )


def text(table: Table) -> str:
    """The table and what it means."""
    lines = [
        f"digits: {table.n_train} samples to train on, {table.n_test} to test, 64 pixels, 10 "
        f"classes; {table.gates} gates",
        "",
        f"{'':<30}{'objective':>10}{'bound':>10}{'gap':>9}{'train':>8}{'test':>8}{'neurons':>9}"
        f"{'seconds':>9}",
    ]
    for f in (table.ours, *table.peers):
        proven = math.isfinite(f.gap)
        lines.append(
            f"{f.solver:<30}{f.objective:10.4g}"
            + (f"{f.bound:10.4g}{f.gap:9.1e}" if proven else f"{'none':>10}{'none':>9}")
            + f"{f.train_accuracy:8.4f}{f.test_accuracy:8.4f}{f.neurons:9d}{f.seconds:9.1f}"
        )
    lines += [
        "",
        "objective: of admm_relu the squared error of targets -1 and 1 with weight decay, of",
        "MLPClassifier its own cross entropy: compare them within a solver only. bound: no network",
        "with the sampled activation patterns has a lower objective; other patterns may.",
    ]
    return "\n".join(lines)


def as_dict(table: Table) -> dict[str, Any]:
    """The whole demo, ready for json."""

    def plain(f: Fit) -> dict[str, Any]:
        return {
            name: value if not isinstance(value, float) or math.isfinite(value) else None
            for name, value in vars(f).items()
        }

    own = ("seed", "quick", "n_train", "n_test", "gates", "beta", "gap_wanted", "violation")
    return {
        **{name: getattr(table, name) for name in own},
        "fits": [plain(f) for f in (table.ours, *table.peers)],
        "history": {name: values.tolist() for name, values in table.history.items()},
        "failures": failures(table),
    }


def failures(table: Table) -> list[str]:
    """Why the demo does not hold what is claimed of it; empty if it does."""
    ours, reasons = table.ours, []
    if not 0 <= ours.gap <= table.gap_wanted:
        reasons.append(f"the relative gap is {ours.gap:.1e}, not at most {table.gap_wanted:.0e}")
    if not table.violation <= FEASIBLE:
        reasons.append(f"the weights leave their cones by {table.violation:.1e}")
    claimed = QUICK_ACCURACY if table.quick else ACCURACY
    if not ours.test_accuracy >= claimed:
        reasons.append(f"test accuracy {ours.test_accuracy:.4f} is below the {claimed} claimed")
    best = max(f.test_accuracy for f in table.peers)
    if not table.quick and not ours.test_accuracy >= best - BEHIND_PEER:
        reasons.append(
            f"test accuracy {ours.test_accuracy:.4f} is more than {BEHIND_PEER} below "
            f"MLPClassifier's {best:.4f}"
        )
    return reasons


def figure(table: Table) -> Any:
    """Objective and bound, and the gap between them, against seconds: a matplotlib Figure.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    seconds, fun, dual = (table.history[name] for name in ("time", "fun", "dual_fun"))
    fig = Figure(figsize=(10, 4), layout="constrained")
    values, gaps = fig.subplots(1, 2)
    proven = dual > 0
    values.plot(seconds, fun, "o-", ms=4, color="tab:blue", label="objective")
    values.plot(seconds[proven], dual[proven], "o-", ms=4, color="tab:green", label="bound")
    values.fill_between(seconds[proven], dual[proven], fun[proven], color="tab:green", alpha=0.12)
    values.set(yscale="log", xlabel="seconds", ylabel="training objective")
    values.legend()
    relative = (fun - dual) / fun
    shown = np.isfinite(relative) & (relative > 0)
    gaps.plot(seconds[shown], relative[shown], "o-", ms=4, color="tab:blue", label="relative gap")
    gaps.axhline(table.gap_wanted, color="k", ls=":", lw=1, label="wanted")
    gaps.set(yscale="log", xlabel="seconds", ylabel="(objective - bound) / objective")
    gaps.legend()
    fig.suptitle(
        f"digits, {table.gates} gates: test accuracy {table.ours.test_accuracy:.4f}, "
        f"MLPClassifier {max(f.test_accuracy for f in table.peers):.4f}"
    )
    return fig

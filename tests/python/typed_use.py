"""A user's script with every public name: `mypy --strict` checks it, and test_types.py runs it."""

from typing import Any

import numpy as np
import scipy.optimize  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult  # type: ignore[import-untyped, unused-ignore]

import fastopt
from fastopt import (
    SketchOperator,
    __version__,
    admm_relu,
    admm_relu_path,
    cbo,
    distributed,
    lstsq,
    minimize,
    problems,
    scipy_method,
    sketch,
    sketch_newton,
    tqdm,
)

Vector = NDArray[np.float64]


def bowl(x: Vector) -> float:
    return float(x @ x)


def gradient(x: Vector) -> Vector:
    return 2 * x


def stop_early(intermediate_result: OptimizeResult) -> bool:
    return bool(intermediate_result.nit >= 5)


def global_search() -> list[float]:
    box = [(-2.0, 3.0)] * 2
    by_function: OptimizeResult = cbo(bowl, box, rng=1, maxfev=300, callback=stop_early)
    problem: problems.NativeProblem = problems.rastrigin(2).shifted(rng=1)
    native = cbo(problem, problem.bounds, rng=np.random.default_rng(1), maxfev=300, polish=False)
    assert problems.get("sphere", 2).dim == 2 and "levy" in problems.names()
    every = [
        problems.ackley, problems.ellipsoid, problems.griewank, problems.levy,
        problems.michalewicz, problems.rastrigin_mild, problems.rosenbrock, problems.schwefel,
        problems.sphere, problems.styblinski_tang, problems.zakharov, problems.canyon,
    ]  # fmt: skip
    values = [float(make(2)(np.ones(2))) for make in every]
    method = scipy_method("cbo")
    through_scipy = scipy.optimize.minimize(
        bowl, [1.0, 1.0], method=method, bounds=box, options={"maxfev": 100, "rng": 1}
    )
    ours = minimize(bowl, [1.0, 1.0], method="cbo", bounds=box, options={"maxfev": 100, "rng": 1})
    return [float(r.fun) for r in (by_function, native, through_scipy, ours)] + values


class OneRank:
    """The members of `fastopt.distributed.Communicator`, for a process without others."""

    rank = 0
    size = 1

    def allgather(self, array: Vector, /) -> Vector:
        return array[None].copy()

    def allreduce(self, array: Vector, /) -> Vector:
        return array.copy()


def newton() -> float:
    A: Vector = np.random.default_rng(0).standard_normal((200, 3))
    model = problems.GLM(A, (A[:, 0] > 0).astype(float), "logistic", l2=1e-2)
    curvature: problems.WeightedGram = model.hess(np.zeros(3))
    assert curvature.shape == (3, 3)
    equal = scipy.optimize.LinearConstraint(np.ones((1, 3)), 0, 0)
    fitted = sketch_newton(model, np.zeros(3), constraints=equal)
    comm: distributed.Communicator = OneRank()
    shared = problems.GLM(A, model.y, "logistic", l2=1e-2, comm=comm)
    assert sketch_newton(shared, np.zeros(3), constraints=equal).fun == fitted.fun
    plain = minimize(bowl, [1.0, 2.0], method="sketch-newton", jac=gradient, tol=1e-9)
    S = SketchOperator(20, 200, rng=1)
    small: NDArray[Any] = sketch(A, 20, rng=1)
    assert S.shape == (20, 200) and small.shape == (20, 3)
    return float(fitted.fun + plain.fun + lstsq(A, A[:, 1]).x[1])


def networks() -> float:
    X: Vector = np.linspace(-1, 1, 40)[:, None]
    y: Vector = np.abs(X[:, 0])
    result = admm_relu(X, y, beta=1e-2, gates=10, rng=1)
    shared = admm_relu(X, y, beta=1e-2, gates=10, rng=1, comm=OneRank(), shard="samples")
    assert abs(shared.fun - result.fun) < 1e-9
    path = admm_relu_path(X, y, [1e-1, 1e-2], gates=10, rng=1)
    return float(result.gap + path.fun[-1] + result.predict(X).sum())


def estimators() -> float:
    from fastopt.sklearn import ConvexReLUClassifier, ConvexReLURegressor

    X: Vector = np.linspace(-1, 1, 40)[:, None]
    regressor = ConvexReLURegressor(gates=8).fit(X, np.abs(X[:, 0]))
    classifier = ConvexReLUClassifier(gates=8).fit(X, X[:, 0] > 0)
    return float(regressor.score(X, np.abs(X[:, 0])) + classifier.score(X, X[:, 0] > 0))


def tensors() -> float:
    from fastopt.torch import from_module, from_torch, to_module

    f = from_torch(lambda x: (x**2).sum(dim=1))
    point = np.ones(2)
    total = f.fun(point) + f.jac(point).sum() + f.hessp(point, point).sum() + f.hess(point).sum()
    total += f.batched(point[None]).sum()
    X: Vector = np.linspace(-1, 1, 20)[:, None]
    module = to_module(admm_relu(X, np.abs(X[:, 0]), beta=1e-2, gates=5, rng=1))
    g = from_module(module, lambda net: sum(one.sum() for one in net(f_input(X))))
    g.load(g.x0)
    return float(total + g.fun(g.x0) + g.dim)


def f_input(X: Vector) -> Any:
    import torch

    return torch.from_numpy(X)


def arrays() -> float:
    from fastopt.jax import from_jax

    f = from_jax(lambda x: (x**2).sum(axis=1))
    point = np.ones(2)
    return float(f.fun(point) + f.jac(point).sum() + f.hessp(point, point).sum())


def pictures() -> int:
    from fastopt import plot

    result = cbo(bowl, [(-2, 3)] * 2, rng=1, maxiter=10, record_history=True)
    X: Vector = np.linspace(-1, 1, 30)[:, None]
    network = admm_relu(X, np.abs(X[:, 0]), beta=1e-2, gates=5, rng=1, record_history=True)
    steps = sketch_newton(bowl, [1.0, 2.0], jac=gradient, record_history=True)
    costs = {"a": [1.0, 2.0], "b": [2.0, 1.0]}
    drawn = [
        plot.convergence({"cbo": result}, best=0.0),
        plot.spread(result),
        plot.consensus_path(result, bowl, [(-2, 3)] * 2, points=5),
        plot.gap(network),
        plot.residuals(network),
        plot.kkt(steps),
        plot.performance_profile(costs),
        plot.data_profile(costs, [2, 2]),
        plot.summary(result),
    ]
    return len(drawn)


def several_processes() -> float:
    from fastopt.distributed import Communicator, RankError

    comm: Communicator = OneRank()
    try:
        return float(cbo(bowl, [(-2, 3)] * 2, rng=1, maxfev=200, comm=comm).fun)
    except RankError:
        return 0.0


def progress() -> int:
    with tqdm(total=5, disable=True) as bar:
        return int(cbo(bowl, [(-1, 2)] * 2, rng=1, maxiter=5, callback=bar).nit)


if __name__ == "__main__":
    print(__version__, fastopt.__name__, global_search(), newton(), networks())

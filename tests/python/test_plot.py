"""Pictures hold what they should: the data of their lines, their labels, and ink on the canvas."""

import sys

import numpy as np
import pytest
from scipy.optimize import OptimizeResult, rosen, rosen_der, rosen_hess

from fastopt import admm_relu, cbo, plot, sketch_newton
from fastopt.problems import GLM

pytest.importorskip("matplotlib")
import matplotlib.pyplot as plt

BOX = [(-2.0, 2.0), (-1.0, 3.0)]


@pytest.fixture(scope="module")
def swarm():
    return cbo(rosen, BOX, rng=1, maxiter=60, dynamics="memory", record_history=True)


@pytest.fixture(scope="module")
def network():
    x = np.linspace(-1, 1, 50)[:, None]
    return admm_relu(x, np.abs(x[:, 0]), beta=1e-2, gates=20, rng=1, record_history=True)


@pytest.fixture(scope="module")
def newton():
    return sketch_newton(rosen, [-1, 0.5], jac=rosen_der, hess=rosen_hess, record_history=True)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def line(axes, label):
    """(x, y) of the line with this label."""
    (found,) = [one for one in axes.get_lines() if one.get_label() == label]
    return found.get_xdata(), found.get_ydata()


def ink(axes):
    """Share of pixels inside the axes that are not white."""
    figure = axes.figure
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    box = axes.get_window_extent()
    height = pixels.shape[0]
    rows = slice(int(height - box.y1) + 3, int(height - box.y0) - 3)
    inside = pixels[rows, int(box.x0) + 3 : int(box.x1) - 3]
    return float((inside < 250).any(axis=-1).mean())


def test_convergence_shows_the_best_value_against_evaluations(swarm):
    axes = plot.convergence({"one": swarm})
    x, y = line(axes, "one")
    np.testing.assert_array_equal(x, swarm.history["nfev"])
    np.testing.assert_array_equal(y, np.minimum.accumulate(swarm.history["fun"]))
    assert axes.get_xlabel() == "evaluations" and axes.get_ylabel() == "best value"
    assert 0.001 < ink(axes) < 0.5


def test_convergence_to_a_known_minimum_is_logarithmic(swarm):
    axes = plot.convergence(swarm, best=-1.0)
    (curve,) = axes.get_lines()
    np.testing.assert_allclose(
        curve.get_ydata(), np.minimum.accumulate(swarm.history["fun"]) + 1, rtol=1e-12
    )
    assert axes.get_yscale() == "log" and axes.get_legend() is None


def test_convergence_of_the_other_solvers(network, newton):
    axes = plot.convergence(network)
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), network.history["nit"])
    assert axes.get_xlabel() == "iterations"
    axes = plot.convergence(newton)
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), newton.history["nfev"])


def test_spread(swarm):
    axes = plot.spread(swarm)
    x, y = line(axes, "spread of the values")
    np.testing.assert_array_equal(x, np.arange(1, swarm.nit + 1))
    np.testing.assert_array_equal(y, swarm.history["spread"])
    assert axes.get_yscale() == "log"
    assert ink(axes) > 0.001


def test_the_consensus_path_lies_over_contours(swarm):
    bare = plot.consensus_path(swarm)
    axes = plot.consensus_path(swarm, rosen, BOX)
    x, y = line(axes, "consensus")
    np.testing.assert_array_equal(np.column_stack([x, y]), swarm.history["consensus"])
    x, y = line(axes, "start")
    np.testing.assert_array_equal([x[0], y[0]], swarm.history["consensus"][0])
    x, y = line(axes, "result")
    np.testing.assert_array_equal([x[0], y[0]], swarm.x)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x[0]", "x[1]")
    assert not bare.collections and axes.collections  # contours
    (contours,) = axes.collections
    for level, path in zip(contours.levels[1:-1], contours.get_paths()[1:-1], strict=True):
        for a, b in path.vertices[:: max(1, len(path.vertices) // 5)]:
            assert rosen([a, b]) == pytest.approx(level, rel=0.2, abs=2)
    assert ink(axes) > ink(bare)


def test_a_plane_through_more_variables():
    result = cbo(rosen, [(-2, 2)] * 4, rng=1, maxiter=20, record_history=True)
    seen = []

    def func(x):
        seen.append(x.copy())
        return rosen(x)

    axes = plot.consensus_path(result, func, [(-2, 2)] * 4, variables=(3, 1), points=5)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x[3]", "x[1]")
    seen = np.array(seen)
    np.testing.assert_array_equal(seen[:, [0, 2]], np.tile(result.x[[0, 2]], (25, 1)))
    assert {tuple(one) for one in seen[:, [3, 1]]} == {
        (a, b) for a in np.linspace(-2, 2, 5) for b in np.linspace(-2, 2, 5)
    }


def test_gap_and_residuals(network):
    axes = plot.gap(network)
    _, upper = line(axes, "objective")
    _, lower = line(axes, "dual bound")
    assert (upper >= lower).all() and (np.diff(upper) <= 0).all() and (np.diff(lower) >= 0).all()
    (right,) = [one for one in axes.figure.axes if one is not axes]
    _, difference = line(right, "gap")
    np.testing.assert_array_equal(difference, upper - lower)
    assert right.get_yscale() == "log"
    assert {one.get_text() for one in axes.get_legend().texts} == {
        "objective", "dual bound", "gap"
    }  # fmt: skip
    axes = plot.residuals(network)
    np.testing.assert_array_equal(
        line(axes, "primal residual")[1], network.history["primal_residual"]
    )
    assert ink(axes) > 0.001


def test_kkt_names_the_linear_solver_and_shows_the_sketch(newton):
    axes = plot.kkt(newton)
    _, y = line(axes, "gradient of the Lagrangian")
    np.testing.assert_array_equal(y, newton.history["optimality"])
    assert axes.get_title() == "linear solver: ldl" and len(axes.figure.axes) == 1
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3000, 20))
    model = GLM(A, (rng.random(3000) < 0.5).astype(float), "logistic", l2=1e-3)
    sketched = sketch_newton(
        model, np.zeros(20), linear_solver="sketch-pcg", record_history=True, rng=1
    )
    axes = plot.kkt(sketched)
    assert axes.get_title() == "linear solver: sketch-pcg"
    (right,) = [one for one in axes.figure.axes if one is not axes]
    np.testing.assert_array_equal(
        line(right, "rows of the sketch")[1], sketched.history["sketch_rows"]
    )


def test_summary_has_the_pictures_of_each_solver(swarm, network, newton):
    one_variable = cbo(lambda x: x[0] ** 2, [(-1, 2)], rng=1, maxiter=5, record_history=True)
    for result, labels in (
        (swarm, ["evaluations", "iterations", "x[0]"]),
        (one_variable, ["evaluations", "iterations"]),
        (network, ["iterations", "iterations"]),
        (newton, ["evaluations", "iterations"]),
    ):
        figure = plot.summary(result)
        panels = [axes for axes in figure.axes if axes.get_xlabel()]
        assert [axes.get_xlabel() for axes in panels] == labels
        assert all(ink(axes) > 0.0005 for axes in panels)


COSTS = {"a": [1, 2, 4, np.inf], "b": [2, 2, 1, 8]}


def test_performance_profile():
    """Dolan and More by hand: ratios a (1, 1, 4, inf), b (2, 1, 1, 1)."""
    axes = plot.performance_profile(COSTS)
    for name, ratios in (("a", [1, 1, 4]), ("b", [1, 1, 1, 2])):
        x, y = line(axes, name)
        for t in (1, 1.5, 2, 3.9, 4, 5):
            shown = y[np.flatnonzero(x <= t)[-1]]
            assert shown == np.sum(np.array(ratios) <= t) / 4
    assert axes.get_xscale() == "log" and axes.get_ylim() == (0, 1.02)
    assert ink(axes) > 0.001


def test_data_profile():
    axes = plot.data_profile(COSTS, dims=[1, 1, 3, 3])
    x, y = line(axes, "a")
    for t in (0.4, 0.5, 0.9, 1.0, 3.0):
        assert y[np.flatnonzero(x <= t)[-1]] == np.sum(np.array([0.5, 1, 1]) <= t) / 4
    assert "dimension + 1" in axes.get_xlabel()


def test_a_solver_that_solves_nothing_is_drawn_flat():
    axes = plot.performance_profile({"good": [1, 2], "bad": [np.nan, np.inf]})
    assert (line(axes, "bad")[1] == 0).all()


def test_pictures_go_into_given_axes(swarm):
    _, (left, right) = plt.subplots(1, 2)
    assert plot.convergence(swarm, axes=left) is left and plot.spread(swarm, axes=right) is right
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda r: plot.convergence(OptimizeResult(x=1)), "record_history=True"),
        (lambda r: plot.spread(OptimizeResult(history={"fun": [1]})), "history of spread"),
        (lambda r: plot.kkt(r), "history of optimality"),
        (lambda r: plot.gap(OptimizeResult(history=[{}])), "several runs"),
        (lambda r: plot.consensus_path(r, rosen), "needs bounds="),
        (lambda r: plot.consensus_path(r, rosen, [(None, 1), (0, 1)]), "finite bounds"),
        (lambda r: plot.performance_profile({"a": [1], "b": [1, 2]}), "a cost for each problem"),
        (lambda r: plot.performance_profile({"a": [0.0]}), "costs must be positive"),
        (lambda r: plot.data_profile({"a": [1.0]}, [1, 2]), "dims must hold"),
    ],
)
def test_mistakes_are_named(swarm, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(swarm)


def test_what_is_no_result_is_a_type_error():
    with pytest.raises(TypeError, match="result must be an OptimizeResult; got int"):
        plot.summary(3)
    with pytest.raises(TypeError, match="costs must be a dict"):
        plot.performance_profile([1, 2])


def test_without_matplotlib_the_error_says_what_to_install(swarm, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        plot.convergence(swarm)

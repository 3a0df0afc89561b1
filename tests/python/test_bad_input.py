"""Bad input gives a clear error or status; nothing hangs, nothing is silent."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from scipy.optimize import Bounds, NonlinearConstraint

from fastopt import cbo

BOX = [(-2.0, 2.0)] * 2
DYNAMICS = ["hybrid", "anisotropic", "isotropic", "memory", "hopping", "sampling", "polarized"]
QUICK = {"rng": 7, "dynamics": "anisotropic", "n_particles": 20, "maxiter": 20}


def bowl(x):
    return float((x**2).sum())


# ---- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([], "empty"),
        ([(0, math.nan)], "upper bound of variable 0 is nan"),
        ([(0, 1), (math.nan, 1)], "lower bound of variable 1 is nan"),
        ([(math.inf, math.inf)], "lower bound of variable 0 is inf"),
        ([(0, 1), (2, 1)], "An upper bound is less than the corresponding lower bound.*1"),
        ([(0, 1, 2)], "sequence of"),
        ([0, 1, 2], "sequence of"),
        ("ab", "sequence of"),
        ([("a", "b")], "sequence of"),
        (5, "sequence of"),
        ([(0, 1j)], "sequence of"),
        ([(-1.7e308, 1.7e308)], "overflows"),
        (np.zeros((2, 3)), "sequence of"),
        (Bounds([0, 0], [1, math.nan]), "nan"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:The parameter passed to bounds")
def test_bounds(bounds, message):
    with pytest.raises(ValueError, match=message):
        cbo(bowl, bounds, **QUICK)


def test_lengths_that_disagree():
    with pytest.raises(ValueError, match="number of bounds is not compatible with the length"):
        cbo(bowl, BOX, x0=[0.0, 0.0, 0.0], **QUICK)


@pytest.mark.parametrize("x0", [[0.0, 2.5], [math.nan, 0.0], [0.0, -math.inf]], ids=str)
def test_x0_outside_says_which_coordinate(x0):
    k = int(np.flatnonzero(~(np.abs(x0) <= 2))[0])
    with pytest.raises(ValueError, match=rf"Some entries in x0 lay outside.*x0\[{k}\]"):
        cbo(bowl, BOX, x0=x0, **QUICK)


@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
def test_infinite_bounds_without_a_place_to_start(dynamics):
    with pytest.raises(ValueError, match="variable 1"):
        cbo(bowl, [(0, 1), (0, None)], dynamics=dynamics)


def test_the_hybrid_names_the_alternative_to_infinite_bounds_and_init_arrays():
    with pytest.raises(ValueError, match="dynamics='anisotropic'"):
        cbo(bowl, [(0, 1), (0, None)], x0=[0.5, 0.5])
    with pytest.raises(ValueError, match="x0="):
        cbo(bowl, BOX, init=np.zeros((5, 2)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"maxiter": -1}, "maxiter must be an integer >= 1"),
        ({"maxiter": 2.5}, "maxiter must be an integer"),
        ({"maxiter": "9"}, "maxiter must be an integer"),
        ({"maxfev": 0}, "maxfev must be an integer >= 1"),
        ({"maxfev": 19}, "maxfev=19 does not allow one iteration of 20 evaluations"),
        ({"maxtime": 0}, "maxtime must be a number > 0"),
        ({"maxtime": math.nan}, "maxtime"),
        ({"f_target": "low"}, "f_target must be a number"),
        ({"tol": -1}, "tol must be a number >= 0"),
        ({"tol": math.nan}, "tol"),
        ({"atol": "x"}, "atol must be a number"),
        ({"n_particles": 0}, "n_particles must be an integer >= 1"),
        ({"n_particles": None, "popsize": -3}, "popsize must be an integer >= 1"),
        ({"popsize": 3}, "n_particles and popsize"),
        ({"init": "sobel"}, "init must be one of.*Did you mean 'sobol'"),
        ({"init": np.zeros((20, 3))}, "init must be a name or an array|not compatible"),
        ({"init": np.zeros(3)}, "init must be a name or an array"),
        ({"init": np.full((20, 2), np.nan)}, "init must hold finite numbers"),
        ({"init": np.zeros((5, 2))}, "init is an array of 5 particles"),
        ({"dynamics": "anisotropc"}, "Did you mean 'anisotropic'"),
        ({"noise": "white"}, "noise must be one of"),
        ({"drift": -0.1}, "drift must be a number >= 0"),
        ({"diffusion": math.nan}, "diffusion"),
        ({"alpha": "auto"}, "alpha must be one of 'ess'"),
        ({"alpha": 0.0}, "alpha must be a number > 0"),
        ({"alpha": [1.0, math.nan]}, "alpha"),
        ({"alpha_factor": 1.1}, "alpha_factor and alpha_max need a number"),
        ({"batch_mode": "full"}, "needs batch_size"),
        ({"noise": "covariance", "truncation": 1.0}, "truncation does not go with"),
        ({"ess": 0.0}, "ess must be a number > 0"),
        ({"ess": 1.5}, "ess must be .* <= 1"),
        ({"truncation": 0.0}, "truncation"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"batch_size": 21}, "batch_size"),
        ({"batch_mode": "half"}, "batch_mode must be one of"),
        ({"boundary": "periodic"}, "boundary must be one of"),
        ({"kernel_width": 1.0}, "kernel_width is not a parameter of dynamics='anisotropic'"),
        ({"memory_drift": 1.0}, "belongs to dynamics 'memory'"),
        ({"samples": True}, "belongs to dynamics 'sampling'"),
        ({"n_minimizers": 3}, "belongs to dynamics 'polarized'"),
        ({"restarts": -1}, "restarts must be an integer >= 0"),
        ({"runs": 0}, "runs must be an integer >= 1"),
        ({"runs": 2, "callback": print}, "callback, checkpoint and resume belong to one run"),
        ({"threads": 0}, "threads must be an integer >= 1"),
        ({"dtype": "float16"}, "dtype must be one of 'float64', 'float32'"),
        ({"dtype": "flaot32"}, "dtype must be one of"),
        ({"dtype": complex}, "dtype must be one of"),
        ({"device": "cuda"}, "device"),
        ({"device": "gpu"}, "device"),
        ({"constraint_tol": -1e-3}, "constraint_tol must be a number >= 0"),
        ({"checkpoint_every": -1}, "checkpoint_every must be a number >= 0"),
        ({"rng": "five"}, "rng must be a non-negative int"),
        ({"rng": -1}, "rng must be a non-negative int"),
        ({"rng": 1.5}, "rng must be a non-negative int"),
        ({"integrality": [True]* 3}, "integrality must be a bool or 2 bools"),
        ({"samples": 2}, "samples must be True or False"),
    ],
    ids=str,
)  # fmt: skip
def test_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        cbo(bowl, BOX, **{**QUICK, **given})


@pytest.mark.parametrize("name", ["drift", "diffusion", "truncation", "batch_size", "noise"])
def test_the_hybrid_refuses_what_it_would_not_use(name):
    value = "isotropic" if name == "noise" else 1
    with pytest.raises(ValueError, match=f"{name} is not a parameter of dynamics='hybrid'"):
        cbo(bowl, BOX, **{name: value})


@pytest.mark.parametrize(
    "given", [{"alpha": 5.0}, {"gradient": bowl}, {"restarts": 2}], ids=lambda g: next(iter(g))
)
def test_the_hybrid_refuses_more_of_that_kind(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        cbo(bowl, BOX, **given)


def test_the_hybrid_says_that_it_does_not_use_a_design():
    with pytest.warns(RuntimeWarning, match="init='sobol' is not used") as caught:
        assert cbo(bowl, BOX, rng=1, init="sobol").success
    assert caught[0].filename == __file__


def test_rng_and_seed_together_get_scipys_words():
    with pytest.raises(TypeError, match="multiple values for argument now known as `rng`"):
        cbo(bowl, BOX, rng=1, seed=1)


def test_a_box_without_an_integer():
    with pytest.raises(ValueError, match=r"does not have any possible integer values.*variable 1"):
        cbo(bowl, [(0, 3), (0.2, 0.8)], integrality=[True, True], **QUICK)


@pytest.mark.parametrize("func", [None, 5, "sphere"], ids=repr)
def test_what_cannot_be_called(func):
    with pytest.raises(TypeError, match="func must be callable"):
        cbo(func, BOX, **QUICK)


@pytest.mark.parametrize("n", [10**9, 10**12])
def test_more_particles_than_memory(n):
    with pytest.raises(MemoryError, match="n_particles"):
        cbo(bowl, [(-1, 1)] * 100, dynamics="anisotropic", n_particles=n)


# ---- values ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_no_finite_value_at_all_is_status_3(dynamics, value):
    result = cbo(lambda x: value, BOX, rng=1, dynamics=dynamics, maxiter=5)
    assert (result.status, result.success) == (3, False)
    assert not math.isfinite(result.fun)
    assert "no finite value" in result.message


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_nan_ranks_last(dynamics):
    def half(x):
        return math.nan if x[0] < 0 else bowl(x - 0.5)

    result = cbo(half, BOX, rng=1, dynamics=dynamics, n_particles=60, maxiter=60)
    assert result.x[0] >= 0 and math.isfinite(result.fun) and result.fun < 0.1
    assert np.isfinite(result.population).all()


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_minus_infinity_stops_with_a_message(dynamics):
    calls = []

    def func(x):
        calls.append(1)
        return -math.inf if len(calls) > 40 else bowl(x)

    result = cbo(func, BOX, rng=1, dynamics=dynamics, n_particles=30)
    assert (result.status, result.success) == (3, False)
    assert "-inf" in result.message and result.fun == -math.inf
    assert len(calls) < 200


@pytest.mark.parametrize("scale", [1e-320, 1e300, 1e308])
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_extreme_values_keep_the_particles_finite(dynamics, scale):
    result = cbo(lambda x: scale * bowl(x) / 10, BOX, rng=1, dynamics=dynamics, maxiter=15,
                 n_particles=20, polish=False)  # fmt: skip
    assert np.isfinite(result.x).all() and np.isfinite(result.population).all()


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_constant_objective_ends(dynamics):
    result = cbo(lambda x: 3.0, BOX, rng=1, dynamics=dynamics, maxfev=4000)
    assert result.fun == 3.0 and (np.abs(result.x) <= 2).all()


# ---- exceptions and interrupts ---------------------------------------------------------------


class Mine(Exception):
    pass


@pytest.mark.parametrize("error", [Mine("x"), SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("at", [1, 2, 33])
@pytest.mark.parametrize("dynamics", ["hybrid", "anisotropic"])
def test_exceptions_of_the_objective_come_back_unchanged(error, at, dynamics):
    calls = []

    def func(x):
        calls.append(1)
        if len(calls) == at:
            raise error
        return bowl(x)

    with pytest.raises(type(error)) as caught:
        cbo(func, BOX, rng=1, dynamics=dynamics)
    assert caught.value is error
    assert "func" in [frame.name for frame in caught.traceback]
    assert len(calls) == at
    assert cbo(bowl, BOX, rng=1).success


@pytest.mark.parametrize("error", [Mine("x"), SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("at", [1, 7])
@pytest.mark.parametrize("where", ["gradient", "constraint", "callback", "polish"])
def test_exceptions_of_other_functions_come_back_unchanged(where, at, error):
    calls = []

    def failing(answer):
        def function(x, *_, **__):
            calls.append(1)
            if len(calls) == at:
                raise error
            return answer(x)

        return function

    given = {
        "gradient": {"gradient": failing(lambda x: 2 * x)},
        "constraint": {"constraints": NonlinearConstraint(failing(lambda x: x[0]), 0, 1)},
        "callback": {"callback": failing(lambda x: None)},
        "polish": {"polish": lambda fun, x0, **_: [failing(bowl)(x0) for _ in range(at)]},
    }[where]
    with pytest.raises(type(error)) as caught:
        cbo(bowl, BOX, **{**QUICK, **given})
    assert caught.value is error and len(calls) == at
    assert "function" in [frame.name for frame in caught.traceback]
    assert cbo(bowl, BOX, rng=1).success


def test_nothing_is_kept_alive_after_a_run():
    def func(x):
        return bowl(x)

    def callback(xk):
        return False

    cbo(func, BOX, callback=callback, **QUICK)
    before = sys.getrefcount(func), sys.getrefcount(callback)
    for _ in range(3):
        cbo(func, BOX, callback=callback, **QUICK)
    with pytest.raises(ValueError, match="scalar"):
        cbo(lambda x: func, BOX, **QUICK)
    assert (sys.getrefcount(func), sys.getrefcount(callback)) == before


@pytest.mark.parametrize("kind", ["python", "native", "processes"])
def test_ctrl_c_ends_a_run_at_once(kind):
    what = {
        "python": "cbo(lambda x: float(x @ x), [(-1, 1)] * 5, **endless,",
        "native": "cbo(problems.rastrigin(100), (-5, 5), **endless, n_particles=20000,",
        "processes": "cbo(rosen, [(-1, 1)] * 5, **endless, workers=2,",
    }[kind]
    script = textwrap.dedent(f"""
        import sys, threading, time
        import numpy as np
        from scipy.optimize import rosen
        from fastopt import cbo, problems
        endless = dict(dynamics="isotropic", diffusion=0.5, tol=0, maxfev=10**12, maxiter=10**9)
        if __name__ == "__main__":
            print("ready", flush=True)
            try:
                {what} maxtime=60)
            except KeyboardInterrupt:
                print("interrupted", cbo(lambda x: x @ x, [(-1, 1)] * 2, rng=1).success)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.5)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert out == "interrupted True\n"
    assert process.returncode == 0


def test_the_interpreter_is_free_during_a_native_run():
    from fastopt import problems

    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    cbo(problems.rastrigin(50), (-5, 5), dynamics="anisotropic", n_particles=2000, maxtime=0.4,
        tol=0, polish=False, threads=1)  # fmt: skip
    done.set()
    thread.join()
    assert len(ticks) > 50  # a held lock would leave one or two

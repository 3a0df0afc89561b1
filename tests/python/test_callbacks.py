"""Callbacks in all forms, stopping, printed lines, history."""

import functools
import io

import numpy as np
import pytest
from scipy.optimize import OptimizeResult, rosen

from fastopt import cbo

BOX = [(-2.0, 2.0)] * 3
DYNAMICS = ["hybrid", "anisotropic", "isotropic", "memory", "hopping", "sampling", "polarized"]
BASE = {"rng": 11, "maxiter": 30}


def options(dynamics):
    if dynamics == "hybrid":
        return BASE
    return {**BASE, "dynamics": dynamics, "n_particles": 20, "polish": False}


def test_intermediate_result_comes_by_keyword():
    seen = []

    def callback(*, intermediate_result):
        seen.append(intermediate_result)

    result = cbo(rosen, BOX, callback=callback, **BASE)
    assert len(seen) == result.nit
    assert all(type(one) is OptimizeResult for one in seen)
    assert [one.nit for one in seen] == list(range(1, result.nit + 1))
    assert seen[-1].nfev == result.nfev
    assert seen[-1].fun == result.fun and (seen[-1].x == result.x).all()
    assert all(one.fun == rosen(one.x) for one in seen)


def test_the_best_value_never_rises_and_the_points_are_copies():
    values, points = [], []

    def callback(intermediate_result):
        values.append(intermediate_result.fun)
        points.append(intermediate_result.x)
        intermediate_result.x[:] = 99.0

    result = cbo(rosen, BOX, callback=callback, **BASE)
    assert (np.diff(values) <= 0).all()
    assert all((one == 99.0).all() for one in points)  # nobody else wrote to what we were given
    assert (np.abs(result.x) <= 2).all()


def positional(xk):
    SEEN.append((xk,))


def legacy(xk, convergence):
    SEEN.append((xk, convergence))


def with_default(xk, convergence=None):
    SEEN.append((xk, convergence))


def star(*args):
    SEEN.append(args)


def tagged(tag, xk):
    SEEN.append((xk,))


class Callable1:
    def __call__(self, x):
        SEEN.append((x,))


SEEN: list[tuple] = []


@pytest.mark.parametrize(
    ("callback", "count"),
    [
        (positional, 1),
        (legacy, 2),
        (with_default, 2),
        (star, 2),
        (Callable1(), 1),
        (functools.partial(tagged, "tag"), 1),
        (lambda intermediate: SEEN.append((intermediate,)), 1),
        (SEEN.append, 1),
    ],
    ids=["xk", "legacy", "default", "star", "object", "partial", "other name", "builtin"],
)
def test_the_form_of_a_callback_is_found_from_its_parameters(callback, count):
    SEEN.clear()
    result = cbo(rosen, BOX, callback=callback, **BASE)
    assert len(SEEN) == result.nit
    last = SEEN[-1] if isinstance(SEEN[-1], tuple) else (SEEN[-1],)
    assert len(last) == count
    assert (last[0] == result.x).all()
    if count == 2:
        assert 0.0 <= last[1] <= 1.0


@pytest.mark.parametrize("bad", [3, "print", lambda: None, lambda a, b, c: None], ids=range(4))
def test_other_callbacks_are_refused(bad):
    with pytest.raises((TypeError, ValueError), match="callback must"):
        cbo(rosen, BOX, callback=bad, **BASE)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("how", ["return", "raise"])
def test_stopping_gives_the_run_with_that_maxiter_and_no_evaluation_follows(dynamics, how):
    stop_at, evaluations, at_stop = 7, [], []

    def func(x):
        evaluations.append(1)
        return rosen(x)

    def callback(intermediate_result):
        if intermediate_result.nit == stop_at:
            at_stop.append(len(evaluations))
            if how == "raise":
                raise StopIteration
            return True

    stopped = cbo(func, BOX, callback=callback, **options(dynamics))
    assert len(evaluations) == at_stop[0] == stopped.nfev
    assert (stopped.status, stopped.success, stopped.nit) == (99, False, stop_at)
    verb = "raised `StopIteration`" if how == "raise" else "returned True"
    assert stopped.message == f"`callback` {verb}."
    limited = cbo(rosen, BOX, **{**options(dynamics), "maxiter": stop_at})
    assert limited.x.tobytes() == stopped.x.tobytes()
    assert (limited.fun, limited.nfev, limited.nit) == (stopped.fun, stopped.nfev, stopped.nit)
    assert limited.population.tobytes() == stopped.population.tobytes()


def test_no_local_search_follows_a_stop():
    counted = []
    result = cbo(
        lambda x: counted.append(1) or rosen(x),
        BOX,
        dynamics="anisotropic",
        n_particles=20,
        rng=1,
        callback=lambda xk: True,
    )
    assert len(counted) == 20 == result.nfev


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_listening_changes_nothing(dynamics):
    plain = cbo(rosen, BOX, **options(dynamics))
    heard = cbo(rosen, BOX, callback=lambda xk: False, record_history=True, **options(dynamics))
    assert plain.x.tobytes() == heard.x.tobytes()
    assert (plain.fun, plain.nfev, plain.nit) == (heard.fun, heard.nfev, heard.nit)


def test_exceptions_of_a_callback_come_back_unchanged():
    error = KeyError("mine")

    def callback(xk):
        raise error

    with pytest.raises(KeyError) as caught:
        cbo(rosen, BOX, callback=callback, **BASE)
    assert caught.value is error
    assert cbo(rosen, BOX, **BASE).nit == 30  # and the next call works


def test_counts_of_restarts_go_on_through_the_callback():
    seen = []

    def callback(intermediate_result):
        seen.append((intermediate_result.nit, intermediate_result.nfev, intermediate_result.fun))

    result = cbo(
        rosen, BOX, dynamics="anisotropic", n_particles=10, maxiter=15, restarts=2, rng=1,
        polish=False, callback=callback,
    )  # fmt: skip
    nit, nfev, fun = map(np.array, zip(*seen, strict=True))
    assert (nit == np.arange(1, result.nit + 1)).all()
    assert (np.diff(nfev) > 0).all() and nfev[-1] == result.nfev
    assert (np.diff(fun) <= 0).all() and fun[-1] == result.fun


def test_disp_prints_a_header_and_lines_through_print(capsys):
    result = cbo(rosen, BOX, disp=True, **BASE)
    lines = capsys.readouterr().out.splitlines()
    assert "iteration" in lines[1] and "evaluations" in lines[1] and "best value" in lines[1]
    numbers = [int(line.split()[0]) for line in lines[2:-2]]
    assert numbers == [*range(1, 11), 20, 30]
    assert lines[-2] == result.message
    assert float(lines[-1].split()[2]) == result.fun


def test_without_disp_nothing_is_printed(capfd):
    cbo(rosen, BOX, **BASE)
    out, err = capfd.readouterr()
    assert out == err == ""


def test_disp_uses_the_print_of_the_moment(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    cbo(rosen, BOX, disp=True, **BASE)
    assert "iteration" in stream.getvalue()


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_history_agrees_with_what_a_callback_saw(dynamics):
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)

    result = cbo(rosen, BOX, callback=callback, record_history=True, **options(dynamics))
    history = result.history
    assert history["fun"].tolist() == [one.fun for one in seen]
    assert history["nfev"].tolist() == [one.nfev for one in seen]
    assert history["spread"].tolist() == [one.spread for one in seen]
    assert history["consensus"].shape == (result.nit, 3)
    assert set(history) >= {"fun", "nfev", "spread", "alpha", "step_size", "consensus"}
    assert "history" not in cbo(rosen, BOX, **options(dynamics))


def test_histories_of_restarts_are_joined():
    result = cbo(
        rosen, BOX, dynamics="anisotropic", n_particles=10, maxiter=15, restarts=1, rng=1,
        polish=False, record_history=True,
    )  # fmt: skip
    assert len(result.history["fun"]) == result.nit
    assert (np.diff(result.history["nfev"]) > 0).all()
    assert result.history["nfev"][-1] == result.nfev
    assert (np.diff(result.history["fun"]) <= 0).all()

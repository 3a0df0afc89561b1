"""The NIST sets: parsed as printed, models right to the certified digits, boxes fair."""

import dataclasses
import re
from importlib import resources

import numpy as np
import pytest

from fastopt import _demo_nist, _nist, cbo

PROBLEMS = {name: _nist.load(name) for name in _nist.NAMES}
each_set = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS.keys())


def text_of(name):
    return (resources.files("fastopt") / "data" / "nist_strd" / f"{name}.dat").read_text("ascii")


def test_all_27_sets_and_no_other():
    files = (resources.files("fastopt") / "data" / "nist_strd").iterdir()
    assert sorted(f.name for f in files if f.name.endswith(".dat")) == sorted(
        f"{name}.dat" for name in _nist.NAMES
    )
    assert len(_nist.NAMES) == 27


@each_set
def test_parsed_as_the_header_says(problem):
    data, text = problem.data, text_of(problem.name)
    observations = int(re.search(r"(\d+) Observations", text)[1])
    parameters = int(re.search(r"(\d+) Parameters", text)[1])
    predictors = int(re.search(r"(\d+) Predictor", text)[1])
    assert data.y.shape == (observations,)
    assert data.x.shape == (predictors, observations)
    assert data.starts.shape == (2, parameters)
    assert data.certified.shape == data.certified_sd.shape == (parameters,)
    assert problem.dim == parameters == len(problem.roles) == len(problem.bounds)
    # the residual standard deviation ties sum, observations and parameters together
    expected = np.sqrt(data.certified_rss / (observations - parameters))
    assert data.certified_residual_sd == pytest.approx(expected, rel=1e-9)
    assert data.degrees_of_freedom == (9 if data.name == "Rat43" else observations - parameters)
    assert data.model_text.startswith(("Exponential", "Rational", "Miscellaneous"))
    assert data.difficulty in ("Lower", "Average", "Higher")
    assert len(data.description) > 40


def test_parsed_values_of_one_set():
    data = PROBLEMS["MGH09"].data
    np.testing.assert_array_equal(data.starts, [[25, 39, 41.5, 39], [0.25, 0.39, 0.415, 0.39]])
    assert data.certified[0] == 1.9280693458e-01
    assert data.certified_sd[3] == 9.0025542308e-02
    assert data.certified_rss == 3.0750560385e-04
    assert (data.y[0], data.x[0, 0], data.y[-1], data.x[0, -1]) == (0.1957, 4.0, 0.0246, 0.0625)
    assert data.model_text.endswith("y = b1*(x**2+x*b2) / (x**2+x*b3+b4)  +  e")
    assert data.difficulty == "Higher"


def test_nelson_models_the_logarithm():
    data = PROBLEMS["Nelson"].data
    assert data.y[0] == np.log(15.0)
    np.testing.assert_array_equal(data.x[:, 0], [1, 180])


@pytest.mark.parametrize("missing", ["Residual Sum of Squares", "Starting Values", "Model:"])
def test_a_file_without_a_part_is_refused(missing):
    with pytest.raises(ValueError, match="not an StRD file"):
        _nist.parse(text_of("MGH09").replace(missing, "Nothing"))


def test_unknown_set():
    with pytest.raises(ValueError, match=r"unknown NIST set 'Misra'; expected one of Misra1a"):
        _nist.load("Misra")


@each_set
def test_certified_residual_sum(problem):
    data = problem.data
    rss = problem.rss(data.certified)
    if problem.name == "Lanczos1":  # 1.4e-25: eleven digits of the parameters leave 4e-21
        assert rss < data.y.size * (1e-11 * np.max(data.y)) ** 2 * 10
        rss = problem.rss(
            problem.decode(_demo_nist.finish(problem, problem.encode(data.certified)))
        )
        assert rss == pytest.approx(data.certified_rss, rel=5e-3)  # it is rounding errors squared
    else:
        assert rss == pytest.approx(data.certified_rss, rel=2e-10)
    assert problem.reached(rss)


@each_set
def test_certified_standard_deviations(problem):
    """The Jacobian at the certified point gives NIST's standard deviations."""
    data = problem.data
    h = 1e-30
    steps = data.certified[:, None] + 1j * h * np.diag(data.certified)
    scaled = problem.predict(steps).imag.T / h  # columns b_k df/db_k
    orthogonal, upper = np.linalg.qr(scaled / np.linalg.norm(scaled, axis=0))
    inverse = np.linalg.inv(upper) / np.linalg.norm(scaled, axis=0)[:, None]
    sd = data.certified_residual_sd * np.linalg.norm(inverse, axis=1) * np.abs(data.certified)
    np.testing.assert_allclose(sd, data.certified_sd, rtol=1e-6)
    assert orthogonal.shape == scaled.shape


@each_set
def test_box_holds_the_certified_values(problem):
    low, high = np.array(problem.bounds).T
    z = problem.encode(problem.data.certified)
    assert np.all(low < z) and np.all(z < high)


@each_set
def test_box_is_made_without_the_answers(problem):
    """Other starts and other certified values leave the box as it is."""
    nothing = np.full(problem.dim, np.nan)
    blind = dataclasses.replace(
        problem.data,
        starts=np.array([nothing, nothing]),
        certified=nothing,
        certified_sd=nothing,
        certified_rss=np.nan,
        certified_residual_sd=np.nan,
    )
    assert _nist.Problem(blind).bounds == problem.bounds


@each_set
def test_box_is_wide(problem):
    """Every range spans its scale at least threefold or a factor of 80 for positive scales."""
    size = _nist.scales(problem.data)
    for role, given in zip(problem.roles, problem.ranges, strict=True):
        if given.log:
            assert given.high - given.low > np.log10(80)
        elif role == "location":
            assert given.high - given.low == pytest.approx(3 * size.width)
        else:
            assert given.low == -given.high < 0


@pytest.mark.parametrize("role", _nist.ROLES)
def test_every_role_is_used_and_scales_with_the_data(role):
    assert any(role in problem.roles for problem in PROBLEMS.values())
    words, rule = _nist.ROLES[role]
    assert words
    given = rule(_nist.Scales(y=3.0, x=2.0, low=1.0, high=5.0, step=0.5, last=7.0))
    same = rule(_nist.Scales(y=3.0, x=2.0, low=1.0, high=5.0, step=0.5, last=7.0))
    assert given == same and given.low < given.high


def test_scales_change_with_units():
    """Measured in other units, boxes of scales move with them: y in tenths, x in hundreds."""
    problem = PROBLEMS["Misra1a"]
    other = _nist.Problem(
        dataclasses.replace(problem.data, y=10 * problem.data.y, x=problem.data.x / 100)
    )
    (b1, b2), (c1, c2) = np.array(problem.bounds), np.array(other.bounds)
    np.testing.assert_allclose(c1, b1 + 1)
    np.testing.assert_allclose(c2, b2 + 2)


@each_set
def test_batch_equals_one_by_one(problem):
    low, high = np.array(problem.bounds)[:, :, None].transpose(1, 0, 2)
    z = low + (high - low) * np.random.default_rng(1).random((problem.dim, 40))
    values = problem.objective(z)
    assert values.shape == (40,) and values.dtype == float
    assert not np.isnan(values).any() and (values >= 0).all()
    one = [problem.objective(column) for column in z.T]
    np.testing.assert_array_equal(np.isfinite(values), np.isfinite(one))
    finite = np.isfinite(values)
    assert finite.sum() >= 10
    np.testing.assert_allclose(values[finite], np.array(one)[finite], rtol=1e-6)


@each_set
def test_search_coordinates_round_trip(problem):
    b = problem.data.certified
    np.testing.assert_allclose(problem.decode(problem.encode(b)), b, rtol=1e-13)
    z = np.mean(problem.bounds, axis=1)
    np.testing.assert_allclose(problem.encode(problem.decode(z)), z, rtol=1e-13, atol=1e-300)


@each_set
def test_jacobian_agrees_with_differences(problem):
    z = problem.encode(problem.data.certified)
    exact = problem.jacobian(z)
    assert exact.shape == (problem.data.y.size, problem.dim)
    for k in range(problem.dim):
        step = np.zeros(problem.dim)
        step[k] = 1e-6 * abs(z[k])
        difference = (problem.residuals(z + step) - problem.residuals(z - step)) / (2 * step[k])
        size = np.max(np.abs(exact[:, k]))
        noise = 1e-15 * np.max(np.abs(problem.data.y)) / step[k]
        np.testing.assert_allclose(difference, exact[:, k], atol=1e-5 * size + 10 * noise)


@each_set
def test_symmetries_leave_the_model_alone(problem):
    orders = _nist._symmetries(problem.name)
    assert len({tuple(order) for order in orders}) == len(orders)
    b = problem.data.certified
    for order in orders:
        np.testing.assert_allclose(problem.predict(b[order]), problem.predict(b), rtol=1e-12)
        assert problem.digits(b[order]) == 11


def test_digits():
    problem = PROBLEMS["Misra1a"]
    b = problem.data.certified
    assert problem.digits(b) == 11
    assert problem.digits(b * [1 + 1e-5, 1]) == pytest.approx(5)
    assert problem.digits(b * [1 - 1e-7, 1 + 1e-3]) == pytest.approx(3)
    assert problem.digits(b * [1, 5]) == 0
    assert problem.digits(-b) == 0
    assert problem.digits(np.array([np.nan, 1.0])) == 0


def test_reached():
    problem = PROBLEMS["Misra1a"]
    certified = problem.data.certified_rss
    assert problem.reached(certified) and problem.reached(certified * (1 + 9e-7))
    assert not problem.reached(certified * (1 + 2e-6))
    assert not problem.reached(np.inf) and not problem.reached(np.nan)


@each_set
def test_finish_brings_the_digits(problem):
    """From one part in ten thousand off, least squares ends at the certified values."""
    shake = 1 + 1e-4 * np.random.default_rng(2).standard_normal(problem.dim)
    z = problem.encode(problem.data.certified * shake)
    assert problem.digits(problem.decode(z)) < 5
    assert problem.digits(problem.decode(_demo_nist.finish(problem, z))) >= 6


def test_finish_keeps_what_it_cannot_better():
    problem = PROBLEMS["MGH10"]
    z = np.array([0.0, 5.0, -1.0])  # overflows: the sum is infinite here
    assert problem.objective(z) == np.inf
    np.testing.assert_array_equal(_demo_nist.finish(problem, z), z)


@pytest.mark.parametrize("name", ["MGH10", "Nelson"])
@pytest.mark.parametrize("seed", range(4))
def test_no_agreement_on_a_wrong_minimum_where_values_are_huge(name, seed):
    """Most of these boxes has sums of squares of 1e10 to 1e300 times the least one."""
    problem = _nist.load(name)
    with np.errstate(all="ignore"):
        result = cbo(problem.objective, problem.bounds, vectorized=True, maxfev=20_000, rng=seed)
    assert problem.reached(result.fun) or not result.success

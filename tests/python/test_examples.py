"""Every script of examples/ runs and comes to the known answer."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def run(capsys):
    def runner(name: str) -> tuple[dict[str, Any], str]:
        variables = runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        return variables, capsys.readouterr().out

    return runner


def test_every_script_has_a_test():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    scripts = {path.stem for path in FOLDER.glob("*.py")}
    assert scripts and scripts <= tested


@pytest.mark.parametrize("solver", ["cbo", "admm_relu", "sketch_newton"])
def test_every_solver_has_an_example(solver):
    assert any(f"fastopt.{solver}(" in path.read_text("utf-8") for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_is_short_and_says_what_it_does(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()) < 60


def test_nist_fit(run):
    variables, out = run("nist_fit")
    assert variables["result"].fun == pytest.approx(3.0750560385e-4, rel=1e-6)
    np.testing.assert_allclose(variables["fit"].x, variables["CERTIFIED"], rtol=1e-5)
    assert "certified" in out


def test_calibrate_epidemic(run):
    variables, _ = run("calibrate_epidemic")
    contact, recovery, infected = variables["result"].x
    assert variables["result"].fun < 4500  # about 24 boys a day at worst; no epidemic: 275000
    assert contact / recovery == pytest.approx(3.7, abs=0.3)  # as in the literature
    assert 0 < infected < 10
    # a minimum: no direction leads down
    for step in 1e-3 * np.vstack([np.eye(3), -np.eye(3)]):
        assert variables["misfit"](variables["result"].x + step) >= variables["result"].fun


def test_robust_regression(run):
    variables, out = run("robust_regression")
    assert list(variables["outliers"]) == [1, 3, 4, 21]
    # the exact minimum, from all 5985 exact fits to four days, each concentrated
    assert variables["result"].fun == pytest.approx(12.604875378, rel=1e-6)
    assert "days that differ: 1 3 4 21" in out
    # ordinary least squares as in the literature, so that the data are right
    slopes = variables["ordinary"][1:] / np.array(
        [np.std(variables[name]) for name in ("air", "water", "acid")]
    )
    np.testing.assert_allclose(slopes, [0.7156, 1.2953, -0.1521], atol=1e-4)


def test_pressure_vessel(run):
    variables, _ = run("pressure_vessel")
    result = variables["result"]
    assert result.fun == pytest.approx(6059.7143, rel=1e-5)
    assert np.all(variables["margins"](result.x) >= -1e-6)
    np.testing.assert_array_equal(result.x[:2], [13, 7])


def test_sample_posterior(run):
    variables, _ = run("sample_posterior")
    # The Gaussian at the mode, from a fine grid: mean = mode, covariance = inverse Hessian
    energy, h = variables["energy"], 1e-3
    grid, density = variables["grid"].reshape(2, -1), variables["density"]
    mode = grid[:, np.argmax(density)]
    step = h * np.eye(2)
    hessian = np.array(
        [
            [
                energy(mode + a + b)
                - energy(mode + a - b)
                - energy(mode - a + b)
                + energy(mode - a - b)
                for a in step
            ]
            for b in step
        ]
    ) / (4 * h * h)
    sd = np.sqrt(np.diag(np.linalg.inv(hessian)))
    assert np.all(np.abs(variables["mean"] - mode) < 0.2 * sd)
    assert np.all(np.abs(np.log(variables["sd"] / sd)) < np.log(1.15))


def test_robot_arm_postures(run):
    variables, _ = run("robot_arm_postures")
    postures = variables["postures"]
    np.testing.assert_allclose(
        variables["hand"](postures.T).T, np.tile(variables["target"], (len(postures), 1)), atol=1e-3
    )
    # facing or away, elbow up or down: the cosine of the base's turn and the elbow's sign differ
    facing = np.cos(postures[:, 0] - np.arctan2(0.4, 0.3)) > 0
    kinds = {(bool(f), bool(elbow > 0)) for f, elbow in zip(facing, postures[:, 2], strict=True)}
    assert len(kinds) == 4


def test_chemical_equilibrium(run):
    variables, out = run("chemical_equilibrium")
    result, amounts = variables["result"], variables["amounts"]
    assert result.success and result.fun == pytest.approx(-47.761090859, abs=1e-8)
    np.testing.assert_allclose(
        variables["atoms"] @ amounts, variables["available"], rtol=0, atol=1e-9
    )
    # In equilibrium the potential of a species is that of its atoms.
    potentials = variables["potentials"](amounts)
    np.testing.assert_allclose(potentials, variables["atoms"].T @ -result.v[0], atol=1e-6)
    assert "-9.7851 -12.9689 -15.2221" in out


def test_certified_classifier(run):
    pytest.importorskip("sklearn")
    variables, _ = run("certified_classifier")
    result = variables["result"]
    assert result.success and 0 <= result.gap <= 1e-4 * result.fun
    assert variables["accuracy"] > 0.94

"""One list of defaults: the signature of `cbo` and the core's CboOptions say the same."""

import ast
import inspect
import math
from pathlib import Path

import pytest

import fastopt
from fastopt import _backend, cbo

SIGNATURE = {
    name: parameter.default
    for name, parameter in inspect.signature(cbo).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}
# In the signature None means "chosen for you"; in the core that is one of these.
CHOSEN = {
    "n_particles": 0,  # by the dynamics
    "drift": math.nan,
    "diffusion": math.nan,
    "diffusion_factor": math.nan,
    "ess": math.nan,
    "memory_drift": math.nan,
    "memory_diffusion": math.nan,
    "batch_size": 0,  # all particles
    "n_minimizers": 0,  # every particle its own consensus
    "noise": "anisotropic",  # or what dynamics says
    "maxiter": 2**63 - 1,
    "maxfev": 2**63 - 1,  # no limit; the face sets its default by the dynamics
    "maxtime": math.inf,
    "f_target": -math.inf,
    "threads": 0,  # all
    "dtype": "float64",
}
# Spelled differently on the two sides.
TRANSLATED = {"alpha": ("ess", -1.0)}  # by effective sample size
# Of the core only: the key is drawn from rng, a sequence as alpha becomes the schedule.
CORE_ONLY = {"key0", "key1", "alpha_schedule"}
# Of the face only, with nothing of the same name behind it.
FACE_ONLY = {
    "args", "popsize", "rng", "seed", "callback", "disp", "x0", "constraints", "integrality",
    "vectorized", "workers", "gradient", "constraint_tol", "restarts", "runs", "checkpoint",
    "checkpoint_every", "resume", "device", "comm",
}  # fmt: skip


def core_options():
    options = _backend.module().CboOptions()
    return {
        name: getattr(options, name)
        for name in dir(options)
        if not name.startswith("_") and not callable(getattr(options, name))
    }


CORE = core_options()


def same(one, other):
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("name", sorted(SIGNATURE.keys() & CORE.keys()))
def test_defaults_are_equal(name):
    face, core = SIGNATURE[name], CORE[name]
    if name in TRANSLATED:
        assert (face, core) == TRANSLATED[name]
    elif name in CHOSEN:
        assert face is None
        assert same(core, CHOSEN[name])
    else:
        assert face is not None
        assert same(face, core)


def test_every_option_has_its_counterpart_or_a_reason():
    assert SIGNATURE.keys() - CORE.keys() == FACE_ONLY
    assert CORE.keys() - SIGNATURE.keys() == CORE_ONLY
    assert CHOSEN.keys() | TRANSLATED.keys() <= SIGNATURE.keys() & CORE.keys()


def test_the_stub_names_every_option_and_function():
    stub = Path(fastopt.__file__).with_name("_cpu.pyi")
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    module = _backend.module()
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "CboOptions":
            fields = {item.target.id for item in node.body if isinstance(item, ast.AnnAssign)}
            assert fields == CORE.keys()
    declared = {n.name for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    present = {name for name in dir(module) if not name.startswith("_")}
    assert declared == present


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dynamics", "'hybrid', 'standard', 'memory', 'hopping', 'sampling', 'polarized'"),
        ("noise", "'anisotropic', 'isotropic', 'covariance'"),
        ("batch_mode", "'partial', 'full'"),
        ("boundary", "'reflect', 'clip'"),
    ],
)
def test_words_of_the_core(name, words):
    options = _backend.module().CboOptions()
    for word in words.replace("'", "").split(", "):
        setattr(options, name, word)
        assert getattr(options, name) == word
    with pytest.raises(ValueError, match=f"{name} must be one of {words}; got 'nonsense'"):
        setattr(options, name, "nonsense")


def test_options_are_values_of_their_own():
    first, second = _backend.module().CboOptions(), _backend.module().CboOptions()
    first.drift, first.alpha_schedule = 0.5, [1.0, 2.0]
    assert math.isnan(second.drift)
    assert list(second.alpha_schedule) == []
    with pytest.raises(AttributeError):
        first.lambda_ = 3
    with pytest.raises(TypeError):
        first.drift = "fast"

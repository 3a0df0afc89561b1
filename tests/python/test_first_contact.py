"""What a new user does first: help, tab completion, printing a result, with or without extras."""

import pydoc
import rlcompleter

import pytest

import fastopt


def completions(text, namespace):
    completer = rlcompleter.Completer(namespace)
    found = []
    while (one := completer.complete(text, len(found))) is not None:
        found.append(one.rstrip("()"))
    return found


def test_tab_completion_offers_the_public_names_only():
    found = set(completions("fastopt.", {"fastopt": fastopt}))
    wanted = {f"fastopt.{name}" for name in fastopt.__all__ if not name.startswith("_")}
    assert wanted <= found
    assert {one.removeprefix("fastopt.") for one in found - wanted} <= {
        "jax", "plot", "sklearn", "torch"
    }  # fmt: skip


def test_tab_completion_of_a_result():
    result = fastopt.cbo(lambda x: x @ x, [(-1, 2)] * 2, rng=1, maxfev=60)
    found = completions("r.", {"r": result})
    assert {"r.x", "r.fun", "r.message", "r.nfev", "r.population"} <= set(found)
    assert "message" in repr(result) and "success" in repr(result)


@pytest.mark.parametrize(
    "name", ["cbo", "admm_relu", "sketch_newton", "minimize", "scipy_method", "tqdm", "lstsq"]
)
def test_help_of_a_function_says_what_when_and_how(name):
    text = pydoc.plain(pydoc.render_doc(getattr(fastopt, name)))
    for heading in ("Parameters", "Returns", "Examples"):
        assert heading in text


HELP = """
    import importlib.util, pydoc, sys
    if "absent" in sys.argv:
        found = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: (
            None if name.split(".")[0] == "sklearn" else found(name, *rest))
        sys.modules["sklearn"] = None
    import fastopt
    text = pydoc.plain(pydoc.render_doc(fastopt))
    print("three families" in text, "scipy_method" in text, "sklearn" in dir(fastopt))
"""


def test_help_of_the_package_works_without_scikit_learn(fresh_python):
    assert fresh_python(HELP, "absent") == "True True False"


def test_help_of_the_package(fresh_python):
    pytest.importorskip("sklearn")
    assert fresh_python(HELP) == "True True True"


def test_faces_are_attributes_without_an_import(fresh_python):
    out = fresh_python("""
        import sys
        import fastopt
        before = "fastopt.plot" in sys.modules
        print(before, callable(fastopt.plot.convergence), "matplotlib" in sys.modules)
    """)
    assert out == "False True False"


def test_a_name_that_does_not_exist():
    with pytest.raises(AttributeError, match="module 'fastopt' has no attribute 'differential"):
        fastopt.differential_evolution  # noqa: B018

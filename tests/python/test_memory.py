"""How much memory a large run takes, and what happens when there is not enough."""

import sys

import numpy as np
import pytest
import scipy.sparse

from fastopt import (
    _admm_gates,
    _backend,
    admm_relu,
    admm_relu_path,
    cbo,
    lstsq,
    problems,
    sketch,
    sketch_newton,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in KiB; overcommitment")

PEAK = """
import resource, sys
import numpy as np
from fastopt import cbo, problems

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

n, d = 10_000, 1000
options = dict(n_particles=n, maxiter=3, rng=1, polish=False, **eval(sys.argv[2]))
def python(x):
    return np.einsum("ij,ij->j", x, x)  # no array of its own
native = sys.argv[1] == "native"
small = problems.sphere(3)
for func in (small, python):  # imports and threads are there before
    cbo(func, small.bounds, vectorized=func is python, **{**options, "n_particles": 10})
before = peak()
func = problems.sphere(d) if native else python
result = cbo(func, [(-1, 2)] * d, vectorized=not native, **options)
assert result.population.shape == (n, d)
print((peak() - before) / result.population.nbytes)
"""


@linux
@pytest.mark.slow_under_asan
@pytest.mark.parametrize("objective", ["native", "python"])
@pytest.mark.parametrize("options", [
    {"dynamics": "anisotropic"},
    {"dynamics": "anisotropic", "dtype": "float32"},
    {"dynamics": "isotropic", "callback": None, "record_history": True},
    {"dynamics": "hopping"},
], ids=str)  # fmt: skip
def test_peak_memory_is_at_most_2_2_times_the_particles(fresh_python, objective, options):
    assert float(fresh_python(PEAK, objective, options)) <= 2.2


@pytest.mark.parametrize("n", [10**9, 10**12])
def test_more_particles_than_memory_give_a_memory_error(n):
    problem = problems.sphere(1000)
    with pytest.raises(MemoryError, match="lower n_particles"):
        cbo(problem, problem.bounds, dynamics="anisotropic", n_particles=n)


@pytest.mark.parametrize("runs", [10**9, 2**62])
@pytest.mark.parametrize("objective", ["native", "python"])
def test_more_runs_than_memory_give_a_memory_error(runs, objective):
    """The keys of all runs were drawn first, until the process was killed."""
    func = problems.sphere(2) if objective == "native" else lambda x: float(x @ x)
    with pytest.raises(MemoryError, match=f"in {runs} runs .* or runs"):
        cbo(func, [(-1, 2)] * 2, runs=runs)


def test_more_gates_than_memory_are_refused():
    """They were drawn first, for hours."""
    X = np.random.default_rng(0).standard_normal((5000, 400))
    y = X[:, 0]
    for call in (
        lambda n: admm_relu(X, y, beta=1.0, gates=n),
        lambda n: admm_relu(X, y, beta=1.0, gates=n, robust_eps=0.1),
        lambda n: admm_relu_path(X, y, [1.0], gates=n, method="gated"),
    ):
        with pytest.raises(MemoryError, match=r"gates=16777216 on 5000 samples .* lower gates"):
            call(2**24)
        for n in (2**24 + 1, 10**9, 2**62):
            with pytest.raises(ValueError, match="gates must be an integer >= 1 and <= 16777216"):
                call(n)


def test_samples_have_few_patterns():
    """Cover's number, by counting those of many random directions."""
    rng = np.random.default_rng(1)
    for n, d in [(1, 1), (1, 4), (5, 1), (4, 2), (6, 3), (4, 4), (3, 9)]:
        X = rng.standard_normal((n, d))
        patterns = rng.standard_normal((100_000, d)) @ X.T > 0
        assert len(np.unique(patterns @ 2 ** np.arange(n))) == _admm_gates.number_of_patterns(n, d)
    assert _admm_gates.number_of_patterns(5000, 400) == 2**24
    result = admm_relu(X, X[:, 0], beta=1.0, gates=10**4, fit_intercept=False)
    assert len(result.gates) == 7  # of the 8, that of no sample is not drawn


@pytest.mark.parametrize("solver", ["auto", "ldl", "sketch-pcg", "block", "adasketch"])
def test_dense_systems_beyond_memory_are_foretold(solver):
    """The system promises memory that it does not have, and ends the process at its first use."""
    n = 400_000
    A = scipy.sparse.csr_matrix((np.ones(n), (np.arange(n), np.arange(n))), shape=(n, n))
    model = problems.GLM(A, np.where(np.arange(n) % 2, 1.0, -1.0), l2=1.0)
    with pytest.raises(MemoryError, match=f"linear_solver='{solver}' forms.* choose 'nystrom-pcg'"):
        sketch_newton(model, np.zeros(n), linear_solver=solver)
    if solver == "auto":
        assert sketch_newton(model, np.zeros(n), linear_solver="minres").success


def test_sketches_beyond_memory_are_foretold():
    n = 400_000
    A = scipy.sparse.csr_matrix((np.ones(n), (np.arange(n), np.arange(n))), shape=(n, n))
    with pytest.raises(MemoryError, match=r"S A of shape .* lower size"):
        sketch(A, 10**9)
    with pytest.raises(MemoryError, match=r"a sketch of A .*lsqr"):
        lstsq(A, np.ones(n))


def test_popsize_times_dimension_may_overflow():
    problem = problems.sphere(100)
    with pytest.raises((MemoryError, ValueError), match="popsize"):
        cbo(problem, problem.bounds, dynamics="anisotropic", popsize=2**62)


@linux
def test_the_core_gives_a_memory_error_too(fresh_python):
    """Without the check of the public function: the allocation itself fails, and is reported."""
    out = fresh_python("""
        import resource
        import numpy as np
        from fastopt import _backend
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        core = _backend.module()
        options = core.CboOptions()
        options.dynamics = "standard"
        options.maxiter = 1
        box = np.zeros(1000), np.ones(1000)
        for n in (2**31 - 1, 2**22):
            options.n_particles = n
            try:
                core.cbo(core.native_objective("sphere", 1000), options, *box)
            except MemoryError:
                print("MemoryError")
        options.n_particles = 10
        print(core.cbo(core.native_objective("sphere", 1000), options, *box)["nit"])
    """)
    assert out.split() == ["MemoryError", "MemoryError", "1"]


def test_the_core_refuses_a_number_of_particles_that_it_cannot_count():
    core = _backend.module()
    options = core.CboOptions()
    options.dynamics = "standard"
    options.n_particles = 2**31
    with pytest.raises(ValueError, match="n_particles"):
        core.cbo(core.native_objective("sphere", 1), options, [0.0], [1.0])

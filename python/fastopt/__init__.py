"""fastopt: consensus-based global optimisation with a C++ core and SciPy's face.

>>> from fastopt import cbo, problems
>>> problem = problems.rastrigin(5).shifted(rng=2)
>>> result = cbo(problem, problem.bounds, rng=1)
>>> bool(result.fun < 1e-8)
True
"""

from importlib import metadata as _metadata

from . import problems
from ._admm_relu import admm_relu, admm_relu_path
from ._cbo import cbo
from ._lstsq import lstsq
from ._sketch import SketchOperator, sketch
from ._sketch_newton import sketch_newton

try:
    __version__ = _metadata.version("fastopt")
except _metadata.PackageNotFoundError:  # imported from a source tree
    __version__ = "0+local"

__all__ = [
    "SketchOperator",
    "__version__",
    "admm_relu",
    "admm_relu_path",
    "cbo",
    "lstsq",
    "problems",
    "sketch",
    "sketch_newton",
]

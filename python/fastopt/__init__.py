"""fastopt: consensus-based global optimisation with a C++ core and SciPy's face.

>>> from fastopt import cbo, problems
>>> result = cbo(problems.rastrigin(5), problems.rastrigin(5).bounds, rng=1)
>>> result.success
True
"""

from importlib.metadata import PackageNotFoundError, version

from . import problems
from ._cbo import cbo
from ._lstsq import lstsq
from ._sketch import SketchOperator, sketch
from ._sketch_newton import sketch_newton

try:
    __version__ = version("fastopt")
except PackageNotFoundError:  # imported from a source tree
    __version__ = "0+local"

__all__ = [
    "SketchOperator",
    "__version__",
    "cbo",
    "lstsq",
    "problems",
    "sketch",
    "sketch_newton",
]

"""fastopt: consensus-based global optimisation with a C++ core and SciPy's face.

>>> from fastopt import cbo, problems
>>> result = cbo(problems.rastrigin(5), problems.rastrigin(5).bounds, rng=1)
>>> result.success
True
"""

from importlib.metadata import PackageNotFoundError, version

from . import problems
from ._admm_relu import admm_relu, admm_relu_path
from ._cbo import cbo

try:
    __version__ = version("fastopt")
except PackageNotFoundError:  # imported from a source tree
    __version__ = "0+local"

__all__ = ["__version__", "admm_relu", "admm_relu_path", "cbo", "problems"]

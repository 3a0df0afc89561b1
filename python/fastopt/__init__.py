"""fastopt: three families of optimisation on one C++ engine, with SciPy's face.

>>> from fastopt import cbo, problems
>>> problem = problems.rastrigin(5).shifted(rng=2)
>>> result = cbo(problem, problem.bounds, rng=1)
>>> bool(result.fun < 1e-8)
True
"""

import importlib as _importlib
import importlib.util as _importlib_util
import typing as _typing
from importlib import metadata as _metadata

from . import problems
from ._admm_relu import admm_relu, admm_relu_path
from ._cbo import cbo
from ._lstsq import lstsq
from ._minimize import minimize, scipy_method
from ._progress import tqdm
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
    "minimize",
    "problems",
    "scipy_method",
    "sketch",
    "sketch_newton",
    "tqdm",
]

# Faces of other libraries: imported at their first use.
_FACES = ("jax", "plot", "sklearn", "torch")

if _typing.TYPE_CHECKING:
    from . import jax, plot, sklearn, torch  # noqa: F401
else:

    def __getattr__(name: str) -> _typing.Any:
        if name in _FACES:
            return _importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Public names, without a face that cannot be imported, since help() looks at each."""
    have_sklearn = _importlib_util.find_spec("sklearn") is not None
    return sorted([*__all__, *(one for one in _FACES if one != "sklearn" or have_sklearn)])

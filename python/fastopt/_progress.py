"""A progress bar as a callback."""

from __future__ import annotations

import importlib
from types import TracebackType
from typing import Any

from scipy.optimize import OptimizeResult


class ProgressBar:
    """What `tqdm` returns: a callback that moves a bar by one for each iteration.

    A with block, `close` or the end of the object's life ends the bar.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._bar: Any = None
        try:
            auto = importlib.import_module("tqdm.auto")
        except ImportError as error:
            raise ImportError("fastopt.tqdm needs tqdm: pip install tqdm") from error
        self._bar = auto.tqdm(**options)

    def __call__(self, intermediate_result: OptimizeResult) -> None:
        self._bar.set_postfix(fun=f"{float(intermediate_result.fun):.6g}", refresh=False)
        self._bar.update(1)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def tqdm(total: int | None = None, **options: Any) -> ProgressBar:
    """A callback that shows a progress bar, ``callback=fastopt.tqdm()``.

    Parameters
    ----------
    total : int, optional
        How many iterations there will be, your `maxiter`; without it the bar counts.
    **options
        Of `tqdm.auto.tqdm`, for example ``desc`` or ``leave``. The unit is ' iterations'.

    Returns
    -------
    callback
        For `cbo`, `admm_relu`, `sketch_newton`, `minimize` and SciPy's own methods. Its bar shows
        the best value, and ends with the object or with its ``close()``.

    Raises
    ------
    ImportError
        If tqdm is missing.

    Examples
    --------
    >>> import fastopt
    >>> result = fastopt.cbo(sum, [(0, 1)] * 2, callback=fastopt.tqdm(disable=True))
    """
    return ProgressBar({"total": total, "unit": " iterations", **options})

"""Named test functions with known minima, in native code and in NumPy.

`get(name, dim)` or the factory of a function's name makes a `NativeProblem`. Called from Python it
is an ordinary NumPy function, so any optimiser can have it::

    >>> from fastopt import problems
    >>> p = problems.rastrigin(20).shifted(rng=1)
    >>> round(p(p.x_min), 9)
    0.0

Handed to `fastopt.cbo` as the objective it runs in compiled code instead.

Unless a function's own page says otherwise, formulas, boxes and minima are those of

.. [1] S. Surjanovic and D. Bingham, "Virtual Library of Simulation Experiments: Test Functions and
       Datasets", Simon Fraser University, https://www.sfu.ca/~ssurjano/optimization.html.
.. [2] M. Jamil and X.-S. Yang, "A literature survey of benchmark functions for global optimisation
       problems", Int. J. Mathematical Modelling and Numerical Optimisation 4 (2013), 150-194.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ._arguments import short
from ._glm import GLM, WeightedGram

__all__ = [
    "GLM",
    "NativeProblem",
    "WeightedGram",
    "ackley",
    "canyon",
    "ellipsoid",
    "get",
    "griewank",
    "levy",
    "michalewicz",
    "names",
    "rastrigin",
    "rastrigin_mild",
    "rosenbrock",
    "schwefel",
    "sphere",
    "styblinski_tang",
    "zakharov",
]

_Array = npt.NDArray[np.float64]
_Rng = int | np.random.Generator | None


# The formulas, as published, on points in the columns of x: (d, n) -> (n,). They share nothing with
# the native code, so that each can be held against the other.


def _index(x: _Array) -> _Array:
    """1, 2, ..., d as a column."""
    return np.arange(1.0, len(x) + 1.0)[:, np.newaxis]


def _sum(terms: _Array) -> _Array:
    total: _Array = np.sum(terms, axis=0)
    return total


def _sphere(x: _Array) -> _Array:
    return _sum(x**2)


def _ellipsoid(x: _Array) -> _Array:
    return _sum(10.0 ** (6.0 * (_index(x) - 1.0) / max(len(x) - 1, 1)) * x**2)


def _rastrigin(x: _Array, coefficient: float = 10.0) -> _Array:
    return _sum(x**2 + coefficient * (1.0 - np.cos(2.0 * np.pi * x)))


def _rastrigin_mild(x: _Array) -> _Array:
    return _rastrigin(x, 2.5)


def _ackley(x: _Array) -> _Array:
    d = len(x)
    far = np.exp(-0.2 * np.sqrt(_sum(x**2) / d))
    value: _Array = 20.0 * (1.0 - far) + np.e - np.exp(_sum(np.cos(2.0 * np.pi * x)) / d)
    return value


def _rosenbrock(x: _Array) -> _Array:
    return _sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def _griewank(x: _Array) -> _Array:
    product: _Array = np.prod(np.cos(x / np.sqrt(_index(x))), axis=0)
    return _sum(x**2) / 4000.0 - product + 1.0


_SCHWEFEL = 420.96874635998202731  # maximiser of x sin(sqrt(x)) in [0, 500], and the maximum
_SCHWEFEL_MAX = 418.98288727243370628


def _schwefel(x: _Array) -> _Array:
    return _sum(_SCHWEFEL_MAX - x * np.sin(np.sqrt(np.abs(x))))


def _levy(x: _Array) -> _Array:
    w = 1.0 + (x - 1.0) / 4.0
    inner, last = w[:-1], w[-1]
    value: _Array = (
        np.sin(np.pi * w[0]) ** 2
        + _sum((inner - 1.0) ** 2 * (1.0 + 10.0 * np.sin(np.pi * inner + 1.0) ** 2))
        + (last - 1.0) ** 2 * (1.0 + np.sin(2.0 * np.pi * last) ** 2)
    )
    return value


def _michalewicz(x: _Array) -> _Array:
    return -_sum(np.sin(x) * np.sin(_index(x) * x**2 / np.pi) ** 20)


def _michalewicz_minimizer(dim: int) -> _Array:
    """Each coordinate alone: the best peak of sin(x) sin(k x^2 / pi)^20 on [0, pi].

    Peaks lie near k x^2 / pi = pi/2 + m pi, the best ones near x = pi/2; Newton steps on the
    logarithm take the candidates to the peaks.
    """
    k = np.arange(1.0, dim + 1.0)[:, np.newaxis]
    m = np.clip(np.floor(k / 4.0 - 0.5) + np.arange(-1.0, 3.0), 0.0, k - 1.0)
    x = np.pi * np.sqrt((0.5 + m) / k)
    for _ in range(20):
        angle, slope = k * x**2 / np.pi, 2.0 * k * x / np.pi
        first = 1.0 / np.tan(x) + 20.0 * slope / np.tan(angle)
        second = (
            -1.0 / np.sin(x) ** 2
            + 40.0 * k / np.pi / np.tan(angle)
            - 20.0 * (slope / np.sin(angle)) ** 2
        )
        x = x - first / second
    heights = np.sin(x) * np.sin(k * x**2 / np.pi) ** 20
    best: _Array = x[np.arange(dim), np.argmax(heights, axis=1)]
    return best


_STYBLINSKI_TANG = -2.9035340277711770951  # root of 4 x^3 - 32 x + 5
_STYBLINSKI_TANG_MIN = -39.166165703771415464


def _styblinski_tang(x: _Array) -> _Array:
    return 0.5 * _sum(x**4 - 16.0 * x**2 + 5.0 * x)


def _zakharov(x: _Array) -> _Array:
    slope = _sum(0.5 * _index(x) * x)
    return _sum(x**2) + slope**2 + slope**4


def _canyon(points: _Array) -> _Array:
    x, y = points
    v = y - (x - 1.0) * (x - 4.0) ** 2 / 8.0 - 2.0
    b = -x - 1.6 * y
    walls = 25.0 * (1.0 - np.exp(-1.4 * v**2 * np.exp(-0.002 * x**4)))
    bowl = 0.4 * x**2 + 0.2 * y**2
    waves = 1.1625 * _sum(1.0 - np.cos(0.75 * np.pi * points))
    gate = np.maximum((1.0 - np.exp(-9.0 * b**2)) * np.sign(b), 0.0)
    value: _Array = walls + bowl + waves + 4.0 * np.exp(1.0 - 2.0 * v**4) * gate
    return value


@dataclass(frozen=True)
class _Definition:
    formula: Callable[[_Array], _Array]
    lower: float
    upper: float
    minimizer: float | Callable[[int], _Array]  # one value for all coordinates, or dim -> point
    minimum: float | None = 0.0  # per coordinate; None: the formula's value at the minimiser
    whole_space: bool = True  # the minimum is that over all of R^d, not of the box alone
    min_dim: int = 1
    max_dim: int | None = None


_DEFINITIONS = {
    "sphere": _Definition(_sphere, -5.12, 5.12, 0.0),
    "ellipsoid": _Definition(_ellipsoid, -5.0, 5.0, 0.0),
    "rastrigin": _Definition(_rastrigin, -5.12, 5.12, 0.0),
    "rastrigin_mild": _Definition(_rastrigin_mild, -5.12, 5.12, 0.0),
    "ackley": _Definition(_ackley, -32.768, 32.768, 0.0),
    "rosenbrock": _Definition(_rosenbrock, -5.0, 10.0, 1.0, min_dim=2),
    "griewank": _Definition(_griewank, -600.0, 600.0, 0.0),
    "schwefel": _Definition(_schwefel, -500.0, 500.0, _SCHWEFEL, whole_space=False),
    "levy": _Definition(_levy, -10.0, 10.0, 1.0),
    "michalewicz": _Definition(
        _michalewicz, 0.0, np.pi, _michalewicz_minimizer, minimum=None, whole_space=False
    ),
    "styblinski_tang": _Definition(
        _styblinski_tang, -5.0, 5.0, _STYBLINSKI_TANG, minimum=_STYBLINSKI_TANG_MIN
    ),
    "zakharov": _Definition(_zakharov, -5.0, 10.0, 0.0),
    "canyon": _Definition(_canyon, -10.0, 10.0, 0.0, min_dim=2, max_dim=2),
}


def _frozen(array: npt.ArrayLike) -> _Array:
    """A read-only float64 copy."""
    copy = np.array(array, dtype=np.float64)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False)
class NativeProblem:
    """A named test function f(R (x - shift)) with its box and its known minimum.

    Make one with `get`, with the factory of its name, or from another one with `shifted` and
    `rotated`; the fields are read-only. Pickling works.

    Parameters
    ----------
    name : str
        One of `names()`.
    dim : int
        Number of coordinates d.
    lower, upper : ndarray, shape (d,)
        The usual box.
    x_min : ndarray, shape (d,)
        The known global minimiser in the box.
    f_min : float
        The value there. What is computed at `x_min` may differ by rounding.
    shift : ndarray, shape (d,), optional
        Subtracted from x first.
    rotation : ndarray, shape (d, d), optional
        Orthogonal matrix R, applied second.

    Notes
    -----
    `shift` is the raw vector of the formula above, which for a function with its minimiser x* away
    from the origin is not the distance that the minimiser has moved: `rotated` turns about the
    minimiser, x* = R (x_min - shift). The box does not turn.

    Examples
    --------
    >>> from fastopt import problems
    >>> p = problems.rosenbrock(3)
    >>> p([1.0, 1.0, 1.0]), p.f_min
    (0.0, 0.0)
    >>> import numpy as np
    >>> p(np.zeros((3, 5)))                        # five points, in the columns
    array([2., 2., 2., 2., 2.])
    """

    name: str
    dim: int
    lower: _Array
    upper: _Array
    x_min: _Array
    f_min: float
    shift: _Array | None = None
    rotation: _Array | None = None

    def __call__(self, x: npt.ArrayLike) -> float | _Array:
        """Value at one point or at many.

        Parameters
        ----------
        x : array_like, shape (d,) or (d, n)
            A point, or n points in the columns as SciPy's `vectorized=True` has them.

        Returns
        -------
        float or ndarray, shape (n,)

        Raises
        ------
        ValueError
            If the first axis is not d long.
        """
        points = np.asarray(x, dtype=np.float64)
        if points.ndim not in (1, 2) or points.shape[0] != self.dim:
            raise ValueError(
                f"x: expected shape ({self.dim},) or ({self.dim}, n_points), got {points.shape}; "
                "points are columns."
            )
        columns = points.reshape(self.dim, -1)
        if self.shift is not None:
            columns = columns - self.shift[:, np.newaxis]
        if self.rotation is not None:
            columns = self.rotation @ columns
        values = _DEFINITIONS[self.name].formula(columns)
        return float(values[0]) if points.ndim == 1 else values

    def __repr__(self) -> str:
        moved = [
            w for w, a in (("shifted", self.shift), ("rotated", self.rotation)) if a is not None
        ]
        return f"<{' '.join([*moved, self.name])}, dim {self.dim}, f_min {self.f_min:.6g}>"

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """The usual box as a list of (lower, upper) pairs, a fresh one each time."""
        return list(zip(self.lower.tolist(), self.upper.tolist(), strict=True))

    def shifted(self, shift: npt.ArrayLike | None = None, *, rng: _Rng = None) -> NativeProblem:
        """The same function moved, x -> f(x - shift).

        Parameters
        ----------
        shift : array_like, shape (d,), or float, optional
            How far the minimiser moves. Default: a random distance that takes the minimiser to a
            point drawn uniformly from the box without its outer tenths, where it is no longer at a
            centre or on a diagonal that a method may favour.
        rng : int or numpy.random.Generator, optional
            For the random shift; an int gives the same shift each time.

        Returns
        -------
        NativeProblem
            With `x_min` moved by `shift`. The box stays, except for 'schwefel' and 'michalewicz',
            whose minimum is one of their box only: theirs moves along, and the random shift is up
            to a tenth of its width.

        Raises
        ------
        ValueError
            If `shift` has another length or takes the minimiser out of the box, or if both `shift`
            and `rng` are given.
        """
        whole_space = _DEFINITIONS[self.name].whole_space
        width = self.upper - self.lower
        if shift is None:
            draw = np.random.default_rng(rng).random(self.dim)
            if whole_space:
                by = self.lower + width * (0.1 + 0.8 * draw) - self.x_min
            else:
                by = width * (0.2 * draw - 0.1)
        else:
            if rng is not None:
                raise ValueError("rng: only used when `shift` is not given; leave one of them out.")
            by = np.asarray(shift, dtype=np.float64)
            if by.shape not in ((), (self.dim,)) or not np.all(np.isfinite(by)):
                raise ValueError(
                    f"shift: expected {self.dim} finite numbers or one, got {shift!r}; "
                    "for a random shift use shifted(rng=...)."
                )
            by = np.broadcast_to(by, (self.dim,))
        x_min, lower, upper = self.x_min + by, self.lower, self.upper
        if not whole_space:
            lower, upper = lower + by, upper + by
        elif np.any(x_min < lower) or np.any(x_min > upper):
            raise ValueError(
                f"shift: takes the minimiser to {x_min}, out of the box from {lower} to {upper}; "
                "use a smaller shift."
            )
        before = 0.0 if self.shift is None else self.shift
        return replace(
            self,
            lower=_frozen(lower),
            upper=_frozen(upper),
            x_min=_frozen(x_min),
            shift=_frozen(before + by),
        )

    def rotated(self, rng: _Rng = None) -> NativeProblem:
        """The same function turned about its minimiser by a random orthogonal matrix.

        Parameters
        ----------
        rng : int or numpy.random.Generator, optional
            An int gives the same rotation each time.

        Returns
        -------
        NativeProblem
            x -> f(x_min + Q (x - x_min)), Q drawn uniformly (Haar measure) by the QR factorisation
            of a normal matrix, signs fixed by the diagonal of R. `x_min` and the box stay.

        Raises
        ------
        ValueError
            For 'schwefel' and 'michalewicz': turned, the box would hold points below the minimum.
        """
        if not _DEFINITIONS[self.name].whole_space:
            raise ValueError(
                f"rotated: the minimum of '{self.name}' is known in its own box only, and a turned "
                "box is no box; use shifted(), or another function."
            )
        normal = np.random.default_rng(rng).standard_normal((self.dim, self.dim))
        q, r = np.linalg.qr(normal)
        turn = q * np.sign(np.diagonal(r))
        rotation = turn if self.rotation is None else self.rotation @ turn
        untouched = _minimizer(self.name, self.dim)
        return replace(
            self,
            shift=_frozen(self.x_min - rotation.T @ untouched),
            rotation=_frozen(rotation),
        )

    def _native_spec(self) -> tuple[str, int, _Array | None, _Array | None]:
        """What the compiled objective is made of: name, dim, shift, rotation (row-major)."""
        return self.name, self.dim, self.shift, self.rotation


def _minimizer(name: str, dim: int) -> _Array:
    minimizer = _DEFINITIONS[name].minimizer
    return np.full(dim, minimizer) if isinstance(minimizer, float) else minimizer(dim)


def names() -> list[str]:
    """Names of all functions, for `get`.

    Examples
    --------
    >>> from fastopt import problems
    >>> problems.names()[:3]
    ['sphere', 'ellipsoid', 'rastrigin']
    """
    return list(_DEFINITIONS)


def get(name: str, dim: int) -> NativeProblem:
    """The function called `name` in `dim` coordinates.

    Parameters
    ----------
    name : str
        One of `names()`.
    dim : int
        Number of coordinates, at least 1 ('rosenbrock': at least 2; 'canyon': exactly 2).

    Returns
    -------
    NativeProblem

    Raises
    ------
    ValueError
        For an unknown name or a dimension that the function does not have.
    TypeError
        If `dim` is no integer.

    Examples
    --------
    >>> from fastopt import problems
    >>> problems.get("ackley", 2).bounds
    [(-32.768, 32.768), (-32.768, 32.768)]
    """
    if not isinstance(name, str) or name not in _DEFINITIONS:
        raise ValueError(f"name: expected one of {', '.join(_DEFINITIONS)}; got {short(name)}.")
    known = _DEFINITIONS[name]
    try:
        d = operator.index(dim)
    except TypeError:
        raise TypeError(f"dim must be an integer, got {short(dim)}.") from None
    if d < known.min_dim or (known.max_dim is not None and d > known.max_dim):
        size = "exactly" if known.max_dim == known.min_dim else "at least"
        raise ValueError(
            f"dim: {name!r} needs {size} {known.min_dim} coordinates, got {d}; "
            "choose another dimension."
        )
    x_min = _minimizer(name, d)
    if known.minimum is None:
        f_min = float(known.formula(x_min[:, np.newaxis])[0])
    else:
        f_min = d * known.minimum
    return NativeProblem(
        name,
        d,
        _frozen(np.full(d, known.lower)),
        _frozen(np.full(d, known.upper)),
        _frozen(x_min),
        f_min,
    )


def sphere(dim: int) -> NativeProblem:
    """Sphere: sum_k x_k^2 on [-5.12, 5.12]^d; minimum 0 at 0.

    Convex, separable, perfectly conditioned. Source: [1]_, [2]_ of the module's page.
    """
    return get("sphere", dim)


def ellipsoid(dim: int) -> NativeProblem:
    """Ellipsoid: sum_{k=0}^{d-1} 10^(6 k / (d - 1)) x_k^2 on [-5, 5]^d; minimum 0 at 0.

    Convex, separable, condition number 1e6 (for d = 1: x^2).

    References
    ----------
    N. Hansen, S. Finck, R. Ros, A. Auger, "Real-Parameter Black-Box Optimization Benchmarking 2009:
    Noiseless Functions Definitions", INRIA RR-6829, f2 (without its oscillation).
    """
    return get("ellipsoid", dim)


def rastrigin(dim: int) -> NativeProblem:
    """Rastrigin: 10 d + sum_k x_k^2 - 10 cos(2 pi x_k) on [-5.12, 5.12]^d; minimum 0 at 0.

    About 11^d local minima on a grid, separable. Source: [1]_, [2]_ of the module's page.
    """
    return get("rastrigin", dim)


def rastrigin_mild(dim: int) -> NativeProblem:
    """Rastrigin with coefficient 2.5: sum_k x_k^2 + 2.5 (1 - cos(2 pi x_k)); minimum 0 at 0.

    Box [-5.12, 5.12]^d as for 'rastrigin' (the source has none).

    References
    ----------
    M. Fornasier, P. Richtarik, K. Riedl, L. Sun, "Consensus-based optimisation with truncated
    noise", European Journal of Applied Mathematics, 2024.
    """
    return get("rastrigin_mild", dim)


def ackley(dim: int) -> NativeProblem:
    """Ackley, on [-32.768, 32.768]^d; minimum 0 at 0, which is a sharp tip.

    20 + e - 20 exp(-0.2 sqrt(sum_k x_k^2 / d)) - exp(sum_k cos(2 pi x_k) / d): nearly flat far out,
    covered by local minima. Source: [1]_, [2]_ of the module's page.
    """
    return get("ackley", dim)


def rosenbrock(dim: int) -> NativeProblem:
    """Rosenbrock: sum_{k<d-1} 100 (x_{k+1} - x_k^2)^2 + (1 - x_k)^2 on [-5, 10]^d; minimum 0 at 1.

    A long bent valley; from d = 4 on with a second local minimum. At least 2 coordinates. Source:
    [1]_, [2]_ of the module's page.
    """
    return get("rosenbrock", dim)


def griewank(dim: int) -> NativeProblem:
    """Griewank: sum_k x_k^2 / 4000 - prod_k cos(x_k / sqrt(k)) + 1, k from 1; minimum 0 at 0.

    Box [-600, 600]^d. Many regular local minima. Source: [1]_, [2]_ of the module's page.
    """
    return get("griewank", dim)


def schwefel(dim: int) -> NativeProblem:
    """Schwefel: sum_k 418.98... - x_k sin(sqrt|x_k|) on [-500, 500]^d; minimum 0 at 420.9687....

    The second-best minima are far from the best one. The constant is written with all its digits,
    418.98288727243370628, so that the minimum is 0 (the source rounds it to 418.9829). Unbounded
    below outside the box, hence not to be rotated. Source: [1]_, [2]_ of the module's page.
    """
    return get("schwefel", dim)


def levy(dim: int) -> NativeProblem:
    """Levy, on [-10, 10]^d; minimum 0 at 1.

    With w = 1 + (x - 1) / 4: sin(pi w_1)^2 + sum_{k<d} (w_k - 1)^2 (1 + 10 sin(pi w_k + 1)^2)
    + (w_d - 1)^2 (1 + sin(2 pi w_d)^2). Source: [1]_ of the module's page.
    """
    return get("levy", dim)


def michalewicz(dim: int) -> NativeProblem:
    """Michalewicz with m = 10: -sum_k sin(x_k) sin(k x_k^2 / pi)^20, k from 1, on [0, pi]^d.

    Steep narrow grooves, about d! local minima, separable. The minimiser is computed coordinate by
    coordinate; minimum -1.8013 for d = 2, -4.687658 for d = 5, -9.66015 for d = 10. Known in its
    box only, hence not to be rotated. Source: [1]_ of the module's page.
    """
    return get("michalewicz", dim)


def styblinski_tang(dim: int) -> NativeProblem:
    """Styblinski-Tang: sum_k (x_k^4 - 16 x_k^2 + 5 x_k) / 2 on [-5, 5]^d.

    2^d local minima; minimum -39.166165703771415 d at -2.903534027771177. Source: [1]_, [2]_ of the
    module's page.
    """
    return get("styblinski_tang", dim)


def zakharov(dim: int) -> NativeProblem:
    """Zakharov: sum_k x_k^2 + s^2 + s^4 with s = sum_k k x_k / 2, k from 1; minimum 0 at 0.

    Box [-5, 10]^d. One minimum, not separable, badly conditioned. Source: [1]_, [2]_ of the
    module's page.
    """
    return get("zakharov", dim)


def canyon(dim: int = 2) -> NativeProblem:
    """Canyon-shaped function of the plane with a noisy floor and a gate; minimum 0 at 0.

    With v = y - (x - 1) (x - 4)^2 / 8 - 2 and b = -x - 1.6 y::

        25 (1 - exp(-1.4 v^2 exp(-0.002 x^4))) + 0.4 x^2 + 0.2 y^2
          + 1.1625 ((1 - cos(0.75 pi x)) + (1 - cos(0.75 pi y)))
          + 4 exp(1 - 2 v^4) max((1 - exp(-9 b^2)) sign(b), 0)

    Gradient descent started around (8, 8) is trapped on the way along the canyon. The box,
    [-10, 10]^2, is ours: the source starts from N((8, 8), 0.25 I) without one.

    References
    ----------
    K. Riedl, T. Klock, C. Geldhauser, M. Fornasier, "Gradient is All You Need?", 2023,
    https://arxiv.org/abs/2306.09778.
    """
    return get("canyon", dim)

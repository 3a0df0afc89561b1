"""The NIST StRD nonlinear regression sets: data, models, certified answers and search boxes.

A set is fitted by minimising the residual sum of squares over a box that is made from the data
alone, by one rule per kind of parameter (`ROLES`); NIST's starting points and certified values
play no part in it. Parameters that are positive scales are searched as log10 of their size.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
AnyArray = NDArray[Any]
Model = Callable[[AnyArray, Array], Any]
CERTIFIED_DIGITS = 11  # NIST prints eleven digits: no comparison can show more


@dataclass(frozen=True)
class Dataset:
    """One set as NIST publishes it.

    Attributes
    ----------
    name, description, model_text : str
        Name of the set, what was measured, and the model in NIST's words.
    difficulty : str
        NIST's grade: 'Lower', 'Average' or 'Higher'.
    y : (n,) array
        Response; for Nelson the logarithm of the column y, which is what its model describes.
    x : (n_predictors, n) array
    starts : (2, p) array
        NIST's starting points. Nothing here uses them.
    certified, certified_sd : (p,) arrays
    certified_rss, certified_residual_sd : float
    degrees_of_freedom : int
        As printed; for Rat43 that is 9, though 15 observations less 4 parameters leave 11.
    """

    name: str
    description: str
    model_text: str
    difficulty: str
    y: Array
    x: Array
    starts: Array
    certified: Array
    certified_sd: Array
    certified_rss: float
    certified_residual_sd: float
    degrees_of_freedom: int


_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[Ee][-+]?\d+)?"


def parse(text: str) -> Dataset:
    """Read one StRD file: the header's line ranges say where its tables are."""

    def section(title: str) -> list[str]:
        match = re.search(title + r"\s*\(lines\s+(\d+)\s+to\s+(\d+)\)", text)
        if match is None:
            raise ValueError(f"not an StRD file: no line range for {title!r} in the header")
        return lines[int(match[1]) - 1 : int(match[2])]

    def value(title: str) -> float:
        match = re.search(title + r":\s+(" + _NUMBER + ")", text)
        if match is None:
            raise ValueError(f"not an StRD file: no {title!r}")
        return float(match[1])

    def block(start: str, end: str) -> str:
        match = re.search(rf"^{start}:(.*?)^{end}", text, re.MULTILINE | re.DOTALL)
        if match is None:
            raise ValueError(f"not an StRD file: no paragraph {start!r}")
        return "\n".join(line.strip() for line in match[1].strip().splitlines())

    lines = text.splitlines()
    name = re.search(r"Dataset Name:\s+(\w+)", text)
    level = re.search(r"(Lower|Average|Higher) Level of Difficulty", text)
    if name is None or level is None:
        raise ValueError("not an StRD file: no 'Dataset Name' or 'Level of Difficulty'")
    rows = [re.split(r"=", line)[1].split() for line in section("Starting Values") if "=" in line]
    parameters = np.array(rows, dtype=float).T
    table = np.array([line.split() for line in section("Data") if line.strip()], dtype=float).T
    return Dataset(
        name=name[1],
        description=" ".join(block("Description", "Reference").split()),
        model_text=block("Model", r"\s+Starting [Vv]alues"),
        difficulty=level[1],
        y=np.log(table[0]) if name[1] == "Nelson" else table[0],
        x=table[1:],
        starts=parameters[:2],
        certified=parameters[2],
        certified_sd=parameters[3],
        certified_rss=value("Residual Sum of Squares"),
        certified_residual_sd=value("Residual Standard Deviation"),
        degrees_of_freedom=int(value("Degrees of Freedom")),
    )


# --- models: b[k] has shape (n_points, 1), x (n_predictors, n); the answer (n_points, n) ---------


def _bennett5(b: AnyArray, x: Array) -> Any:
    return b[0] * (b[1] + x[0]) ** (-1 / b[2])


def _saturation(b: AnyArray, x: Array) -> Any:
    return -b[0] * np.expm1(-b[1] * x[0])


def _chwirut(b: AnyArray, x: Array) -> Any:
    return np.exp(-b[0] * x[0]) / (b[1] + b[2] * x[0])


def _danwood(b: AnyArray, x: Array) -> Any:
    return b[0] * x[0] ** b[1]


def _enso(b: AnyArray, x: Array) -> Any:
    year, first, second = (2 * np.pi / period * x[0] for period in (12.0, b[3], b[6]))
    waves = b[1] * np.cos(year) + b[2] * np.sin(year)
    waves = waves + b[4] * np.cos(first) + b[5] * np.sin(first)
    return b[0] + waves + b[7] * np.cos(second) + b[8] * np.sin(second)


def _eckerle4(b: AnyArray, x: Array) -> Any:
    return b[0] / b[1] * np.exp(-0.5 * ((x[0] - b[2]) / b[1]) ** 2)


def _gauss(b: AnyArray, x: Array) -> Any:
    first, second = (np.exp(-(((x[0] - b[k]) / b[k + 1]) ** 2)) for k in (3, 6))
    return b[0] * np.exp(-b[1] * x[0]) + b[2] * first + b[5] * second


def _cubic_cubic(b: AnyArray, x: Array) -> Any:
    t = x[0]
    return (b[0] + t * (b[1] + t * (b[2] + t * b[3]))) / (1 + t * (b[4] + t * (b[5] + t * b[6])))


def _quadratic_quadratic(b: AnyArray, x: Array) -> Any:
    t = x[0]
    return (b[0] + t * (b[1] + t * b[2])) / (1 + t * (b[3] + t * b[4]))


def _lanczos(b: AnyArray, x: Array) -> Any:
    first, second, third = (b[k] * np.exp(-b[k + 1] * x[0]) for k in (0, 2, 4))
    return first + second + third


def _mgh09(b: AnyArray, x: Array) -> Any:
    t = x[0]
    return b[0] * t * (t + b[1]) / (t * (t + b[2]) + b[3])


def _mgh10(b: AnyArray, x: Array) -> Any:
    return b[0] * np.exp(b[1] / (x[0] + b[2]))


def _mgh17(b: AnyArray, x: Array) -> Any:
    return b[0] + b[1] * np.exp(-x[0] * b[3]) + b[2] * np.exp(-x[0] * b[4])


def _misra1b(b: AnyArray, x: Array) -> Any:
    return b[0] * (1 - (1 + b[1] * x[0] / 2) ** -2)


def _misra1c(b: AnyArray, x: Array) -> Any:
    return b[0] * (1 - (1 + 2 * b[1] * x[0]) ** -0.5)


def _misra1d(b: AnyArray, x: Array) -> Any:
    return b[0] * b[1] * x[0] / (1 + b[1] * x[0])


def _nelson(b: AnyArray, x: Array) -> Any:
    return b[0] - b[1] * x[0] * np.exp(-b[2] * x[1])


def _rat42(b: AnyArray, x: Array) -> Any:
    return b[0] / (1 + np.exp(b[1] - b[2] * x[0]))


def _rat43(b: AnyArray, x: Array) -> Any:
    return b[0] / (1 + np.exp(b[1] - b[2] * x[0])) ** (1 / b[3])


def _roszman1(b: AnyArray, x: Array) -> Any:
    return b[0] - b[1] * x[0] - np.arctan(b[2] / (x[0] - b[3])) / np.pi


# --- boxes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scales:
    """What the rules know of the data: sizes of y and x, never a parameter."""

    y: float  # max |y|, with the sign of y where y has one sign
    x: float  # geometric mean of the nonzero |x|
    low: float  # min x
    high: float  # max x
    step: float  # smallest distance of two different x
    last: float = 1.0  # size of the last predictor's range (Nelson has two)

    @property
    def width(self) -> float:
        return self.high - self.low


def scales(data: Dataset) -> Scales:
    x, last = data.x[0], data.x[-1]
    size = float(np.max(np.abs(data.y)))
    return Scales(
        y=-size if np.all(data.y < 0) else size,
        x=float(np.exp(np.mean(np.log(np.abs(x[x != 0]))))),
        low=float(x.min()),
        high=float(x.max()),
        step=float(np.diff(np.unique(x)).min()),
        last=float(np.ptp(last)),
    )


@dataclass(frozen=True)
class Range:
    """Where one parameter is searched: [low, high], or sign * 10 ** [low, high] when log."""

    low: float
    high: float
    log: bool = False
    sign: float = 1.0


def _signed(scale: float) -> Range:
    return Range(-10 * abs(scale), 10 * abs(scale))


def _decades(scale: float, below: float, above: float) -> Range:
    middle = float(np.log10(abs(scale)))
    return Range(middle - below, middle + above, log=True, sign=float(np.sign(scale)))


# Role of a parameter -> (rule in words, rule). Y = max |y|, X = typical |x| (geometric mean), W =
# max x - min x. A rule holds for every set in which the role occurs. The factors are round numbers
# chosen before any solver ran, with one exception: those of the rational functions (numerators,
# denominators, roots) were widened from 10 to 100, all of them, because Hahn1's certified values
# lay outside.
ROLES: dict[str, tuple[str, Callable[[Scales], Range]]] = {
    "level": ("-10 Y .. 10 Y", lambda s: _signed(s.y)),
    "slope": ("-10 Y/W .. 10 Y/W", lambda s: _signed(s.y / s.width)),
    "amplitude": ("Y 10^(-3..3), sign of y", lambda s: _decades(s.y, 3, 3)),
    "inverse": ("10^(-3..3) / Y", lambda s: _decades(1 / s.y, 3, 3)),
    "inverse slope": ("10^(-3..3) / (Y W)", lambda s: _decades(1 / (s.y * s.width), 3, 3)),
    "area": ("Y W 10^(-3..3)", lambda s: _decades(s.y * s.width, 3, 3)),
    "prefactor": ("Y 10^(-9..9), sign of y", lambda s: _decades(s.y, 9, 9)),
    "prefactor rate": ("Y/W 10^(-9..9)", lambda s: _decades(s.y / s.width, 9, 9)),
    "rate": ("10^(-3..3) / W", lambda s: _decades(1 / s.width, 3, 3)),
    "signed rate": ("-10/W .. 10/W of the last x", lambda s: _signed(1 / s.last)),
    "location": ("min x - W .. max x + W", lambda s: Range(s.low - s.width, s.high + s.width)),
    "width": ("W 10^(-2..1)", lambda s: _decades(s.width, 2, 1)),
    "length": ("W 10^(-3..3)", lambda s: _decades(s.width, 3, 3)),
    "signed length": ("-10 W .. 10 W", lambda s: _signed(s.width)),
    "period": (
        "2 steps of x .. 2 W, log10",
        lambda s: Range(float(np.log10(2 * s.step)), float(np.log10(2 * s.width)), log=True),
    ),
    "exponent": ("-10 .. 10", lambda s: _signed(1)),
    "logit": ("-20 .. 20", lambda s: _signed(2)),
    "shape": ("10^(-2..2)", lambda s: _decades(1, 2, 2)),
    "numerator 0": ("-100 Y .. 100 Y", lambda s: _signed(10 * s.y)),
    "numerator 1": ("-100 Y/X .. 100 Y/X", lambda s: _signed(10 * s.y / s.x)),
    "numerator 2": ("-100 Y/X^2 .. 100 Y/X^2", lambda s: _signed(10 * s.y / s.x**2)),
    "numerator 3": ("-100 Y/X^3 .. 100 Y/X^3", lambda s: _signed(10 * s.y / s.x**3)),
    "denominator 1": ("-100/X .. 100/X", lambda s: _signed(10 * 1 / s.x)),
    "denominator 2": ("-100/X^2 .. 100/X^2", lambda s: _signed(10 * 1 / s.x**2)),
    "denominator 3": ("-100/X^3 .. 100/X^3", lambda s: _signed(10 * 1 / s.x**3)),
    "root sum": ("-100 X .. 100 X", lambda s: _signed(10 * s.x)),
    "root product": ("-100 X^2 .. 100 X^2", lambda s: _signed(10 * s.x**2)),
}

_GAUSS = ("amplitude", "rate", "level", "location", "width", "level", "location", "width")
_LANCZOS = ("level", "rate") * 3
_SATURATION = ("amplitude", "rate")
_WAVE = ("period", "level", "level")
_CUBICS = tuple(f"numerator {k}" for k in range(4)) + tuple(f"denominator {k}" for k in (1, 2, 3))
_QUADRATICS = _CUBICS[:3] + _CUBICS[4:6]

# Set -> (model, role of each parameter), in NIST's order of difficulty.
MODELS: dict[str, tuple[Model, tuple[str, ...]]] = {
    "Misra1a": (_saturation, _SATURATION),
    "Chwirut2": (_chwirut, ("rate", "inverse", "inverse slope")),
    "Chwirut1": (_chwirut, ("rate", "inverse", "inverse slope")),
    "Lanczos3": (_lanczos, _LANCZOS),
    "Gauss1": (_gauss, _GAUSS),
    "Gauss2": (_gauss, _GAUSS),
    "DanWood": (_danwood, ("prefactor", "exponent")),
    "Misra1b": (_misra1b, _SATURATION),
    "Kirby2": (_quadratic_quadratic, _QUADRATICS),
    "Hahn1": (_cubic_cubic, _CUBICS),
    "Nelson": (_nelson, ("level", "prefactor rate", "signed rate")),
    "MGH17": (_mgh17, ("level", "level", "level", "rate", "rate")),
    "Lanczos1": (_lanczos, _LANCZOS),
    "Lanczos2": (_lanczos, _LANCZOS),
    "Gauss3": (_gauss, _GAUSS),
    "Misra1c": (_misra1c, _SATURATION),
    "Misra1d": (_misra1d, _SATURATION),
    "Roszman1": (_roszman1, ("level", "slope", "signed length", "location")),
    "ENSO": (_enso, ("level", "level", "level", *_WAVE, *_WAVE)),
    "MGH09": (_mgh09, ("level", "root sum", "root sum", "root product")),
    "Thurber": (_cubic_cubic, _CUBICS),
    "BoxBOD": (_saturation, _SATURATION),
    "Rat42": (_rat42, ("amplitude", "logit", "rate")),
    "MGH10": (_mgh10, ("prefactor", "length", "length")),
    "Eckerle4": (_eckerle4, ("area", "width", "location")),
    "Rat43": (_rat43, ("amplitude", "logit", "rate", "shape")),
    "Bennett5": (_bennett5, ("prefactor", "length", "shape")),
}
NAMES = tuple(MODELS)


def _symmetries(name: str) -> list[list[int]]:
    """Orders of the parameters under which the model is the same function."""
    if name.startswith("Lanczos"):
        return [[*a, *b, *c] for a, b, c in itertools.permutations([[0, 1], [2, 3], [4, 5]])]
    if name.startswith("Gauss"):
        return [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 5, 6, 7, 2, 3, 4]]
    if name == "MGH17":
        return [[0, 1, 2, 3, 4], [0, 2, 1, 4, 3]]
    if name == "ENSO":
        return [[0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 2, 6, 7, 8, 3, 4, 5]]
    return [list(range(len(MODELS[name][1])))]


@dataclass(frozen=True)
class Problem:
    """A set with its model and box; `z` are search coordinates, `b` NIST's parameters."""

    data: Dataset

    @property
    def name(self) -> str:
        return self.data.name

    @property
    def dim(self) -> int:
        return int(self.data.certified.size)

    @property
    def roles(self) -> tuple[str, ...]:
        return MODELS[self.name][1]

    @cached_property
    def ranges(self) -> tuple[Range, ...]:
        size = scales(self.data)
        return tuple(ROLES[role][1](size) for role in self.roles)

    @cached_property
    def bounds(self) -> list[tuple[float, float]]:
        """The box in search coordinates, one (low, high) per parameter."""
        return [(r.low, r.high) for r in self.ranges]

    def decode(self, z: AnyArray) -> AnyArray:
        """NIST's parameters from search coordinates: (p,) or (p, n_points)."""
        with np.errstate(over="ignore"):  # the finishing fit may leave the box
            return np.stack(
                [
                    r.sign * 10**zk if r.log else zk
                    for r, zk in zip(self.ranges, np.asarray(z), strict=True)
                ]
            )

    def encode(self, b: Array) -> Array:
        """Search coordinates from NIST's parameters: (p,) or (p, n_points)."""
        return np.stack(
            [np.log10(r.sign * bk) if r.log else bk for r, bk in zip(self.ranges, b, strict=True)]
        )

    def predict(self, b: AnyArray) -> AnyArray:
        """Model at the data's x: (n,) for b (p,), (n_points, n) for b (p, n_points)."""
        return self.curve(b, self.data.x)

    def curve(self, b: AnyArray, x: Array) -> AnyArray:
        """Model at any x (n_predictors, n)."""
        b = np.asarray(b)
        with np.errstate(all="ignore"):
            values = MODELS[self.name][0](b.reshape(self.dim, -1, 1), x)
        return np.asarray(values if b.ndim == 2 else values[0])

    def rss(self, b: Array) -> Any:
        """Residual sum of squares at NIST's parameters; inf where the model is not finite."""
        with np.errstate(all="ignore"):
            squares = np.sum((self.predict(b) - self.data.y) ** 2, axis=-1)
        return np.where(np.isfinite(squares), squares, np.inf)[()]

    def objective(self, z: Array) -> Any:
        """Residual sum of squares at search coordinates (p,) or (p, n_points)."""
        return self.rss(self.decode(z))

    def residuals(self, z: Array) -> Array:
        """Model minus data, (n,), at one point of the search coordinates."""
        return np.asarray(self.predict(self.decode(z)) - self.data.y, dtype=float)

    def jacobian(self, z: Array) -> Array:
        """Derivative of `residuals`, (n, p), exact to rounding (complex step, one batch)."""
        h = 1e-30
        steps = np.asarray(z, dtype=complex)[:, None] + 1j * h * np.eye(self.dim)
        return np.asarray(self.predict(self.decode(steps)).imag.T / h, dtype=float)

    def _error(self, b: Array) -> float:
        """The worst parameter's relative error."""
        target = self.data.certified
        return float(np.max(np.abs(b - target) / np.abs(target)))

    def aligned(self, b: Array) -> Array:
        """b with equal terms (two peaks, three exponentials) in the order that agrees best."""
        return min((b[order] for order in _symmetries(self.name)), key=self._error)

    def digits(self, b: Array) -> float:
        """Digits agreed with the certified values, the worst parameter's, from 0 to 11.

        The log relative error -log10(|b - certified| / |certified|) of `aligned(b)`.
        """
        error = self._error(self.aligned(b))
        if not error < 1:
            return 0.0
        return min(-float(np.log10(max(error, 1e-300))), float(CERTIFIED_DIGITS))

    def reached(self, rss: float, rtol: float = 1e-6) -> bool:
        """Whether a residual sum is the certified one to rtol (or less than it).

        Residuals are good to about 4 ulp of y, which matters for Lanczos1 alone: its certified
        sum, 1.4e-25, is made of rounding errors.
        """
        ulps = 4 * np.finfo(float).eps * float(np.max(np.abs(self.data.y)))
        return bool(rss <= self.data.certified_rss * (1 + rtol) + self.data.y.size * ulps**2)


def load(name: str) -> Problem:
    """The set of this name.

    Raises
    ------
    ValueError
        No set has this name.
    """
    if name not in MODELS:
        raise ValueError(f"unknown NIST set {name!r}; expected one of {', '.join(NAMES)}")
    file = resources.files("fastopt").joinpath("data", "nist_strd", f"{name}.dat")
    return Problem(parse(file.read_text(encoding="ascii")))

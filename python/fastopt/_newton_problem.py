"""From SciPy's ways to state derivatives and equalities to the five functions of the core."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import (
    BFGS,
    SR1,
    Bounds,
    HessianUpdateStrategy,
    LinearConstraint,
    NonlinearConstraint,
)
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from ._arguments import numbers, short, without_objects
from ._constraints import limits
from ._differences import METHODS, derivative
from ._glm import GLM, WeightedGram, checked_sparse, native_matrix
from ._objective import as_scalar, read_pair
from ._problem import Array, read_box

_QUASI_NEWTON_NEEDED = (
    "Whenever the gradient is estimated via finite-differences, we require the Hessian to be "
    "estimated using one of the quasi-Newton strategies."
)
_EQUALITIES_ONLY = (
    "sketch_newton solves problems with equality constraints only, and {what}. Use "
    "scipy.optimize.minimize with method='trust-constr' or 'SLSQP', or state the problem with "
    "equalities (lb == ub, or type 'eq')."
)
_DIFFERENCES_UP_TO = 100  # variables: above it quasi-Newton is the default, not n differences


def _is_scheme(value: Any) -> bool:
    return isinstance(value, str) and value in METHODS


class Memo:
    """The last point and what was computed there."""

    def __init__(self, compute: Callable[[Array], Any]) -> None:
        self._compute = compute
        self._at: bytes | None = None
        self._value: Any = None

    def __call__(self, x: Array) -> Any:
        at = x.tobytes()
        if self._at != at:
            self._value = self._compute(x.copy())
            self._at = at
        return self._value


def _numbers(value: Any, whose: str) -> Any:
    """What a user's function returned, as an array of numbers."""
    if issparse(value):
        value = checked_sparse(value, f"what {whose} returned").toarray()
    array = without_objects(np.asarray(value))
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{whose} must return numbers; it returned {value!r:.60}.")
    return array


# ---- Hessians ----------------------------------------------------------------------------------


class QuasiNewton:
    """A HessianUpdateStrategy fed with the gradients at the points where the Hessian is wanted."""

    def __init__(self, strategy: HessianUpdateStrategy, n: int) -> None:
        self._strategy = copy.deepcopy(strategy)
        self._strategy.initialize(n, "hess")
        self._x: Array | None = None

    def __call__(self, x: Array, gradient: Callable[[Array], Array]) -> Array:
        """`gradient` at x and at the previous point, with the same multipliers."""
        if self._x is not None:
            step = x - self._x
            change = gradient(x) - gradient(self._x)
            if np.any(step) and np.any(change):
                self._strategy.update(step, change)
        self._x = x.copy()
        matrix: Array = np.asarray(self._strategy.get_matrix(), dtype=np.float64)
        return matrix


def _checked_hessian(value: Any, n: int, whose: str) -> Any:
    """Dense (n, n), WeightedGram, LinearOperator, or a sparse matrix."""
    if issparse(value):
        value = checked_sparse(value, f"what hess of {whose} returned")
    if isinstance(value, LinearOperator) or issparse(value):
        shape = value.shape
    else:
        value = np.atleast_2d(_numbers(value, f"hess of {whose}").real.astype(np.float64))
        shape = value.shape
    if shape != (n, n):
        raise ValueError(f"hess of {whose} must return a matrix of shape ({n}, {n}); got {shape}.")
    return value


def _is_diagonal(matrix: Any) -> bool:
    coo = matrix.tocoo()
    return bool(np.all(coo.row == coo.col))


class Place:
    """Where the matrices of a problem lie: those of a backend, in one queue of it."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self.queue = module, module.Queue()
        self._twins: dict[int, GLM] = {}

    def function(self, function: Any) -> Any:
        """A `GLM`, or a method of one, computed by the backend; other functions as they are."""
        if isinstance(function, GLM):
            if id(function) not in self._twins:
                self._twins[id(function)] = function._on(self._module, self.queue)
            return self._twins[id(function)]
        owner = getattr(function, "__self__", None)
        if not isinstance(owner, GLM):
            return function
        return getattr(self.function(owner), function.__name__)

    def matrix(self, gram: WeightedGram) -> Any:
        """Its data matrix: that of a GLM was placed before."""
        if isinstance(gram.matrix, self._module.Matrix):
            return gram.matrix
        return native_matrix(gram.A, module=self._module, queue=self.queue)


@dataclass
class Sum:
    """sum of Hessians, collected by form."""

    n: int
    place: Place | None = None
    diagonal: Array | None = None
    dense: Array | None = None
    gram: tuple[Any, Array, Array] | None = None
    operators: tuple[tuple[float, Any], ...] = ()

    def add(self, factor: float, part: Any) -> None:
        if isinstance(part, WeightedGram) and self.gram is None:
            matrix = part.matrix if self.place is None else self.place.matrix(part)
            self.gram = (matrix, factor * part.w, factor * part.R)
        elif isinstance(part, LinearOperator):
            self.operators += ((factor, part),)
        elif issparse(part) and _is_diagonal(part):
            extra = factor * np.asarray(part.diagonal(), dtype=np.float64)
            self.diagonal = extra if self.diagonal is None else self.diagonal + extra
        else:
            full = part.toarray() if issparse(part) else part
            self.dense = factor * full + (0.0 if self.dense is None else self.dense)

    def _rest(self, start: Array) -> Array:
        """R of a Gram matrix: `start` and what is diagonal or dense here."""
        rest = start
        if self.dense is not None:
            if rest.ndim < 2:
                rest = np.diag(np.broadcast_to(rest, self.n))
            rest = rest + self.dense
        if self.diagonal is not None:
            rest = rest + np.diag(self.diagonal) if rest.ndim == 2 else rest + self.diagonal
        return rest

    def form(self) -> Any:
        """What the core takes: an array, (matrix, w, R), or a function v -> W v."""
        if self.operators:
            return self._product
        if self.gram is not None:
            matrix, w, rest = self.gram
            return matrix, w, self._rest(rest)
        full = self._rest(np.zeros(self.n))
        full = full if full.ndim == 2 else np.diag(full)
        return np.ascontiguousarray(0.5 * (full + full.T))

    def _product(self, v: Array) -> Array:
        out = np.zeros(self.n)
        for factor, operator in self.operators:
            out += factor * np.asarray(operator.matvec(v.copy()), dtype=np.float64).ravel()
        if self.gram is not None:
            matrix, w, rest = self.gram
            out += matrix.multiply_gram(w, v) + (rest @ v if rest.ndim == 2 else rest * v)
        if self.dense is not None:
            out += self.dense @ v
        if self.diagonal is not None:
            out += self.diagonal * v
        return out


# ---- the objective -----------------------------------------------------------------------------


class Objective:
    """f, its gradient and its Hessian, with counts of the user's functions."""

    def __init__(
        self,
        fun: Any,
        n: int,
        args: tuple[Any, ...],
        jac: Any,
        hess: Any,
        hessp: Any,
        rel_step: ArrayLike | None,
    ) -> None:
        if isinstance(fun, GLM):
            jac = fun.jac if jac is None else jac
            hess = fun.hess if hess is None and hessp is None else hess
            fun = fun.fun
        if not callable(fun):
            raise TypeError(f"fun must be callable; got {type(fun).__name__}.")
        self._n, self._args, self._rel_step = n, args, rel_step
        self.nfev = self.njev = self.nhev = 0
        self._fun = fun
        self._pair = jac is True  # fun returns (f, gradient)
        self._scheme = None
        if jac is None or jac is False:
            self._scheme = "2-point"
        elif _is_scheme(jac):
            self._scheme = jac
        elif not self._pair and not callable(jac):
            raise ValueError(
                "jac must be callable, True, None or one of '2-point', '3-point', 'cs'; "
                f"got {short(jac)}."
            )
        self._jac = jac
        self.value = Memo(self._value)
        self.gradient = Memo(self._gradient)
        self._quasi: QuasiNewton | None = None
        self._hess = self._read_hess(hess, hessp)

    @property
    def approximate(self) -> bool:
        return self._quasi is not None

    def _read_hess(self, hess: Any, hessp: Any) -> Callable[[Array], Any]:
        if isinstance(hess, HessianUpdateStrategy):
            return self._updates(hess)
        if callable(hess):
            return self._user_hess(hess)
        if hess is not None and not _is_scheme(hess):
            raise ValueError(
                "hess must be callable, one of '2-point', '3-point', 'cs', a "
                f"HessianUpdateStrategy or None; got {short(hess)}."
            )
        if hess is None and hessp is not None:
            if not callable(hessp):
                raise ValueError(f"hessp must be callable, hessp(x, p, *args); got {short(hessp)}.")
            return self._user_product(hessp)
        if self._scheme is not None:
            if hess is not None:
                raise ValueError(_QUASI_NEWTON_NEEDED)
            return self._updates(SR1())
        return self._differences(hess or "2-point")

    def _updates(self, strategy: HessianUpdateStrategy) -> Callable[[Array], Any]:
        self._quasi = quasi = QuasiNewton(strategy, self._n)
        seen: dict[bytes, Array] = {}

        def matrix(x: Array) -> Array:
            seen[x.tobytes()] = self.gradient(x)
            found = quasi(x, lambda z: seen[z.tobytes()])
            kept = seen[x.tobytes()]
            seen.clear()
            seen[x.tobytes()] = kept
            return found

        return matrix

    def _user_hess(self, hess: Any) -> Callable[[Array], Any]:
        def matrix(x: Array) -> Any:
            self.nhev += 1
            return _checked_hessian(hess(x.copy(), *self._args), self._n, "fun")

        return matrix

    def _user_product(self, hessp: Any) -> Callable[[Array], Any]:
        def operator(x: Array) -> Any:
            def product(v: Array) -> Array:
                self.nhev += 1
                out = _numbers(hessp(x.copy(), v, *self._args), "hessp").real.ravel()
                if out.shape != (self._n,):
                    raise ValueError(f"hessp must return {self._n} numbers; got {out.size}.")
                return np.asarray(out, dtype=np.float64)

            return LinearOperator((self._n, self._n), matvec=product, dtype=np.float64)

        return operator

    def _differences(self, scheme: str) -> Callable[[Array], Any]:
        def matrix(x: Array) -> Array:
            at_x = self.gradient(x)
            return derivative(self._raw_gradient, x, scheme, self._rel_step, at_x)

        return matrix

    def _value(self, x: Array) -> float:
        self.nfev += 1
        answer = self._fun(x.copy(), *self._args)
        if self._pair:
            answer, gradient = read_pair(answer)
            self._paired = (x, gradient)
        return as_scalar(answer)

    def _complex_value(self, z: Any) -> Any:
        self.nfev += 1
        return np.asarray(self._fun(z, *self._args)).reshape(())

    def _gradient(self, x: Array) -> Array:
        if self._scheme == "cs":
            return np.asarray(derivative(self._complex_value, x, "cs", self._rel_step)[0])
        if self._scheme is not None:
            at_x = np.atleast_1d(self.value(x))
            return np.asarray(derivative(self._value, x, self._scheme, self._rel_step, at_x)[0])
        if self._pair:
            self.value(x)
            at, gradient = self._paired
            if not np.array_equal(at, x):
                self._value(x)
                at, gradient = self._paired
            self.njev += 1
            return np.asarray(self._read_gradient(gradient).real)
        return np.asarray(self._raw_gradient(x).real)

    def _raw_gradient(self, x: Any) -> Any:
        self.njev += 1
        if self._pair:
            self.nfev += 1
            return self._read_gradient(read_pair(self._fun(x.copy(), *self._args))[1])
        return self._read_gradient(self._jac(x.copy(), *self._args))

    def _read_gradient(self, value: Any) -> Any:
        gradient = _numbers(value, "jac")
        gradient = gradient.astype(np.complex128 if np.iscomplexobj(gradient) else np.float64)
        if gradient.size != self._n:
            raise ValueError(
                f"jac must return the gradient, {self._n} numbers; it returned shape "
                f"{gradient.shape}."
            )
        return gradient.ravel()

    def hessian(self, x: Array) -> Any:
        return self._hess(x)

    def hidden_slope(self, x: Array) -> Array:
        """What a step of 1e-3 sees of the gradient where all differences at x are exactly zero.

        The values may be rounded more coarsely than the differences, as in single precision. Only
        slopes whose minimum is further than the step count: f is odd there rather than even.
        """
        slopes = np.zeros(self._n)
        if self._scheme not in ("2-point", "3-point") or self.gradient(x).any():
            return slopes
        here = self.value(x)
        for k, step in enumerate(1e-3 * np.maximum(1.0, np.abs(x))):
            moved = np.zeros(self._n)
            moved[k] = step
            up, down = self.value(x + moved), self.value(x - moved)
            with np.errstate(all="ignore"):
                if abs(up - down) > abs(up + down - 2 * here):  # NaN and inf are none
                    slopes[k] = (up - down) / (2 * step)
        return slopes


# ---- constraints -------------------------------------------------------------------------------


class Equality:
    """c(x) - target = 0 for one constraint object of SciPy."""

    def __init__(
        self,
        fun: Callable[[Any], Any],
        jac: Any,
        hess: Any,
        target: ArrayLike,
        x0: Array,
        rel_step: ArrayLike | None = None,
    ) -> None:
        self._fun, self._jac_given, self._rel_step, self._n = fun, jac, rel_step, x0.size
        self.nfev = self.njev = self.nhev = 0
        self.raw = Memo(self._raw)
        first = self.raw(x0)
        self.m = first.size
        try:
            self.target: Array = np.broadcast_to(np.asarray(target, dtype=np.float64), (self.m,))
        except ValueError:
            raise ValueError(
                f"a constraint function returned {self.m} values, but lb and ub have "
                f"{np.size(target)}."
            ) from None
        self.jacobian = Memo(self._jacobian)
        if not (callable(jac) or _is_scheme(jac)):
            raise ValueError(
                f"jac of a constraint must be callable or one of {METHODS}; got {jac!r}."
            )
        self._quasi = (
            QuasiNewton(hess, x0.size) if isinstance(hess, HessianUpdateStrategy) else None
        )
        self._hess = hess

    @property
    def approximate(self) -> bool:
        return self._quasi is not None

    def value(self, x: Array) -> Array:
        difference: Array = self.raw(x) - self.target
        return difference

    def _raw(self, x: Array) -> Array:
        return np.asarray(self._any(x).real, dtype=np.float64)

    def _any(self, x: Any) -> Any:
        self.nfev += 1
        values = np.atleast_1d(_numbers(self._fun(x.copy()), "a constraint function"))
        if values.ndim != 1:
            raise ValueError(
                f"a constraint function must return a vector; it returned shape {values.shape}."
            )
        if hasattr(self, "m") and values.size != self.m:
            raise ValueError(
                f"a constraint function returned {values.size} values; at x0 it had {self.m}."
            )
        return values

    def _jacobian(self, x: Array) -> Array:
        if callable(self._jac_given):
            return np.asarray(self._user_jacobian(x).real, dtype=np.float64)
        at_x = None if self._jac_given == "cs" else self.raw(x)
        return derivative(self._any, x, self._jac_given, self._rel_step, at_x)

    def _user_jacobian(self, x: Any) -> Any:
        self.njev += 1
        value = self._jac_given(x.copy())
        if isinstance(value, LinearOperator):
            value = value @ np.eye(self._n)
        matrix = np.atleast_2d(_numbers(value, "jac of a constraint"))
        if matrix.shape != (self.m, self._n):
            raise ValueError(
                f"jac of a constraint must return a matrix of shape ({self.m}, {self._n}); "
                f"it returned shape {matrix.shape}."
            )
        return matrix

    def hessian(self, x: Array, v: Array, follow: bool) -> Any:
        """sum_i v_i Hess c_i, or None for zero; `follow` lets a quasi-Newton matrix learn."""
        if self._hess is None or not np.any(v):
            return None
        if self._quasi is not None:
            return self._quasi(x, lambda z: self.jacobian_at(z).T @ v) if follow else None
        if callable(self._hess):
            self.nhev += 1
            return _checked_hessian(self._hess(x.copy(), v.copy()), self._n, "a constraint")

        def gradient(z: Any) -> Any:
            return self._user_jacobian(z).T @ v

        return derivative(gradient, x, self._hess, self._rel_step, self.jacobian(x).T @ v)

    def jacobian_at(self, x: Array) -> Array:
        """The Jacobian at x or at the point before it, from memory."""
        key = x.tobytes()
        store: dict[bytes, Array] = self.__dict__.setdefault("_recent", {})
        if key not in store:
            store[key] = self.jacobian(x)
            while len(store) > 2:
                store.pop(next(iter(store)))
        return store[key]


class Linear(Equality):
    """A x = b."""

    def __init__(self, matrix: Any, target: ArrayLike, x0: Array) -> None:
        if issparse(matrix):
            matrix = checked_sparse(matrix, "A of a LinearConstraint").toarray()
        checked = np.atleast_2d(numbers("A of a LinearConstraint", matrix))
        if checked.ndim != 2 or checked.shape[1] != x0.size:
            raise ValueError(
                f"A of a LinearConstraint must have {x0.size} columns, one for each variable; "
                f"its shape is {checked.shape}."
            )
        self._matrix: Array = np.ascontiguousarray(checked, dtype=np.float64)
        if not np.all(np.isfinite(self._matrix)):
            raise ValueError("A of a LinearConstraint must be finite.")
        super().__init__(lambda x: self._matrix @ x, lambda x: self._matrix, None, target, x0)


def _equal_limits(constraint: Any, what: str) -> Array:
    lower, upper = np.broadcast_arrays(*limits(constraint))
    if not np.array_equal(lower, upper) or not np.all(np.isfinite(lower)):
        raise ValueError(_EQUALITIES_ONLY.format(what=f"{what} has lb != ub (an inequality)"))
    target: Array = lower
    return target


def _default_hess(jac: Any, n: int) -> Any:
    return "2-point" if callable(jac) and n <= _DIFFERENCES_UP_TO else SR1()


def _read_dict(constraint: dict[str, Any], x0: Array) -> Equality:
    kind = str(constraint.get("type", "")).lower()
    if kind == "ineq":
        raise ValueError(_EQUALITIES_ONLY.format(what="a dict has type 'ineq'"))
    if kind != "eq" or not callable(constraint.get("fun")):
        raise ValueError(
            "a constraint given as a dict needs 'type': 'eq' and a callable 'fun'; got type "
            f"{constraint.get('type')!r}."
        )
    args = constraint.get("args", ())
    args = tuple(args) if isinstance(args, Iterable) else (args,)
    fun, jac = constraint["fun"], constraint.get("jac") or "2-point"
    user_jac = (lambda x: jac(x, *args)) if callable(jac) else jac
    hess = constraint.get("hess")
    if callable(hess):
        user_hess: Any = lambda x, v: hess(x, v, *args)  # noqa: E731
    else:
        user_hess = _default_hess(jac, x0.size) if hess is None else hess
    return Equality(lambda x: fun(x, *args), user_jac, user_hess, 0.0, x0)


def _read_one(constraint: Any, x0: Array) -> Equality:
    if isinstance(constraint, dict):
        return _read_dict(constraint, x0)
    if isinstance(constraint, LinearConstraint):
        return Linear(constraint.A, _equal_limits(constraint, "a LinearConstraint"), x0)
    if isinstance(constraint, NonlinearConstraint):
        limits = _equal_limits(constraint, "a NonlinearConstraint")
        jac, hess = constraint.jac, constraint.hess
        if _is_scheme(jac) and _is_scheme(hess):
            raise ValueError(_QUASI_NEWTON_NEEDED)
        if hess is None:
            hess = _default_hess(jac, x0.size)
        if not (callable(hess) or _is_scheme(hess) or isinstance(hess, HessianUpdateStrategy)):
            raise ValueError(f"hess of a NonlinearConstraint makes no sense: {hess!r}.")
        if type(hess) is BFGS and callable(jac) and x0.size <= _DIFFERENCES_UP_TO:
            # SciPy's default when the user gave no hess: differences of an exact jac are better.
            hess = "2-point"
        step = constraint.finite_diff_rel_step
        return Equality(constraint.fun, jac, hess, limits, x0, step)
    if isinstance(constraint, Bounds):
        raise ValueError(_EQUALITIES_ONLY.format(what="Bounds are inequalities"))
    raise ValueError(
        "`constraint` of an unknown type is passed: constraints must be LinearConstraint, "
        "NonlinearConstraint, a dict with 'type': 'eq' and 'fun', or a sequence of these; got "
        f"{type(constraint).__name__}."
    )


def read_equalities(constraints: Any, x0: Array) -> list[Equality]:
    single = isinstance(constraints, (dict, Bounds, LinearConstraint, NonlinearConstraint))
    if not single and not isinstance(constraints, Iterable):
        return [_read_one(constraints, x0)]
    return [_read_one(one, x0) for one in ([constraints] if single else list(constraints))]


def refuse_bounds(bounds: Any, n: int) -> None:
    """Bounds that bind nothing pass; bounds that make no sense are told apart from useful ones."""
    if bounds is None:
        return
    box = read_box(bounds, None, n)
    if np.isfinite(box.lower).any() or np.isfinite(box.upper).any():
        raise ValueError(_EQUALITIES_ONLY.format(what="bounds are inequalities"))


# ---- what the core calls -----------------------------------------------------------------------


class Functions:
    """fun, grad, cons, jac, hess and nfev of a problem."""

    def __init__(
        self,
        objective: Objective,
        constraints: list[Equality],
        n: int,
        place: Place | None = None,
    ) -> None:
        self.objective, self.constraints, self.n, self._place = objective, constraints, n, place
        ends = list(itertools.accumulate((c.m for c in constraints), initial=0))
        self.m = ends[-1]
        self._parts = [slice(*pair) for pair in itertools.pairwise(ends)]

    @property
    def nfev(self) -> int:
        return self.objective.nfev

    @property
    def approximate(self) -> bool:
        return self.objective.approximate or any(c.approximate for c in self.constraints)

    def fun(self, x: Array) -> float:
        return float(self.objective.value(x))

    def grad(self, x: Array) -> Array:
        gradient: Array = self.objective.gradient(x)
        return gradient

    def cons(self, x: Array) -> Array:
        return np.concatenate([c.value(x) for c in self.constraints])

    def jac(self, x: Array) -> Array:
        return np.concatenate([c.jacobian(x) for c in self.constraints])

    def hess(self, x: Array, sigma: float, multipliers: Array) -> Any:
        total = Sum(self.n, self._place)
        if sigma != 0.0:
            total.add(sigma, self.objective.hessian(x))
        for c, v in zip(self.constraints, self.split(multipliers), strict=True):
            part = c.hessian(x, v, follow=sigma != 0.0)
            if part is not None:
                total.add(1.0, part)
        return total.form()

    def split(self, values: Array) -> list[Array]:
        """One array for each constraint object."""
        return [values[part] for part in self._parts]

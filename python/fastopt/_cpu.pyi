"""The CPU core; only `_backend` imports it."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .distributed import Ranks

_Array = NDArray[np.float64]
_Points = NDArray[Any]

class CboOptions:
    dtype: str
    n_particles: int
    dynamics: str
    noise: str
    drift: float
    diffusion: float
    diffusion_factor: float
    alpha: float
    alpha_factor: float
    alpha_max: float
    alpha_schedule: Sequence[float]
    ess: float
    truncation: float
    memory_drift: float
    memory_diffusion: float
    batch_size: int
    batch_mode: str
    gradient_weight: float
    kernel_width: float
    n_minimizers: int
    samples: bool
    boundary: str
    init: str
    polish: bool
    maxiter: int
    maxfev: int
    maxtime: float
    f_target: float
    tol: float
    atol: float
    key0: int
    key1: int
    threads: int
    record_history: bool
    def __init__(self) -> None: ...

class BackendError(RuntimeError): ...

class Objective:
    def evaluate(self, X: _Points, threads: int = 0) -> Any: ...

class Record:
    @property
    def nit(self) -> int: ...
    @property
    def nfev(self) -> int: ...
    @property
    def x(self) -> _Array: ...
    @property
    def fun(self) -> float: ...
    @property
    def violation(self) -> float: ...
    @property
    def spread(self) -> float: ...
    @property
    def alpha(self) -> float: ...
    @property
    def consensus(self) -> _Array: ...
    @property
    def step_size(self) -> float: ...
    def state(self) -> dict[str, NDArray[Any]]: ...

class AdmmOptions:
    rho: float
    rho_cone: float
    rho_start: float
    tol: float
    gap_tol: float
    maxiter: int
    maxtime: float
    relaxation: float
    memory: int
    polish: bool
    record_history: bool
    max_dense: int
    def __init__(self) -> None: ...

class AdmmRecord:
    @property
    def nit(self) -> int: ...
    @property
    def fun(self) -> float: ...
    @property
    def dual_fun(self) -> float: ...
    @property
    def primal_residual(self) -> float: ...
    @property
    def dual_residual(self) -> float: ...
    @property
    def weights(self) -> _Array: ...

class ReluProgram:
    def __init__(
        self,
        X: _Array,
        gates: _Array,
        Y: _Array,
        weights: _Array | None = None,
        loss: str = "squared",
        parameter: float = 1.0,
        cone: bool = True,
        signs: int = 2,
        single_columns: bool = False,
        radius: _Array | None = None,
        threads: int = 0,
        ranks: Ranks | None = None,
        shard: str = "gates",
    ) -> None: ...
    def solve(
        self,
        method: str,
        beta: float,
        dtype: str,
        options: AdmmOptions,
        warm: _Array | None = None,
        monitor: Callable[[AdmmRecord], bool] | None = None,
    ) -> dict[str, Any]: ...
    def beta_max(self, cones: bool = True) -> float: ...
    def dual_norm(self, theta: _Array, level: float = 0.0) -> float: ...
    def dual(self, theta: _Array, beta: float) -> float: ...
    def conjugate(self, theta: _Array) -> float: ...
    def loss(self, predictions: _Array) -> float: ...
    def gradient(self, predictions: _Array) -> _Array: ...
    def prox(self, r: _Array, rho: float) -> _Array: ...
    def objective(self, weights: _Array, beta: float) -> float: ...
    def violation(self, weights: _Array) -> float: ...
    def make_feasible(self, weights: _Array) -> _Array: ...

def sample_gates(
    X: _Array,
    n_gates: int,
    key0: int,
    key1: int,
    stream: int = 0,
    known: _Array | None = None,
    threads: int = 0,
    ranks: Ranks | None = None,
) -> _Array: ...
def gate_patterns(X: _Array, gates: _Array, threads: int = 0) -> _Array: ...
def ascend_gates(
    X: _Array,
    theta: _Array,
    starts: _Array,
    known: _Array,
    threads: int = 0,
    maxtime: float = ...,
) -> _Array: ...
def native_objective(
    name: str, dim: int, shift: _Array | None = None, rotation: _Array | None = None
) -> Objective: ...
def cfunc_objective(
    address: int, user_data: int, has_user_data: bool, owner: object
) -> Objective: ...
def batch_objective(
    fn: Callable[[_Points, _Array, _Array | None], None], constrained: bool = False
) -> Objective: ...
def cbo(
    objective: Objective,
    options: CboOptions,
    lower: _Array,
    upper: _Array,
    *,
    integrality: NDArray[np.bool_] | None = None,
    init: _Points | None = None,
    x0: _Array | None = None,
    monitor: Callable[[Record], bool] | None = None,
    local_search: Callable[[_Array, int], tuple[_Array, float, float, int]] | None = None,
    gradient: Callable[[_Points, _Points], None] | None = None,
    state: dict[str, NDArray[Any]] | None = None,
    poll: Callable[[], None] | None = None,
    comm: Ranks | None = None,
) -> dict[str, Any]: ...
def fill_normal(
    n: int,
    key0: int,
    key1: int,
    iteration: int = 0,
    stream: int = 0,
    first: int = 0,
    dtype: str = "float64",
) -> _Points: ...
def fill_uniform(
    n: int,
    key0: int,
    key1: int,
    iteration: int = 0,
    stream: int = 0,
    first: int = 0,
    dtype: str = "float64",
) -> _Points: ...
def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]: ...
def isa() -> str: ...
def info() -> dict[str, Any]: ...

class Queue: ...

class Matrix:
    @overload
    def __init__(self, A: _Points, queue: Queue | None = None) -> None: ...
    @overload
    def __init__(
        self,
        data: _Points,
        indices: NDArray[np.int32],
        indptr: NDArray[np.int64],
        cols: int,
        queue: Queue | None = None,
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    def join_ranks(self, ranks: Ranks) -> None: ...
    def sketch(
        self,
        size: int,
        kind: str,
        nonzeros: int,
        key0: int,
        key1: int,
        threads: int = 0,
        scale: _Points | None = None,
        probabilities: _Array | None = None,
    ) -> _Points: ...
    def row_probabilities(self, key0: int, key1: int, threads: int = 0) -> _Array: ...
    def gram(self, w: _Array, threads: int = 0) -> _Array: ...
    def multiply_gram(self, w: _Array, v: _Array, threads: int = 0) -> _Array: ...

class Glm:
    def __init__(
        self,
        A: Matrix,
        y: _Array,
        sample_weight: _Array | None,
        family: str,
        l2: float,
        factor: float,
        threads: int,
    ) -> None: ...
    def value(self, x: _Array) -> float: ...
    def gradient(self, x: _Array) -> _Array: ...
    def weights(self, x: _Array) -> _Array: ...

def sketch_adjoint(
    n: int,
    y: _Array,
    kind: str,
    nonzeros: int,
    key0: int,
    key1: int,
    probabilities: _Array | None = None,
) -> _Array: ...
def lstsq(
    A: Matrix,
    b: _Array,
    sketch: str,
    sketch_size: int,
    nonzeros: int,
    rcond: float,
    maxiter: int,
    key0: int,
    key1: int,
    threads: int,
) -> list[dict[str, Any]]: ...
def sketch_newton(
    functions: Any,
    x0: _Array,
    m: int,
    options: dict[str, Any],
    monitor: Callable[[dict[str, Any]], bool] | None = None,
    queue: Queue | None = None,
) -> dict[str, Any]: ...

"""One problem on several processes: ``cbo(..., comm=)``, ``admm_relu(..., comm=)``, ``GLM(comm=)``.

Every process (rank) calls the same function with the same arguments but for what is its own share.
Launched by ``mpiexec`` with mpi4py, by ``torchrun`` with torch.distributed, or by anything that can
offer the four members of `Communicator`. Nothing here starts processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Communicator", "RankError", "mpi", "torch"]

Numbers = NDArray[np.float64]
_Exchange = Callable[[Numbers], Numbers]
_T = TypeVar("_T")


class RankError(RuntimeError):
    """Another rank failed, called something else, or did not answer in time."""


@runtime_checkable
class Communicator(Protocol):
    """What a communicator needs: who this process is, and two exchanges.

    Both are collective: all ranks call them in the same order with float64 arrays of one shape.

    Attributes
    ----------
    rank : int
        This process, from 0.
    size : int
        The number of processes.
    """

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    def allgather(self, array: Numbers, /) -> Numbers:
        """Return the arrays of all ranks, in their order: shape ``(size, *array.shape)``."""
        ...

    def allreduce(self, array: Numbers, /) -> Numbers:
        """Return the sum of the arrays of all ranks, with the same bits on each."""
        ...


def mpi(comm: Any = None, *, timeout: float | None = None) -> Communicator:
    """Return the communicator of an MPI program.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        Default: ``MPI.COMM_WORLD``. The functions of fastopt take it as it is; this function is for
        a `timeout`.
    timeout : float, optional
        Seconds that one exchange may take before it raises `RankError`; it holds for the slowest
        rank's work between two exchanges too. Default: no limit, since the launcher ends all ranks
        when one dies.

    Raises
    ------
    ImportError
        Where mpi4py is missing.
    """
    module = _import("mpi4py.MPI", "mpi")
    return _Mpi(module, module.COMM_WORLD if comm is None else comm, _seconds(timeout))


def torch(group: Any = None, *, timeout: float | None = None) -> Communicator:
    """Return the communicator of an initialised ``torch.distributed`` process group.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        Default: the group of all processes. The functions of fastopt take it as it is; this
        function is for a `timeout`. With the backend nccl the numbers travel through the current
        CUDA device.
    timeout : float, optional
        Seconds that one exchange may take before it raises `RankError`. Default: the group's own.

    Raises
    ------
    ImportError
        Where torch is missing.
    ValueError
        Before ``torch.distributed.init_process_group``.
    """
    module = _import("torch", "torch")
    if not module.distributed.is_available() or not module.distributed.is_initialized():
        raise ValueError(
            "comm: torch.distributed has no process group yet: call "
            "torch.distributed.init_process_group first"
        )
    return _Torch(module, group, _seconds(timeout))


def _import(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ImportError(
            f"fastopt.distributed.{extra} needs {name}: pip install 'fastopt[{extra}]' ({error})"
        ) from error


def _seconds(timeout: float | None) -> float:
    if timeout is None:
        return np.inf
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds or None, got {timeout!r}")
    return float(timeout)


class _Adapter:
    """Waits for exchanges: Ctrl-C works meanwhile, and long waits cost little.

    A rank that is interrupted while it waits goes on for a moment, so that the exchange is complete
    and the others can be told at the next one; after that the communicator is of no more use.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.interrupted = False  # Ctrl-C came, and nobody has been told yet
        self.broken = False  # an exchange was left half-way

    def _wait(self, finished: Callable[[], bool]) -> None:
        start = time.monotonic()
        limit = self._timeout
        while True:
            try:
                while not finished():
                    waited = time.monotonic() - start
                    if waited > limit:
                        self.broken = True
                        raise KeyboardInterrupt if self.interrupted else _no_answer(limit)
                    if waited > 2e-4:
                        time.sleep(min(1e-3, waited / 10))
                return
            except KeyboardInterrupt:
                if self.interrupted:
                    self.broken = True
                    raise
                self.interrupted = True
                limit = min(limit, time.monotonic() - start + _GRACE)


_GRACE = 0.4  # seconds


def _no_answer(limit: float) -> RankError:
    return RankError(
        f"no answer from the other ranks within {limit:g} seconds: one of them has died, or works "
        "for longer than timeout"
    )


class _Mpi(_Adapter):
    def __init__(self, module: Any, comm: Any, timeout: float) -> None:
        super().__init__(timeout)
        self._comm, self._sum = comm, module.SUM
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())

    def allgather(self, array: Numbers) -> Numbers:
        out = np.empty((self.size, *array.shape))
        self._wait(self._comm.Iallgather(np.ascontiguousarray(array), out).Test)
        return out

    def allreduce(self, array: Numbers) -> Numbers:
        out = np.empty_like(array, order="C")
        self._wait(self._comm.Iallreduce(np.ascontiguousarray(array), out, op=self._sum).Test)
        return out


class _Torch(_Adapter):
    def __init__(self, module: Any, group: Any, timeout: float) -> None:
        super().__init__(timeout)
        self._torch, self._group = module, group
        self.rank = int(module.distributed.get_rank(group))
        self.size = int(module.distributed.get_world_size(group))
        self._device = "cuda" if module.distributed.get_backend(group) == "nccl" else "cpu"

    def allgather(self, array: Numbers) -> Numbers:
        mine = self._tensor(array)
        parts = [self._torch.empty_like(mine) for _ in range(self.size)]
        self._finish(lambda d: d.all_gather(parts, mine, group=self._group, async_op=True))
        return np.stack([part.cpu().numpy() for part in parts])

    def allreduce(self, array: Numbers) -> Numbers:
        mine = self._tensor(array)
        self._finish(lambda d: d.all_reduce(mine, group=self._group, async_op=True))
        out: Numbers = mine.cpu().numpy()
        return out

    def _tensor(self, array: Numbers) -> Any:
        return self._torch.tensor(array, dtype=self._torch.float64, device=self._device)

    def _finish(self, start: Callable[[Any], Any]) -> None:
        try:
            work = start(self._torch.distributed)
            self._wait(work.is_completed)
            work.wait()
        except RankError:
            raise
        except RuntimeError as error:  # a lost connection
            self.broken = True
            raise RankError(f"the exchange with the other ranks broke off: {error}") from error


def _adapter(comm: Any) -> Communicator:
    """The four members of whatever a user passed as ``comm=``."""
    if hasattr(comm, "Get_rank") and hasattr(comm, "Iallgather"):
        return mpi(comm)
    module = sys.modules.get("torch")
    if (
        module is not None
        and module.distributed.is_available()
        and isinstance(comm, module.distributed.ProcessGroup)
    ):
        return torch(comm)
    if isinstance(comm, Communicator):
        return comm
    raise TypeError(
        "comm must be an mpi4py communicator, a torch.distributed process group, or an object with "
        "rank, size, allgather and allreduce (fastopt.distributed.Communicator), got "
        f"{' '.join(repr(comm).split()):.60}"
    )


_GATHER, _REDUCE, _END, _FAILED = 1.0, 2.0, 3.0, 4.0
_NAMES = {_GATHER: "allgather", _REDUCE: "allreduce", _END: "the end", _FAILED: "a failure"}
_MESSAGE = 400  # characters of an error that travel
_PIECE = 1 << 20  # numbers of one exchange of something long


class Ranks:
    """A communicator whose exchanges cannot be mixed up and never leave a failed rank waited for.

    Every exchange is preceded by one of two numbers, what a rank means to do and how many numbers
    it brings. A rank that fails says so there, whatever the others are about to do, and they raise
    `RankError` with its message; so do all when their plans differ.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self.rank, self.size = int(comm.rank), int(comm.size)
        self.inside = False  # a block of `ranks`
        self._ended = False  # nobody waits for this rank any more
        self._owed: tuple[_Exchange, Numbers] | None = None  # announced, and not yet over
        if not 0 <= self.rank < self.size:
            raise ValueError(f"comm: rank must be in 0 .. size - 1, got {self.rank} of {self.size}")

    def allgather(self, array: Numbers) -> Numbers:
        return self._exchange(_GATHER, self._comm.allgather, array)

    def allreduce(self, array: Numbers) -> Numbers:
        return self._exchange(_REDUCE, self._comm.allreduce, array)

    def from_first(self, make: Callable[[], _T]) -> _T:
        """Return what `make` returned on rank 0, which alone calls it; pickled on its way."""
        made = make() if self.rank == 0 else None
        packed = pickle.dumps(made) if self.rank == 0 else b""
        length = int(self.allgather(np.array([float(len(packed))]))[0, 0])
        # Four bytes a number, which sums with zeros leave as they are, and a sum takes no more
        # memory for many ranks than for two.
        words = np.zeros(-(-length // 4), dtype=np.uint32)
        words.view(np.uint8)[: len(packed)] = np.frombuffer(packed, dtype=np.uint8)
        for start in range(0, words.size, _PIECE):
            piece = slice(start, start + _PIECE)
            words[piece] = self.allreduce(words[piece].astype(np.float64)).astype(np.uint32)
        if self.rank == 0:
            return made  # type: ignore[return-value]
        received: _T = pickle.loads(words.tobytes()[:length])
        return received

    def most(self, value: float) -> float:
        """Return the largest `value` of all ranks: of yes and no, whether one says yes."""
        return float(self.allgather(np.array([float(value)])).max())

    def same(self, name: str, value: _T) -> _T:
        """Return `value`, which must be equal on all ranks; ValueError on all where it is not."""
        words = repr(value)
        if len(words) > _MESSAGE // 2:
            digest = hashlib.sha256(words.encode()).hexdigest()
            words = f"{words[: _MESSAGE // 4]}... (SHA-256 {digest[:16]})"
        text = _encoded(words)
        for rank, other in enumerate(self.allgather(text)):
            if not np.array_equal(other, text):
                raise ValueError(
                    f"{name} must be the same on all ranks, got {_text(text)} on rank {self.rank} "
                    f"and {_text(other)} on rank {rank}"
                )
        return value

    def same_each(self, values: Mapping[str, Any]) -> None:
        """Demand that all of `values` are equal on all ranks; ValueError on all names the first."""
        words = repr(sorted(values.items()))
        digest = hashlib.sha256(words.encode()).digest()[:16]
        digests = self.allgather(np.frombuffer(digest, dtype=np.uint16))
        if np.all(digests == digests[0]):
            return
        self.same("the options given", sorted(values))
        for name in sorted(values):
            self.same(name, values[name])

    def begin(self) -> None:
        self.inside, self._ended, self._owed = True, False, None

    def end(self) -> None:
        """Wait for all to arrive here: afterwards nobody needs this rank any more."""
        self._announce(_END, 0)
        self._ended = True
        self._heed_interrupt()

    def failed(self, error: BaseException) -> None:
        """Tell the others, who wait for this rank or will, that it leaves with `error`."""
        if self._ended or self._is("broken"):
            return
        with contextlib.suppress(Exception):  # they are gone too
            if self._owed is not None:  # they are in the exchange that this rank broke off
                exchange, array = self._owed
                exchange(array)
            self._gather(np.array([_FAILED, 0.0]))
            self._gather(_encoded(f"{type(error).__name__}: {error}"))

    def _exchange(self, plan: float, exchange: _Exchange, array: Numbers) -> Numbers:
        mine = np.ascontiguousarray(array, dtype=np.float64)
        self._announce(plan, mine.size)
        self._owed = exchange, mine
        out = np.asarray(exchange(mine), dtype=np.float64)
        self._owed = None
        return out

    def _gather(self, array: Numbers) -> Numbers:
        return np.asarray(self._comm.allgather(array), dtype=np.float64)

    def _is(self, state: str) -> bool:
        return bool(getattr(self._comm, state, False))  # of our own adapters

    def _heed_interrupt(self) -> None:
        if self._is("interrupted"):
            self._comm.interrupted = False  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    def _announce(self, plan: float, count: int) -> None:
        if self._is("broken"):
            raise RankError("comm: an earlier exchange was left half-way: make a new communicator")
        self._heed_interrupt()
        plans = self._gather(np.array([plan, float(count)]))
        if plans.shape != (self.size, 2):
            raise ValueError(
                f"comm.allgather must return one row for each rank, shape {(self.size, 2)}, got "
                f"{plans.shape}"
            )
        failed = np.flatnonzero(plans[:, 0] == _FAILED)
        if failed.size:
            messages = self._gather(np.zeros(_MESSAGE))
            raise RankError(
                "; ".join(f"rank {rank} failed with {_text(messages[rank])}" for rank in failed)
            )
        if np.any(plans != plans[0]):
            told = "; ".join(
                f"rank {rank}: {_NAMES.get(kind, kind)} of {int(n)} numbers"
                for rank, (kind, n) in enumerate(plans)
            )
            raise RankError(
                f"the ranks are at different places ({told}): all must make the same calls with "
                "the same options"
            )


class Alone:
    """The same for a process without others: nothing is exchanged."""

    rank, size = 0, 1

    def from_first(self, make: Callable[[], _T]) -> _T:
        return make()

    def most(self, value: float) -> float:
        return float(value)

    def same_each(self, values: Mapping[str, Any]) -> None:
        pass


def _encoded(text: str) -> Numbers:
    out = np.zeros(_MESSAGE)
    characters = np.frombuffer(text.encode()[:_MESSAGE], dtype=np.uint8)
    out[: characters.size] = characters
    return out


def _text(numbers: Numbers) -> str:
    return bytes(numbers.astype(np.uint8)).rstrip(b"\0").decode(errors="replace")


def join(comm: Any) -> Ranks | None:
    """The `Ranks` of a user's ``comm=``; None for None."""
    return comm if comm is None or isinstance(comm, Ranks) else Ranks(_adapter(comm))


@contextlib.contextmanager
def ranks(comm: Any) -> Iterator[Ranks | None]:
    """The same while a solver runs.

    All ranks leave together: by the end of the block, or because one of them raised in it. A block
    within one of the same `Ranks` is a part of it.
    """
    joined = join(comm)
    if joined is None or joined.inside:
        yield joined
        return
    joined.begin()
    try:
        yield joined
        joined.end()
    except RankError:
        raise
    except BaseException as error:
        joined.failed(error)
        raise
    finally:
        joined.inside = False

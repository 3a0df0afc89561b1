"""The exchanges of fastopt.distributed: a failure on one rank ends all, and nothing is mixed up."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from launched_ranks import KINDS, Launch, require
from thread_ranks import on_ranks, results_of

from fastopt import distributed
from fastopt.distributed import RankError, Ranks


@pytest.mark.parametrize("size", [1, 2, 3])
def test_exchanges(size):
    def both(comm):
        with distributed.ranks(comm) as ranks:
            mine = np.arange(3.0) + ranks.rank
            return ranks.allgather(mine), ranks.allreduce(mine)

    for gathered, reduced in results_of(size, both):
        np.testing.assert_array_equal(gathered, np.arange(3.0) + np.arange(size)[:, None])
        np.testing.assert_array_equal(reduced, gathered.sum(axis=0))


def test_a_failure_reaches_the_others_wherever_they_are():
    def run(comm):
        with distributed.ranks(comm) as ranks:
            ranks.allreduce(np.ones(4))
            if ranks.rank == 1:
                raise KeyError("mine")
            ranks.allgather(np.ones(10))

    other, own, third = on_ranks(3, run)
    assert isinstance(own, KeyError) and own.args == ("mine",)
    for error in (other, third):
        assert isinstance(error, RankError) and "rank 1 failed with KeyError: 'mine'" in str(error)


def test_whole_numbers_are_sent_as_numbers():
    def run(comm):
        with distributed.ranks(comm) as ranks:
            return ranks.allgather(np.arange(3)), ranks.allreduce(np.arange(3))

    for gathered, reduced in results_of(2, run):
        np.testing.assert_array_equal(gathered, [[0, 1, 2]] * 2)
        np.testing.assert_array_equal(reduced, [0, 2, 4])


def test_what_the_first_rank_makes_is_everybodys():
    made = {"x": np.array([-0.0, np.nan, 1e-320]), "words": "ünïcode" * 300_000, 3: None}

    def run(comm):
        with distributed.ranks(comm) as ranks:
            calls = []
            got = ranks.from_first(lambda: calls.append(1) or made)
            return got, len(calls), ranks.most(ranks.rank), ranks.most(False)

    for rank, (got, calls, one, none) in enumerate(results_of(3, run)):
        assert got["x"].tobytes() == made["x"].tobytes() and got["words"] == made["words"]
        assert calls == (rank == 0) and one == 2.0 and not none


def test_a_rank_that_fails_within_an_exchange_pays_what_it_owes():
    """Out of memory, for example: the others are already in the exchange."""

    def run(comm):
        exchange, failures = comm.allgather, []

        def allgather(array):
            if array.size == 7 and comm.rank == 1 and not failures:
                failures.append(1)
                raise MemoryError("no room")
            return exchange(array)

        comm.allgather = allgather
        with distributed.ranks(comm) as ranks:
            ranks.allgather(np.ones(7))
            ranks.allgather(np.ones(2))

    other, own = on_ranks(2, run)
    assert isinstance(own, MemoryError)
    assert isinstance(other, RankError) and "rank 1 failed with MemoryError: no room" in str(other)


def test_an_interrupt_at_the_very_end_is_not_lost():
    comm = distributed._Adapter(np.inf)
    comm.rank, comm.size, exchanges = 0, 1, []

    def allgather(array):
        exchanges.append(array)
        comm.interrupted = True
        return array[None]

    comm.allgather = comm.allreduce = allgather
    with pytest.raises(KeyboardInterrupt), distributed.ranks(comm):
        pass
    assert len(exchanges) == 1  # the others have left


def test_a_failure_after_the_last_exchange_reaches_the_others():
    def run(comm):
        with distributed.ranks(comm) as ranks:
            if ranks.rank == 0:
                raise SystemExit(3)

    own, other = on_ranks(2, run)
    assert isinstance(own, SystemExit)
    assert isinstance(other, RankError) and "rank 0 failed with SystemExit: 3" in str(other)


def test_ranks_at_different_places_are_told_so():
    def run(comm):
        with distributed.ranks(comm) as ranks:
            ranks.allgather(np.ones(2 + ranks.rank))

    for error in on_ranks(2, run):
        assert isinstance(error, RankError)
        assert "rank 0: allgather of 2 numbers; rank 1: allgather of 3 numbers" in str(error)


def test_the_same_value_is_demanded_of_all_ranks():
    def run(comm):
        with distributed.ranks(comm) as ranks:
            ranks.same("maxiter", 7)
            ranks.same("x0", (1.5, "x" * 1000 + str(ranks.rank)))

    for error in on_ranks(2, run):
        assert isinstance(error, ValueError) and "x0 must be the same on all ranks" in str(error)


def test_many_values_are_compared_in_one_exchange_until_they_differ():
    def run(comm):
        with distributed.ranks(comm) as ranks:
            ranks.same_each({"tol": 1e-8, "maxiter": 5})
            ranks.same_each({"tol": 1e-8, "maxiter": 5 + ranks.rank})

    for rank, error in enumerate(on_ranks(2, run)):
        assert isinstance(error, ValueError), error
        assert f"maxiter must be the same on all ranks, got {5 + rank} on rank" in str(error)

    def other_names(comm):
        with distributed.ranks(comm) as ranks:
            ranks.same_each({"tol": 1.0} if ranks.rank else {"atol": 1.0})

    for error in on_ranks(2, other_names):
        assert isinstance(error, ValueError) and "the options given" in str(error)


@pytest.mark.parametrize("comm", [3, "world", object()])
def test_what_is_no_communicator_is_refused(comm):
    with pytest.raises(TypeError, match=r"comm must be an mpi4py communicator, .* got "):  # noqa: SIM117
        with distributed.ranks(comm):
            raise AssertionError


def test_a_communicator_that_lies_is_refused():
    class Lies:
        rank, size = 0, 2

        def allgather(self, array):
            return array

        allreduce = allgather

    with pytest.raises(ValueError, match="must return one row for each rank"):
        Ranks(Lies()).allgather(np.ones(2))
    Lies.rank = 2
    with pytest.raises(ValueError, match=r"rank must be in 0 \.\. size - 1, got 2 of 2"):
        Ranks(Lies())


def test_a_rank_that_waits_can_be_interrupted_and_tells_the_others():
    comm = distributed._Adapter(np.inf)
    answers = iter([False, KeyboardInterrupt, True])

    def finished():
        answer = next(answers)
        if answer is KeyboardInterrupt:
            raise answer
        return answer

    comm._wait(finished)  # the exchange is completed first
    comm.rank, comm.size, told = 0, 1, []
    comm.allgather = comm.allreduce = lambda array: told.append(array) or array[None]
    with pytest.raises(KeyboardInterrupt), distributed.ranks(comm) as ranks:
        ranks.allgather(np.ones(2))
    assert told[0][0] == distributed._FAILED
    assert not comm.interrupted and not comm.broken


def test_a_wait_has_an_end():
    comm = distributed._Adapter(0.01)
    with pytest.raises(RankError, match=r"no answer from the other ranks within 0\.01 seconds"):
        comm._wait(lambda: False)
    comm.rank, comm.size = 0, 1
    with pytest.raises(RankError, match="make a new communicator"):
        Ranks(comm).end()


@pytest.mark.parametrize("timeout", [0, -1, True, "1", np.nan])
def test_bad_timeouts(timeout):
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds or None"):
        distributed._seconds(timeout)


@pytest.mark.parametrize("extra, module", [("mpi", "mpi4py.MPI"), ("torch", "torch")])
def test_missing_packages_name_the_extra(monkeypatch, extra, module):
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'fastopt\[{extra}\]'"):
        getattr(distributed, extra)()


# ---- real launchers ----------------------------------------------------------------------------


def fail_on_the_second(comm):
    with distributed.ranks(comm) as ranks:
        ranks.allreduce(np.ones(3))
        if ranks.rank == 1:
            raise ValueError("mine alone")
        ranks.allgather(np.ones(50))


def interrupt_the_second(comm):
    with distributed.ranks(comm) as ranks:
        ranks.allreduce(np.ones(3))
        if ranks.rank == 1:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            time.sleep(6)  # longer than the one that is interrupted goes on waiting
        ranks.allreduce(np.ones(3))


def never_answer(comm):
    timed = getattr(distributed, "mpi" if hasattr(comm, "Get_rank") else "torch")(comm, timeout=0.5)
    with distributed.ranks(timed) as ranks:
        if ranks.rank == 1:
            time.sleep(3)
        ranks.allreduce(np.ones(3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_process_ends_the_others(kind, tmp_path):
    require(kind)
    with Launch(kind, 2, fail_on_the_second, folder=tmp_path) as launch:
        assert any(launch.wait())
        first, second = launch.answers()
        assert second == (None, "ValueError: mine alone"), launch.log()
        # mpi4py ends the job at the first error, perhaps before the other rank has said its own.
        if kind == "torch" or first is not None:
            assert first[1] == "RankError: rank 1 failed with ValueError: mine alone"


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_ends_a_rank_that_waits_and_the_others(kind, tmp_path):
    require(kind)
    with Launch(kind, 2, interrupt_the_second, folder=tmp_path) as launch:
        assert any(launch.wait())
        first, second = launch.answers()
        assert second == (None, "KeyboardInterrupt: "), launch.log()
        if kind == "torch":  # mpiexec kills the others itself
            assert first[1].startswith("RankError: ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_timeout_is_kept(kind, tmp_path):
    require(kind)
    with Launch(kind, 2, never_answer, folder=tmp_path) as launch:
        assert any(launch.wait())
        assert launch.answers()[0][1].startswith(
            "RankError: no answer from the other ranks within 0.5 seconds"
        ), launch.log()

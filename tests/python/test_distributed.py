"""The exchanges of fastopt.distributed: a failure on one rank ends all, and nothing is mixed up."""

import sys

import numpy as np
import pytest
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

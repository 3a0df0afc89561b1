"""Ranks that are threads of one process, so that tests of several ranks need no launcher."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

LIMIT = 120  # seconds before a hang is an error


class ThreadRank:
    """What fastopt.distributed.Communicator asks for, between the threads of one `Meeting`."""

    def __init__(self, meeting, rank):
        self.rank, self.size, self._meeting = rank, meeting.size, meeting

    def allgather(self, array):
        return self._meeting.exchange(self.rank, np.array(array))

    def allreduce(self, array):
        return self.allgather(array).sum(axis=0)


class Meeting:
    def __init__(self, size):
        self.size, self.numbers = size, 0
        self._places = [None] * size
        self._barrier = threading.Barrier(size, timeout=LIMIT)

    def exchange(self, rank, array):
        self._places[rank] = array
        self._barrier.wait()
        if len({place.shape for place in self._places}) > 1:
            self._barrier.abort()  # as MPI does, or worse
        answer = np.stack(self._places)
        if rank == 0:
            self.numbers += array.size
        self._barrier.wait()
        return answer


def on_ranks(size, function):
    """[function(comm) of each rank], or the exception that it raised."""
    meeting = Meeting(size)

    def one(rank):
        try:
            return function(ThreadRank(meeting, rank))
        except BaseException as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def results_of(size, function):
    """The same where no rank may fail."""
    answers = on_ranks(size, function)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers

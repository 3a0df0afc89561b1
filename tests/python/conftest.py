"""What all tests share: a quiet matplotlib, fresh interpreters, named marks."""

import contextlib
import ctypes
import gc
import os
import pickle
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# Shells start background jobs with Ctrl-C ignored, and children inherit that; it is tested here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples everywhere: a failure in one place can be repeated in another.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "slow_under_asan: left out under AddressSanitizer, for its time or because it measures "
        "memory or response",
    )


@pytest.fixture(scope="session")
def fresh_python() -> Callable[..., str]:
    """run(code, *arguments, timeout=, **environment): what a new interpreter prints."""

    def run(code: str, *arguments: object, timeout: float = 120, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


IN_USE = """
import ctypes as _ctypes, gc as _gc, os as _os

class _Mallinfo2(_ctypes.Structure):  # see malloc.h
    _fields_ = [(name, _ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

_mallinfo2 = _ctypes.CDLL(None).mallinfo2
_mallinfo2.restype = _Mallinfo2

def _in_use():  # bytes that are allocated, bytes that are resident
    _gc.collect()
    info = _mallinfo2()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return info.uordblks + info.hblkhd, pages * _os.sysconf("SC_PAGESIZE")

for _ in range(60):
    solve()
for _ in range(3):  # what leaks does so in each; free memory in pieces may grow in one
    _before = _in_use()
    for _ in range(200):
        solve()
    _grown = [now - then for now, then in zip(_in_use(), _before)]
    if _grown[0] < LIMITS[0] and _grown[1] < LIMITS[1]:
        break
print(*_grown)
"""
# After 200 solves: 1 kB left behind by each (Python's objects count too, and those that it keeps
# for reuse, some 50 kB), and what reliability asks of the resident memory.
LIMITS = 200_000, 1 << 20


@pytest.fixture(scope="session")
def memory_stays(fresh_python: Callable[..., str]) -> Callable[[str, str], None]:
    """memory_stays(code, name): 200 calls of `solve`, which `code` defines from sys.argv[1] = name,
    raise neither the bytes that are allocated nor the resident ones beyond LIMITS.
    """
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("asks mallinfo2, of glibc 2.33 or newer, how much is allocated")

    def check(code: str, name: str) -> None:
        code = f"{textwrap.dedent(code)}\nLIMITS = {LIMITS}\n{IN_USE}"
        grown = fresh_python(code, name, timeout=300, PYTHONMALLOC="malloc").split()
        allocated, resident = map(int, grown)
        assert allocated < LIMITS[0] and resident < LIMITS[1], grown

    return check


class Referenced:
    """A callable that many places may hold; how many, its reference count tells."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.answer = answer

    def __call__(self, *args: Any) -> Any:
        return self.answer(*args)


@pytest.fixture
def referenced() -> type[Referenced]:
    return Referenced


@pytest.fixture
def counts() -> Callable[..., list[int]]:
    """counts(*things): how often each is referred to."""

    def count(*things: object) -> list[int]:
        gc.collect()
        return [sys.getrefcount(thing) for thing in things]

    return count


@pytest.fixture
def in_threads() -> Callable[[Callable[[], Any]], list[Any]]:
    """in_threads(run): what run() returns in six threads at once; their errors come back."""

    def answers(run: Callable[[], Any]) -> list[Any]:
        with ThreadPoolExecutor(6) as pool:
            return [job.result() for job in [pool.submit(run) for _ in range(6)]]

    return answers


@pytest.fixture(scope="session")
def check_fields() -> Callable[[Any, int, int], None]:
    """check_fields(result, n, m): what every result of sketch_newton has."""

    def check(result: Any, n: int, m: int) -> None:
        assert result.status in {0, 1, 2, 3, 4} and result.success == (result.status == 0)
        assert result.x.shape == result.grad.shape == (n,) and np.all(np.isfinite(result.x))
        assert sum(np.size(v) for v in result.v) == m == sum(np.size(c) for c in result.constr)
        assert result.message and result.nit >= 0 and result.nfev >= 1

    return check


CHILD_LIMIT = 30.0  # seconds for a forked child


@pytest.fixture(scope="session")
def in_child() -> Callable[[Callable[[], Any]], Any]:
    """run(function): function() in a forked child, or a failure when that takes too long."""

    def run(function: Callable[[], Any]) -> Any:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, pickle.dumps(function()))
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        try:
            answer = b""
            deadline = time.monotonic() + CHILD_LIMIT
            while True:
                left = max(0.0, deadline - time.monotonic())
                if not select.select([reading], [], [], left)[0]:
                    os.kill(child, signal.SIGKILL)
                    pytest.fail(f"the child did not end within {CHILD_LIMIT} seconds")
                piece = os.read(reading, 65536)
                if not piece:
                    break
                answer += piece
        finally:
            os.close(reading)
            _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the child did not end well"
        return pickle.loads(answer)

    return run


INTERRUPTED = """
import signal, threading

if __name__ == "__main__":
    def say(word):
        print(word, flush=True)

    threading.Timer(0.6, say, ["running"]).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        solve()
    except KeyboardInterrupt:
        say("interrupted")
    else:
        say("ended without an interrupt")
    say("usable" if works() else "broken")
"""


@pytest.fixture
def interrupt(tmp_path: Path) -> Callable[[str], float]:
    """run(code): seconds that Ctrl-C takes to end solve(), after which works() must be true.

    The code, a module of its own, defines both; solve() goes on for ever. Its argument is a folder.
    Up to three attempts are made at half a second, since a busy machine holds one up now and then.
    """

    def run(code: str) -> float:
        for _ in range(3):
            waited = once(code)
            if waited < 0.5:
                break
        return waited

    def once(code: str) -> float:
        script, errors = tmp_path / "script.py", tmp_path / "errors"
        script.write_text(code + INTERRUPTED)
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, str(script), str(tmp_path)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "running\n", errors.read_text()
            started = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it too
            answer = process.stdout.readline()
            waited = time.monotonic() - started
            rest = process.stdout.read()
            code_of_exit = process.wait(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.stdout.close()
            process.wait()
        assert answer == "interrupted\n", errors.read_text()
        assert (rest, code_of_exit) == ("usable\n", 0), errors.read_text()
        return waited

    return run

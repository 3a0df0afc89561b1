"""Ranks that are processes, started by mpiexec (mpi4py) or one by one (torch gloo), for tests.

A test names a top-level function of a test module, `function(comm, *arguments)`, which every rank
calls; `results_of` returns what each returned. Everything passes through files of a folder of the
test's own, so no port is fixed and nothing outlives the test.
"""

import contextlib
import os
import pickle
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIMIT = 120  # seconds before a hang is an error
HERE = Path(__file__).resolve()
KINDS = ("mpi", "torch")


def require(kind):
    """Skip the test where the launcher or its package is missing."""
    pytest.importorskip("mpi4py" if kind == "mpi" else "torch.distributed")
    if kind == "mpi" and _mpiexec() is None:
        pytest.skip("needs mpiexec beside this Python: pip install mpich")


def _mpiexec():
    return shutil.which("mpiexec", path=str(Path(sys.executable).parent))


class Launch:
    """`size` processes that run function(comm, *arguments); a context manager that ends them."""

    def __init__(self, kind, size, function, *arguments, folder):
        self.folder, self.size = Path(folder), size
        # By its file: how pytest names a test module is pytest's affair.
        task = (sys.path, function.__code__.co_filename, function.__name__, arguments)
        (self.folder / "task").write_bytes(pickle.dumps(task))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if sys.platform == "linux":  # whatever this machine's name may resolve to
            environment["GLOO_SOCKET_IFNAME"] = "lo"
        script = [str(HERE), kind, str(self.folder)]
        if kind == "mpi":
            command = [_mpiexec(), "-n", str(size), sys.executable, "-m", "mpi4py", *script]
            commands = [command]
        else:
            commands = [[sys.executable, *script, str(rank), str(size)] for rank in range(size)]
        self._log = open(self.folder / "log", "wb")  # noqa: SIM115
        self.processes = [
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            for command in commands
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._log.close()

    def wait(self, limit=LIMIT):
        """The exit codes of the processes, once all have ended."""
        end = time.monotonic() + limit
        return [process.wait(max(0.1, end - time.monotonic())) for process in self.processes]

    def wait_from_death(self, limit):
        """The exit codes of all, at most `limit` seconds after one of them has called `die`."""
        end = time.monotonic() + LIMIT
        while not (self.folder / "dying").exists():
            assert time.monotonic() < end and None in [one.poll() for one in self.processes]
            time.sleep(0.05)
        return self.wait(limit)

    def answers(self):
        """(result, None) or (None, "Error: words") of each rank; None of one that was killed."""
        files = [self.folder / f"rank{rank}" for rank in range(self.size)]
        return [pickle.loads(f.read_bytes()) if f.exists() else None for f in files]

    def log(self):
        return (self.folder / "log").read_text(errors="replace")


def results_of(kind, size, function, *arguments, folder):
    """[function(comm, *arguments) of each rank], where none may fail."""
    with Launch(kind, size, function, *arguments, folder=folder) as launch:
        codes = launch.wait()
        assert not any(codes), launch.log()
        return [result for result, _ in launch.answers()]


def die(folder):
    """End this process as the kernel would that is out of memory."""
    (Path(folder) / "dying").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def _communicator(kind, folder, rank, size):
    if kind == "mpi":
        from mpi4py import MPI

        return MPI.COMM_WORLD, MPI.COMM_WORLD.Get_rank(), lambda: None
    import torch.distributed as group

    group.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=int(rank), world_size=int(size)
    )
    return group.group.WORLD, int(rank), group.destroy_process_group


def _main(kind, folder, rank=0, size=1):
    sys.path[:], file, name, arguments = pickle.loads((Path(folder) / "task").read_bytes())
    function = runpy.run_path(file)[name]
    comm, rank, leave = _communicator(kind, folder, rank, size)

    def write(answer):
        partial = Path(folder) / f"partial{rank}"
        partial.write_bytes(pickle.dumps(answer))
        partial.rename(Path(folder) / f"rank{rank}")

    try:
        answer = function(comm, *arguments), None
    except BaseException as error:
        write((None, f"{type(error).__name__}: {error}"))
        raise
    write(answer)
    leave()


if __name__ == "__main__":
    _main(*sys.argv[1:])

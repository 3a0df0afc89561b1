"""What all tests share: a quiet matplotlib, fresh interpreters, named marks."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable

import hypothesis
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

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

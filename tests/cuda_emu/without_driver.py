"""The real CUDA module on a machine without a driver: it imports, says why, and refuses clearly."""

import io
from contextlib import redirect_stdout

from fastopt import __main__, _backend, cbo, problems

info = _backend.info()["cuda"]
assert not info["available"], info
assert "driver" in info["reason"] and info["runtime"].startswith("13."), info

with redirect_stdout(io.StringIO()) as text:
    assert __main__.main(["info"]) == 0
line = next(line for line in text.getvalue().splitlines() if line.startswith("CUDA"))
assert "not available" in line and "driver" in line, line

problem = problems.rastrigin(3)
try:
    cbo(problem, problem.bounds, device="cuda")
except RuntimeError as error:
    assert "device='cuda' is not available" in str(error) and "driver" in str(error), error
else:
    raise AssertionError("device='cuda' ran without a driver")
assert cbo(problem, problem.bounds, rng=1, maxfev=2000).nfev > 0
print(line)

"""No fused multiply-add in the kernels of a file of PTX: the device rounds as the CPU does."""

import re
import sys
from pathlib import Path

ptx = Path(sys.argv[1]).read_text("utf-8")
kernels = re.findall(r"\.entry (\w+)", ptx)
assert any("normals" in name for name in kernels) and any("4move" in name for name in kernels), (
    kernels
)
assert re.search(r"mul(\.rn)?\.f64", ptx) and re.search(r"mul(\.rn)?\.f32", ptx)
fused = re.findall(r"\bfma\.\w+(?:\.ftz)?\.f(?:32|64)", ptx)
assert not fused, f"{len(fused)} fused multiply-adds"
approximate = re.findall(r"\b\w+\.approx(?:\.ftz)?\.f(?:32|64)", ptx)
assert not approximate, sorted(set(approximate))
local = re.findall(r"\.local ", ptx)
assert not local, f"{len(local)} uses of local memory"
print(f"{len(kernels)} kernels: no fused or approximate operation, no local memory")

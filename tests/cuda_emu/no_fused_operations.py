"""No fused multiply-add in the kernels of files of PTX: the device rounds as the CPU does."""

import re
import sys
from pathlib import Path

ptx = "".join(Path(name).read_text("utf-8") for name in sys.argv[1:])
kernels = re.findall(r"\.entry (\w+)", ptx)
for known in ("normals", "4move", "refine_cones"):
    assert any(known in name for name in kernels), (known, kernels)
assert re.search(r"mul(\.rn)?\.f64", ptx) and re.search(r"mul(\.rn)?\.f32", ptx)
fused = re.findall(r"\bfma\.\w+(?:\.ftz)?\.f(?:32|64)", ptx)
assert not fused, f"{len(fused)} fused multiply-adds"
approximate = re.findall(r"\b\w+\.approx(?:\.ftz)?\.f(?:32|64)", ptx)
assert not approximate, sorted(set(approximate))
local = re.findall(r"\.local ", ptx)
assert not local, f"{len(local)} uses of local memory"
print(f"{len(kernels)} kernels: no fused or approximate operation, no local memory")

#!/usr/bin/env bash
# What to run where there is a GPU:  tests/gpu.sh <build folder>
# Builds the CUDA backend, compares its bits with the CPU's, runs the Python tests on it, looks for
# faults with compute-sanitizer, and measures. Needs nvcc, cuBLAS, cuSOLVER, and what
# tests/cuda_emu/ci.sh needs; PyTorch with CUDA for its rows of the benchmark, and PyTorch or CuPy for
# the tests of their arrays.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
build_dir=$(cd "$1" && pwd)
cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release -DFASTOPT_PYTHON=ON \
    -DFASTOPT_CUDA=ON -DFASTOPT_TESTS=ON -DPython_EXECUTABLE="$(command -v python)" \
    -Dpybind11_DIR="$(python -m pybind11 --cmakedir)"
ninja -C "$build_dir" _cpu _cuda cbo_bits_cpu cbo_bits_device
package="$build_dir/package"
rm -rf "$package" && mkdir -p "$package"
cp -r "$source_dir/python/fastopt" "$package/fastopt"
rm -f "$package"/fastopt/*.so
cp "$build_dir"/_c*.so "$package/fastopt/"
export PYTHONPATH="$package:$source_dir/tests/cuda_emu"
python -m fastopt info
python -c 'import sys; from fastopt import _backend
cuda = _backend.info()["cuda"]
sys.exit(0 if cuda["available"] else "tests/gpu.sh needs a CUDA device: " + cuda["reason"])'

ctest --test-dir "$build_dir" -R '^cuda\.bits$' --output-on-failure --no-tests=error
tests=(python -m pytest -q -p pytest_cuda_emu -c "$source_dir/pyproject.toml"
       --rootdir "$source_dir" -k 'not missing_device and not without_a_device')
"${tests[@]}" "$source_dir"/tests/cuda_emu/test_{backend*,bench_gpu,device_libraries}.py
for tool in memcheck racecheck initcheck synccheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 9 \
        "${tests[@]}" -x "$source_dir"/tests/cuda_emu/test_backend*.py
done
python "$source_dir/bench/gpu.py" --jsonl "$build_dir/gpu.jsonl"

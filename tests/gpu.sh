#!/usr/bin/env bash
# What to run where there is a GPU:  tests/gpu.sh <build folder>
# Builds the CUDA backend, runs the Python tests of the backend on it, compares it with the CPU bit by bit,
# and looks for faults with compute-sanitizer. Needs nvcc, cuBLAS, cuSOLVER, and what tests/cuda_emu/ci.sh needs.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build_dir=$1
cmake -S "$source_dir" -B "$build_dir" -G Ninja -DFASTOPT_PYTHON=ON -DFASTOPT_CUDA=ON \
    -DPython_EXECUTABLE="$(command -v python)" -Dpybind11_DIR="$(python -m pybind11 --cmakedir)"
ninja -C "$build_dir" _cpu _cuda
package="$build_dir/package"
rm -rf "$package" && mkdir -p "$package"
cp -r "$source_dir/python/fastopt" "$package/fastopt"
rm -f "$package"/fastopt/*.so
cp "$build_dir"/_c*.so "$package/fastopt/"
export PYTHONPATH="$package:$source_dir/tests/cuda_emu"
python -m fastopt info
tests=(python -m pytest -q -p pytest_cuda_emu -c "$source_dir/pyproject.toml"
       "$source_dir"/tests/cuda_emu/test_backend*.py -k 'not missing_device')
"${tests[@]}"
for tool in memcheck racecheck initcheck synccheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 9 "${tests[@]}" -x
done

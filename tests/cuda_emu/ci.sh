#!/usr/bin/env bash
# The CUDA backend without a GPU:  tests/cuda_emu/ci.sh <build folder> emulated|sanitized|nvcc ...
#   emulated   device checks, every kernel, runs for ten orders of threads, failing calls; the Python tests
#   sanitized  device checks and failing calls under AddressSanitizer and UndefinedBehaviorSanitizer
#   nvcc       the real compiler; import without a driver; no fused operations in the random numbers
# Needs an environment with numpy, scipy, pytest, pybind11, scipy-openblas32; nvcc with cuBLAS and
# cuSOLVER (pip install "cuda-toolkit[cublas,cusolver]==13.0.2").
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
build_dir=$1
shift
pybind11_dir=$(python -m pybind11 --cmakedir)
jobs=${JOBS:-2}

configure() { # folder, options
    cmake -S "$source_dir" -B "$1" -G Ninja -DPython_EXECUTABLE="$(command -v python)" \
        -Dpybind11_DIR="$pybind11_dir" "${@:2}" >"$1.log" || { cat "$1.log"; return 1; }
}

emulated() {
    configure "$build_dir/emulated" -DFASTOPT_PYTHON=ON -DFASTOPT_TESTS=ON -DCMAKE_CXX_FLAGS=-Werror
    ninja -C "$build_dir/emulated" -j "$jobs" _cpu cuda_emu_module test_cuda_emu test_cuda_cbo \
        cbo_bits_cpu cbo_bits_cuda
    ctest --test-dir "$build_dir/emulated" -R '^cuda_emu' --output-on-failure
    local package="$build_dir/package"
    rm -rf "$package" && mkdir -p "$package"
    cp -r "$source_dir/python/fastopt" "$package/fastopt"
    rm -f "$package"/fastopt/*.so
    cp "$build_dir"/emulated/_cpu*.so "$package/fastopt/"
    PYTHONPATH="$package:$source_dir/tests/cuda_emu" \
        FASTOPT_CUDA_MODULE=$(ls "$build_dir"/emulated/tests/cuda_emu/_cuda*.so) \
        python -m pytest -q -p pytest_cuda_emu -c "$source_dir/pyproject.toml" \
        "$source_dir/tests/cuda_emu/test_backend.py"
}

sanitized() {
    configure "$build_dir/sanitized" -DFASTOPT_PYTHON=OFF -DFASTOPT_TESTS=ON \
        -DCMAKE_BUILD_TYPE=RelWithDebInfo -DFASTOPT_SANITIZE=address,undefined
    ninja -C "$build_dir/sanitized" -j "$jobs" test_cuda_emu test_cuda_cbo
    ASAN_OPTIONS=detect_leaks=0 "$build_dir/sanitized/tests/cuda_emu/test_cuda_emu"
    ASAN_OPTIONS=detect_leaks=0 "$build_dir/sanitized/tests/cuda_emu/test_cuda_cbo" \
        -tce='*ten orders*'
}

nvcc_build() {
    configure "$build_dir/nvcc" -DFASTOPT_PYTHON=ON -DFASTOPT_CUDA=ON
    ninja -C "$build_dir/nvcc" -j "$jobs" _cpu _cuda
    local package="$build_dir/package_cuda"
    rm -rf "$package" && mkdir -p "$package"
    cp -r "$source_dir/python/fastopt" "$package/fastopt"
    rm -f "$package"/fastopt/*.so
    cp "$build_dir"/nvcc/_c*.so "$package/fastopt/"
    PYTHONPATH="$package" python "$source_dir/tests/cuda_emu/without_driver.py"
    local headers
    headers=$(sed -n 's/^FASTOPT_CUBLAS_INCLUDE:PATH=//p' "$build_dir/nvcc/CMakeCache.txt")
    nvcc -ptx -std=c++17 -O3 -fmad=false -arch=compute_90 -I "$source_dir/csrc" -isystem "$headers" \
        "$source_dir/csrc/kernels.cu" -o "$build_dir/kernels.ptx"
    python "$source_dir/tests/cuda_emu/no_fused_operations.py" "$build_dir/kernels.ptx"
}

for stage in "$@"; do
    case $stage in
    emulated | sanitized) $stage ;;
    nvcc) nvcc_build ;;
    *) echo "unknown stage: $stage" >&2 && exit 2 ;;
    esac
done

#!/usr/bin/env bash
# The CUDA backend without a GPU:  tests/cuda_emu/ci.sh <build folder> emulated|suite|coverage|sanitized|nvcc ...
#   emulated   device checks, every kernel, runs for ten orders of threads, failing calls; the
#              Python tests of the backend, of arrays on the device and of bench/gpu.py
#   suite      what emu_suite.py takes of tests/python, in two parts side by side; needs what
#              emulated_python has built, and an environment with the extra [test]
#   sanitized  device checks and failing calls under AddressSanitizer and UndefinedBehaviorSanitizer
#   coverage   which lines of the kernels the tests execute: all
#   nvcc       the real compiler; import without a driver; no fused operations in any kernel
#   installed  the same, installed by pip into the environment that `python` belongs to
# Needs an environment with numpy, scipy, pytest, pybind11, scipy-openblas32; `nvcc` also the CUDA
# compiler, cuBLAS and cuSOLVER (pip install "cuda-toolkit[cublas,cusolver]==13.0.2"). Builds where
# the presets do, <build folder>/{release,asan,cuda}, so that with `build` nothing is built twice.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
build_dir=$(cd "$1" && pwd)
shift
python=$(command -v python)
jobs=${JOBS:-2}

build() { # preset, options and targets
    local folder="$build_dir/$1" options=()
    while [[ ${2:-} == -D* ]]; do options+=("$2") && set -- "$1" "${@:3}"; done
    (cd "$source_dir" && cmake --preset "$1" -B "$folder" -DPython_EXECUTABLE="$python" \
        -Dpybind11_DIR="$(python -m pybind11 --cmakedir)" "${options[@]}") >"$build_dir/$1.log" ||
        { cat "$build_dir/$1.log"; return 1; }
    cmake --build "$folder" --parallel "$jobs" --target "${@:2}" | tail -n 1
}

package() { # folder, extension modules: a copy of the Python package with them
    rm -rf "$1" && mkdir -p "$1"
    cp -r "$source_dir/python/fastopt" "$1/fastopt"
    rm -f "$1"/fastopt/*.so
    cp "${@:2}" "$1/fastopt/"
}

emulated() {
    build release -DFASTOPT_PYTHON=ON _cpu cuda_emu_module test_cuda_emu test_cuda_cbo test_cuda_admm \
        test_cuda_sketch cbo_bits_cpu cbo_bits_cuda
    ctest --test-dir "$build_dir/release" -R '^cuda_emu' --output-on-failure --parallel "$jobs"
    emulated_python
}

emulated_python() {
    build release -DFASTOPT_PYTHON=ON _cpu cuda_emu_module
    package "$build_dir/package" "$build_dir"/release/_cpu*.so
    emulated_pytest "$source_dir"/tests/cuda_emu/test_{backend*,bench_gpu,device_*}.py
}

emulated_pytest() {
    PYTHONPATH="$build_dir/package:$source_dir/tests/cuda_emu" \
        FASTOPT_CUDA_MODULE=$(ls "$build_dir"/release/tests/cuda_emu/_cuda*.so) \
        python -m pytest -q -p pytest_cuda_emu -p no:cacheprovider -c "$source_dir/pyproject.toml" \
        --rootdir "$source_dir" "$@"
}

suite() {
    local parts=2 part failed=0 running=()
    for ((part = 1; part <= parts; ++part)); do
        emulated_pytest --suite="$part/$parts" "$source_dir/tests/python" \
            >"$build_dir/suite.$part.log" 2>&1 &
        running+=($!)
    done
    for ((part = 1; part <= parts; ++part)); do
        wait "${running[part - 1]}" || failed=1
        cat "$build_dir/suite.$part.log"
    done
    grep -ohE '^[0-9]+ passed' "$build_dir"/suite.*.log |
        awk '{ n += $1 } END { print n " passed in " NR " parts" }'
    return $failed
}

coverage() {
    build release -DFASTOPT_PYTHON=ON test_cuda_cbo_covered test_cuda_admm_covered \
        test_cuda_sketch_covered
    local folder="$build_dir/release/tests/cuda_emu"
    find "$folder" -name '*.gcda' -delete
    for solver in cbo admm sketch; do
        CUDA_EMU_SEEDS=1 "$folder/test_cuda_${solver}_covered" | tail -n 1
    done
    python "$source_dir/tests/cuda_emu/kernel_lines.py" \
        "$folder/CMakeFiles/fastopt_cuda_covered.dir"
}

sanitized() {
    build asan test_cuda_emu test_cuda_cbo test_cuda_admm test_cuda_sketch
    ctest --test-dir "$build_dir/asan" -R '^cuda_emu' --output-on-failure --parallel "$jobs"
}

nvcc_build() {
    build cuda -DFASTOPT_PYTHON=ON -DFASTOPT_TESTS=OFF _cpu _cuda
    package "$build_dir/package_cuda" "$build_dir"/cuda/_c*.so
    PYTHONPATH="$build_dir/package_cuda" python "$source_dir/tests/cuda_emu/without_driver.py"
    ptx "$(sed -n 's/^FASTOPT_CUBLAS_INCLUDE:PATH=//p' "$build_dir/cuda/CMakeCache.txt")"
}

installed() {
    (cd "$source_dir" && FASTOPT_CUDA=1 python -m pip install -qq '.[cuda]')
    (cd / && python "$source_dir/tests/cuda_emu/without_driver.py")
    ptx "$(python -c 'import nvidia; print(list(nvidia.__path__)[0])')/cu13/include"
}

ptx() { # folder of cublas_v2.h
    local kernels=("$source_dir/csrc/kernels.cu" "$source_dir"/csrc/{admm_relu,sketch_newton}/*.cu)
    mkdir -p "$build_dir/ptx"
    printf '%s\n' "${kernels[@]}" | xargs -P "$jobs" -I{} bash -c \
        'nvcc -ptx -std=c++17 -O3 -fmad=false -arch=compute_90 -I "$1" -isystem "$2" "$4" \
             -o "$3/$(basename "$4" .cu).ptx"' \
        bash "$source_dir/csrc" "$1" "$build_dir/ptx" {}
    python "$source_dir/tests/cuda_emu/no_fused_operations.py" "$build_dir"/ptx/*.ptx
}

for stage in "$@"; do
    case $stage in
    emulated | emulated_python | suite | coverage | sanitized | installed) $stage ;;
    nvcc) nvcc_build ;;
    *) echo "unknown stage: $stage" >&2 && exit 2 ;;
    esac
done

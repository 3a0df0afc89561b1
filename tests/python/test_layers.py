"""Who may know whom, read from the #includes and imports: the rules of docs/architecture.md."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "python" / "fastopt"

pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="needs the source tree")

SOURCES = sorted(
    path for path in CSRC.rglob("*") if path.suffix in (".cpp", ".hpp", ".inl", ".cu", ".cuh")
)
MODULES = sorted(PACKAGE.glob("*.py"))
NAME = {path: str(path.relative_to(CSRC)) for path in SOURCES}

# Words that allocate or throw, and library templates, whose copies the linker may share.
ALLOCATING = (
    r"\b(new|delete|malloc|throw|Buffer)\b",
    r"std::(vector|string|function|map)\b",
    r"std::(sort|min|max|copy|fill|exp|log|sin|cos|pow|sqrt)\b",
)
# C and C++ headers of the system (no slash, or a folder that is not ours).
VENDORS = {
    "pybind11": re.compile(r"^(pybind11/|Python\.h$|numpy/)"),
    "BLAS": re.compile(r"^(cblas|lapacke|scipy_openblas)"),
    "CUDA": re.compile(r"^(cu|cublas|cusolver|curand|cub/|thrust/|cooperative_groups)"),
    "intrinsics": re.compile(r"^(immintrin|x86intrin|arm_neon)\.h$"),
    "threads": re.compile(r"^(thread|condition_variable|future|pthread\.h|omp\.h)$"),
}


def includes(path):
    """(own, system) headers that a file includes, own ones relative to csrc."""
    text = path.read_text(encoding="utf-8")
    own = re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE)
    return own, re.findall(r"^\s*#\s*include\s*<([^>]+)>", text, re.MULTILINE)


def rooms():
    return sorted(path.name for path in CSRC.iterdir() if path.is_dir())


def room(name):
    """The room of a file or header, given relative to csrc; '' for those at the top."""
    return name.split("/")[0] if "/" in name else ""


SOLVERS = [one for one in rooms() if one not in ("core", "backend", "bindings")]


def ids(path):
    return str(path.relative_to(ROOT))


def test_there_is_something_to_read():
    assert {"core", "backend", "bindings", "cbo"} <= set(rooms())
    assert len(SOURCES) > 30
    assert len(MODULES) > 15


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_own_headers_are_named_from_csrc_and_exist(path):
    for header in includes(path)[0]:
        assert (CSRC / header).is_file(), header


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_rooms_know_only_the_rooms_below_them(path):
    name = NAME[path]
    allowed = {
        "core": {"core"},
        "backend": {"core", "backend"},
        "bindings": {"core", "backend", "bindings", *SOLVERS},
        # At the top: the tables of kernels per instruction set, and one for a GPU.
        "": {"", "core", "backend", *SOLVERS},
    }
    for solver in SOLVERS:  # never another solver: what two of them need moves down
        allowed[solver] = {"", "core", "backend", solver}
    for header in includes(path)[0]:
        assert room(header) in allowed[room(name)], header
        if room(name) in SOLVERS and room(header) == "":
            assert header == "kernels.hpp"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_vendor_libraries_stay_in_their_rooms(path):
    name = NAME[path]
    owners = {
        "pybind11": room(name) == "bindings",
        "BLAS": name in ("backend/cpu.cpp",),
        "CUDA": path.suffix in (".cu", ".cuh"),
        "intrinsics": name == "kernels.cpp",
        "threads": name in ("core/parallel.hpp", "core/parallel.cpp"),
    }
    for header in includes(path)[1]:
        for vendor, pattern in VENDORS.items():
            assert owners[vendor] or not pattern.match(header), header


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_no_device_names_in_solvers(path):
    """The algebra and kernel seams hide the device: no CUDA words, no feature switches."""
    if room(NAME[path]) not in SOLVERS or path.suffix in (".cu", ".cuh"):
        return
    code = without_comments(path.read_text(encoding="utf-8"))
    assert not re.search(r"\bcuda|__CUDA|cublas|cusolver|openblas|cblas", code, re.IGNORECASE)
    assert not re.search(r"^\s*#\s*(if|ifdef|ifndef|elif)\b", code, re.MULTILINE)


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".inl"], ids=ids)
def test_kernel_bodies_include_nothing_and_allocate_nothing(path):
    """They are compiled once per instruction set: nothing shared may be instantiated in them."""
    assert includes(path) == ([], [])
    code = without_comments(path.read_text(encoding="utf-8"))
    for word in ALLOCATING:
        assert not re.search(word, code), word


def test_one_file_of_the_core_makes_threads():
    makers = [
        NAME[path]
        for path in SOURCES
        if re.search(r"std::(thread|async|jthread)\b", without_comments(path.read_text()))
        and room(NAME[path]) != "bindings"
    ]
    assert makers == ["core/parallel.cpp"]


def test_the_core_neither_prints_nor_exits():
    forbidden = r"std::(cout|cerr)\b|\b(printf|fprintf|puts|exit|_exit|abort|terminate)\s*\("
    for path in SOURCES:
        code = without_comments(path.read_text(encoding="utf-8"))
        assert not re.search(forbidden, code), NAME[path]


def test_random_numbers_come_from_philox():
    for path in SOURCES:
        code = without_comments(path.read_text(encoding="utf-8"))
        assert not re.search(r"#include <random>|\bs?rand\s*\(|mt19937|std::random_device", code)


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/|\"(\\.|[^\"\\\n])*\"", "", text, flags=re.DOTALL)


# ---- Python ----------------------------------------------------------------------------------


def imported(tree):
    """(absolute name, at module level?) of everything that a module imports."""
    found = []

    def look(node, inside):
        for child in ast.iter_child_nodes(node):
            deeper = inside or isinstance(
                child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
            )
            if isinstance(child, ast.Import):
                found.extend((alias.name, not inside) for alias in child.names)
            if isinstance(child, ast.ImportFrom):
                base = "fastopt" * bool(child.level) + ("." if child.level and child.module else "")
                name = base + (child.module or "")
                found.append((name, not inside))
                if child.level and not child.module:
                    found.extend((f"{name}.{alias.name}", not inside) for alias in child.names)
            if is_type_checking(child):
                continue
            look(child, deeper)

    look(tree, inside=False)
    return found


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_of(path):
    return imported(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_only_the_backend_module_imports_the_extension(path):
    extensions = [name for name, _ in imports_of(path) if re.search(r"\._(cpu|cuda)\b", name)]
    if path.name == "_backend.py":
        assert "fastopt._cpu" in extensions
    else:
        assert extensions == []


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_optional_libraries_are_imported_where_they_are_used(path):
    optional = {"torch", "jax", "sklearn", "matplotlib", "tqdm", "mpi4py", "dask", "cma", "cbx",
                "cocoex", "numba", "cupy", "cffi"}  # fmt: skip
    own = {"sklearn.py": {"sklearn"}}.get(path.name, set())  # a face that is its library's subclass
    eager = {name.split(".")[0] for name, at_top in imports_of(path) if at_top}
    assert not (eager & optional) - own


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_what_is_imported_is_a_dependency(path):
    known = {"fastopt", "numpy", "scipy", *sys.stdlib_module_names}
    for name, at_top in imports_of(path):
        top = name.split(".")[0]
        assert top in known or not at_top or path.stem == top, name


def test_importing_the_package_loads_no_optional_library(fresh_python):
    out = fresh_python("""
        import sys
        import fastopt
        fastopt.cbo(lambda x: float(x @ x), [(-1, 2)], maxfev=30)
        print(*sorted({"torch", "jax", "sklearn", "matplotlib", "tqdm", "mpi4py", "pandas"}
                      & set(sys.modules)))
    """)
    assert out == ""


def test_the_public_names_are_the_ones_announced():
    import fastopt

    public = {name for name in vars(fastopt) if not name.startswith("_")}
    assert set(fastopt.__all__) - {"__version__"} <= public
    submodules = {path.stem for path in MODULES}
    assert public - set(fastopt.__all__) <= submodules

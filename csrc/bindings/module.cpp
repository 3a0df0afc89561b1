// The extension module. The files of this folder are the border to Python and the only ones that
// know pybind11. Solvers run without the GIL; user code is called with it. Exceptions pass through
// unchanged in both directions.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "bindings/arrays.hpp"
#include "core/error.hpp"
#include "core/isa.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"

namespace fastopt {

void bind_admm_relu(py::module_& m);
void bind_cbo(py::module_& m);
void bind_sketch_newton(py::module_& m);
void bind_backend(py::module_& m); // what only this backend has: <backend>.cpp

namespace {

std::vector<std::string> isa_available() {
    std::vector<std::string> names;
    for (const Isa level : {Isa::baseline, Isa::avx2, Isa::avx512})
        if (level <= best_isa()) names.emplace_back(name(level));
    return names;
}

template <class T> py::array drawn(bool normal, index_t n, const Draw& draw, std::uint64_t first) {
    py::array_t<T> out(n);
    normal ? fill_normal(out.mutable_data(), first, n, draw)
           : fill_uniform(out.mutable_data(), first, n, draw);
    return out;
}

py::array random_array(bool normal, index_t n, std::uint32_t key0, std::uint32_t key1,
                       std::uint64_t iteration, std::uint32_t stream, std::uint64_t first,
                       const std::string& dtype) {
    const Draw draw{{key0, key1}, iteration, stream};
    if (dtype == "float64") return drawn<double>(normal, n, draw, first);
    FASTOPT_REQUIRE(dtype == "float32",
                    "dtype must be 'float64' or 'float32', got '" + dtype + "'");
    return drawn<float>(normal, n, draw, first);
}

} // namespace
} // namespace fastopt

PYBIND11_MODULE(FASTOPT_MODULE, m) {
    using namespace fastopt;
    using namespace pybind11::literals;

    m.doc() = "The engine of fastopt. Private: use the functions of the package.";
    py::register_local_exception<BackendError>(m, "BackendError", PyExc_RuntimeError);
    bind_admm_relu(m);
    bind_cbo(m);
    bind_sketch_newton(m);
    bind_backend(m);

    m.def(
        "philox",
        [](const std::array<std::uint32_t, 4>& counter, const std::array<std::uint32_t, 2>& key) {
            std::array<std::uint32_t, 4> out;
            philox4x32(counter.data(), {key[0], key[1]}, out.data());
            return out;
        },
        "counter"_a, "key"_a);
    for (const bool normal : {true, false})
        m.def(
            normal ? "fill_normal" : "fill_uniform",
            [normal](index_t n, std::uint32_t k0, std::uint32_t k1, std::uint64_t iteration,
                     std::uint32_t stream, std::uint64_t first, const std::string& dtype) {
                return random_array(normal, n, k0, k1, iteration, stream, first, dtype);
            },
            "n"_a, "key0"_a, "key1"_a, "iteration"_a = 0, "stream"_a = 0, "first"_a = 0,
            "dtype"_a = "float64");
    m.def("isa", [] { return std::string(name(isa())); });
    m.def("info", [] {
        return py::dict("version"_a = FASTOPT_VERSION, "isa"_a = std::string(name(isa())),
                        "isa_available"_a = isa_available(), "blas"_a = std::string(blas_name()),
                        "threads"_a = default_threads());
    });
}

// What only the CPU's module has: the solver that runs nowhere else.
#include <pybind11/pybind11.h>

namespace fastopt {

void bind_sketch_newton(pybind11::module_& m);

void bind_backend(pybind11::module_& m) { bind_sketch_newton(m); }

} // namespace fastopt

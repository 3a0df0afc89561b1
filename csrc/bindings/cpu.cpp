// What only the CPU's module has: nothing.
#include <pybind11/pybind11.h>

namespace fastopt {

void bind_backend(pybind11::module_&) {}

} // namespace fastopt

// What only the CUDA backend's module has: words about the device.
#include "backend/cuda.hpp"

#include <pybind11/pybind11.h>

namespace fastopt {

void bind_backend(pybind11::module_& m) {
    using namespace pybind11::literals;
    m.def("cuda_info", [] {
        const CudaInfo info = cuda_info();
        return pybind11::dict("available"_a = info.available, "reason"_a = info.reason,
                              "device"_a = info.device, "runtime"_a = info.runtime,
                              "driver"_a = info.driver);
    });
}

} // namespace fastopt

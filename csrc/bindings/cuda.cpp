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
    m.def("cuda_free_memory", &cuda_free_memory,
          pybind11::call_guard<pybind11::gil_scoped_release>());
    m.def(
        "cuda_rates",
        [](index_t copied, index_t order, int repeats) {
            const CudaRates rates = cuda_rates(copied, order, repeats);
            return pybind11::dict("bytes"_a = rates.bytes, "float64"_a = rates.flops_f64,
                                  "float32"_a = rates.flops_f32);
        },
        "copied"_a, "order"_a, "repeats"_a = 5);
}

} // namespace fastopt

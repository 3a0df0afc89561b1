// What the CUDA backend says about itself, for `fastopt info` and error messages, and what its
// device can do at best, for benchmarks.
#pragma once

#include <string>

#include "core/types.hpp"

namespace fastopt {

struct CudaInfo {
    bool available = false;
    std::string reason;          // why not
    std::string device;          // its name
    std::string runtime, driver; // versions; driver empty: none is installed
};
CudaInfo cuda_info();

index_t cuda_free_memory(); // bytes that nobody has on the device; waits for it

// The best of `repeats` measurements by the device's own clock.
struct CudaRates {
    double bytes = 0;                    // a second, read and written by a copy of `copied` bytes
    double flops_f64 = 0, flops_f32 = 0; // a second, of a product of matrices of order `order`
};
CudaRates cuda_rates(index_t copied, index_t order, int repeats);

} // namespace fastopt

// What robust_functors.inl says for one sample, for kernels: a thread a sample.
#pragma once

#include "admm_relu/loss_cuda.cuh"

namespace fastopt {
namespace gpu {

#include "admm_relu/robust_functors.inl"

// `each` with as many registers as there are: two root searches, one inside the other.
// Bytes: reads r; writes w.
__global__ void __launch_bounds__(block_size, 1) robust_prox(index_t n, RobustProx f) {
    for (index_t j = first_item(); j < n; j += stride()) f(j);
}

} // namespace gpu
} // namespace fastopt

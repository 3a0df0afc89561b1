// Launching what admm_cuda.cuh has for any functor.
#pragma once

#include <algorithm>

#include "admm_relu/admm_cuda.cuh"
#include "admm_relu/admm_steps.hpp"
#include "backend/cuda_queue.cuh"

namespace fastopt {
namespace {

using namespace gpu;

template <class F> void each(AdmmSteps& steps, index_t n, F f) { apply(*steps.queue(), n, f); }

// op over the parts of `grid` blocks, to the host; one launch at most, and one wait.
template <class V, class Op> V folded(AdmmSteps& steps, index_t grid, V* part) {
    V result = {};
    fold<V, Op>(*steps.queue(), grid, part);
    download(*steps.queue(), &result, part, sizeof result);
    return result;
}
template <class V> V* parts(AdmmSteps& steps) { // room for those of sum_blocks blocks
    static_assert(sizeof(V) % sizeof(double) == 0, "the scratch holds doubles");
    constexpr index_t doubles = sum_blocks * static_cast<index_t>(sizeof(V) / sizeof(double));
    return reinterpret_cast<V*>(steps.scratch(doubles));
}
// op over f(i), i < n.
template <class V, class Op, class F> V reduce(AdmmSteps& steps, index_t n, F f) {
    if (n == 0) return {};
    V* part = parts<V>(steps);
    gpu::reduce<V, Op>(*steps.queue(), n, f, part);
    return folded<V, Op>(steps, 1, part);
}

} // namespace
} // namespace fastopt

// Launching what admm_cuda.cuh has for any functor.
#pragma once

#include <algorithm>

#include "admm_relu/admm_cuda.cuh"
#include "admm_relu/admm_steps.hpp"
#include "backend/cuda_queue.cuh"

namespace fastopt {
namespace {

using namespace gpu;

constexpr index_t sum_blocks = 256; // of a reduction
constexpr int fold_threads = 64;
constexpr std::size_t warps_of_block = block_size / warp_size;

template <class F> void each(AdmmSteps& steps, index_t n, F f) {
    over(*steps.queue(), n, gpu::each<F>, n, f);
}

// op over the parts of `grid` blocks, to the host; one launch at most, and one wait.
template <class V, class Op> V folded(AdmmSteps& steps, index_t grid, V* part) {
    V result = {};
    if (grid > 1)
        launch(steps.queue()->stream(), 1, fold_threads, fold_threads / warp_size * sizeof(V),
               fold_parts<V, Op>, grid, part);
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
    const index_t grid = std::min(blocks_for(n), sum_blocks);
    V* part = parts<V>(steps);
    launch(steps.queue()->stream(), grid, block_size, warps_of_block * sizeof(V),
           reduce_parts<V, Op, F>, n, f, part);
    return folded<V, Op>(steps, grid, part);
}

} // namespace
} // namespace fastopt

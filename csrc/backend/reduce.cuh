// Reductions of a block in a fixed order. Blocks hold whole warps.
#pragma once

#include "backend/launch.cuh"

namespace fastopt {
namespace gpu {

__device__ inline double from_lane_above(double value, unsigned delta) {
    return __shfl_down_sync(whole_warp, value, delta);
}

__device__ inline std::uint64_t from_lane_above(std::uint64_t value, unsigned delta) {
    return __shfl_down_sync(whole_warp, value, delta);
}

struct Plus {
    template <class V> __device__ V operator()(const V& a, const V& b) const { return a + b; }
};
struct Larger {
    template <class V> __device__ V operator()(V a, V b) const { return b > a ? b : a; }
};

// op over the values of a warp; every lane gets the same bits, as op is commutative.
template <class V, class Op> __device__ V warp_reduce(V value, Op op) {
    for (int bits = warp_size / 2; bits > 0; bits /= 2)
        value = op(value, __shfl_xor_sync(whole_warp, value, bits));
    return value;
}

// op over the values of all threads; every thread gets the result. `shared` holds one V a warp, and
// may be used again at once.
template <class V, class Op> __device__ V block_reduce(V value, V* shared, Op op) {
    for (unsigned delta = warp_size / 2; delta > 0; delta /= 2)
        value = op(value, from_lane_above(value, delta));
    if (thread() % warp_size == 0) shared[thread() / warp_size] = value;
    __syncthreads();
    V result = shared[0];
    for (int w = 1; w < threads() / warp_size; ++w) result = op(result, shared[w]);
    __syncthreads();
    return result;
}

// part_b = op over the f(i) of block b; `r` and `w` bytes are what the functor says of all items, V
// the bytes of a part. Bytes: reads r; writes w + V blocks.
template <class V, class Op, class F>
__global__ void __launch_bounds__(block_size) reduce_parts(index_t n, F f, V* __restrict__ part) {
    V value = {};
    for (index_t i = first_item(); i < n; i += stride()) value = Op()(value, f(i));
    value = block_reduce(value, dynamic_shared<V>(), Op());
    if (thread() == 0) part[block()] = value;
}

// part_0 = op over n parts, those of `blocks`: one block. Bytes: reads V blocks; writes V.
template <class V, class Op> __global__ void fold_parts(index_t n, V* part) {
    V value = {};
    for (index_t i = thread(); i < n; i += threads()) value = Op()(value, part[i]);
    value = block_reduce(value, dynamic_shared<V>(), Op());
    if (thread() == 0) part[0] = value;
}

// Sums of value(i) and of their squares for i < n, each as `chains` running sums over i = c,
// c + chains, ... that `combine` adds: the order in which the CPU adds. The block computes values
// side by side and the chains' threads, of the first warp and of the second, add them. `tile` holds
// one number a thread and may be used again at once; the block has two warps or more.
template <int chains, class Value, class Combine>
__device__ void chain_sums(index_t n, double* tile, Value value, Combine combine, double& sum,
                           double& square) {
    const int t = thread(), warp = t / warp_size, chain = t % warp_size;
    const bool adds = warp < 2 && chain < chains;
    double running = 0;
    for (index_t base = 0; base < n; base += threads()) {
        if (base + t < n) tile[t] = value(base + t);
        __syncthreads();
        if (adds) {
            const index_t left = n - base, count = left < threads() ? left : threads();
            for (index_t j = chain; j < count; j += chains)
                running += warp == 0 ? tile[j] : tile[j] * tile[j];
        }
        __syncthreads();
    }
    if (adds) tile[warp * chains + chain] = running;
    __syncthreads();
    sum = combine(tile);
    square = combine(tile + chains);
    __syncthreads();
}

} // namespace gpu
} // namespace fastopt

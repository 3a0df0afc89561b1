// Device kernels of admm_relu: what admm_functors.inl says for one number, spread over threads, and
// sums, which are in a fixed order of their own, so that a run repeats its bits; they agree with
// the CPU's within rounding. Loops stride over the grid. More kernels are in design_cuda.cuh,
// loss_cuda.cuh, cone_cuda.cuh and paper_cuda.cuh. T: the iterates' type, and its bytes; n samples,
// d columns, P gates, c outputs, B blocks of w numbers.
//
// "Bytes" of `count` items counts each byte of device memory once, as caches that hold the rest
// would; conditions are 1 or 0. What `reduce` writes comes on top. Where they depend on the data in
// more than what the names say, they are the least, and "At most" follows.
// tests/cuda_emu/test_admm_kernel_traffic.cpp counts the bytes of every kernel.
#pragma once

#include "backend/launch.cuh"
#include "backend/reduce.cuh"
#include "core/vmath.hpp"

namespace fastopt {
namespace gpu {

#include "admm_relu/admm_functors.inl"

// ---- sums --------------------------------------------------------------------------------------

struct Four {
    double a, b, c, d;
};
__device__ inline Four from_lane_above(const Four& x, unsigned delta) {
    return {__shfl_down_sync(whole_warp, x.a, delta), __shfl_down_sync(whole_warp, x.b, delta),
            __shfl_down_sync(whole_warp, x.c, delta), __shfl_down_sync(whole_warp, x.d, delta)};
}
__device__ inline Four operator+(const Four& x, const Four& y) {
    return {x.a + y.a, x.b + y.b, x.c + y.c, x.d + y.d};
}

__device__ inline double warp_length(const double* a, index_t n) {
    double sum = 0;
    for (index_t i = thread() % warp_size; i < n; i += warp_size) sum += a[i] * a[i];
    return vsqrt(warp_reduce(sum, Plus()));
}

// Bytes: reads 16 count; writes 0.
struct Product {
    const double* x;
    const double* y;
    FASTOPT_HD double operator()(index_t i) const { return x[i] * y[i]; }
};
// Of two segments. Bytes: reads 2 T count; writes 0.
template <class T> struct WeightedProduct {
    index_t n1;
    double w1, w2;
    const T* x;
    const T* y;
    FASTOPT_HD double operator()(index_t i) const {
        return (i < n1 ? w1 : w2) * (static_cast<double>(x[i]) * static_cast<double>(y[i]));
    }
};
// Bytes: reads (24 + T) count; writes 0.
template <class T> struct SquaredDistances {
    const double* state;
    const double* x;
    const double* last;
    const T* y;
    __device__ Four operator()(index_t i) const {
        const double at = x[i], a = state[i] - at, b = at - last[i],
                     c = at - static_cast<double>(y[i]);
        return {at * at, a * a, b * b, c * c};
    }
};
// Bytes: reads 8 count; writes 0.
struct Value {
    const double* x;
    FASTOPT_HD double operator()(index_t i) const { return x[i]; }
};
// ||v_b||: a thread a block, its numbers in order. Bytes: reads 8 B w; writes 0.
struct BlockLength {
    index_t w;
    const double* v;
    FASTOPT_HD double operator()(index_t b) const {
        double sum = 0;
        for (index_t i = b * w; i < (b + 1) * w; ++i) sum += v[i] * v[i];
        return vsqrt(sum);
    }
};
// Bytes: reads 8 B w; writes 8 B.
struct SetBlockLength {
    BlockLength length;
    double* norm;
    FASTOPT_HD void operator()(index_t b) const { norm[b] = length(b); }
};
// Bytes: reads 8 (B w + B); writes 8 B w.
struct Shrink {
    index_t w;
    double level;
    const double* norm;
    const double* from;
    double* to;
    FASTOPT_HD void operator()(index_t i) const {
        to[i] = from[i] * shrink_factor(norm[i / w], level);
    }
};
// Of a block longer than the level, with its active rows; else 0. `longer` blocks with cones have
// `active` rows. Bytes: reads 8 (B + longer + active); writes 0.
struct BlockHash {
    index_t d;
    double level;
    const double* norm;
    const index_t* counts; // null: no cones
    const index_t* rows;
    FASTOPT_HD std::uint64_t operator()(index_t b) const {
        if (!(norm[b] > level)) return 0;
        std::uint64_t h = mixed(hash_start, static_cast<std::uint64_t>(b) + 1);
        for (index_t k = 0; counts && k < counts[b]; ++k)
            h = mixed(h, static_cast<std::uint64_t>(rows[b * d + k]) << 20);
        return h;
    }
};

// Parts of <a, row_j> and <row_j, b>, each row of n numbers cut into `parts` pieces, a block a
// piece. Bytes: reads T n (count + 2); writes 32 count parts.
template <class T>
__global__ void __launch_bounds__(block_size)
    row_products(const T* __restrict__ rows, index_t count, index_t n1, index_t n, index_t parts,
                 const T* __restrict__ a, const T* __restrict__ b, double w1, double w2,
                 Four* __restrict__ out) {
    for (index_t piece = block(); piece < count * parts; piece += blocks()) {
        const index_t j = piece / parts, first = piece % parts * threads() + thread();
        Four sum = {};
        for (index_t i = first; i < n; i += parts * threads()) {
            const double w = i < n1 ? w1 : w2, x = static_cast<double>(rows[j * n + i]);
            sum.a += w * (static_cast<double>(a[i]) * x);
            sum.b += w * (x * static_cast<double>(b[i]));
        }
        sum = block_reduce(sum, dynamic_shared<Four>(), Plus());
        if (thread() == 0) out[piece] = sum;
    }
}
// Pieces of a row in order, into the first. Bytes: reads 32 count parts; writes 32 count.
struct FoldPieces {
    index_t parts;
    Four* pieces;
    __device__ void operator()(index_t j) const {
        Four sum = pieces[j * parts];
        for (index_t k = 1; k < parts; ++k) sum = Plus()(sum, pieces[j * parts + k]);
        pieces[j * parts] = sum;
    }
};

// out_k = <a_k, b_k> of rows of n numbers: a block a row.
// Bytes: reads 2 T count n; writes 8 count.
template <class T>
__global__ void __launch_bounds__(block_size)
    row_dots(index_t count, index_t n, const T* __restrict__ a, const T* __restrict__ b,
             double* __restrict__ out) {
    for (index_t k = block(); k < count; k += blocks()) {
        double sum = 0;
        for (index_t i = k * n + thread(); i < (k + 1) * n; i += threads())
            sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
        sum = block_reduce(sum, dynamic_shared<double>(), Plus());
        if (thread() == 0) out[k] = sum;
    }
}

// `count` rows of n numbers. Bytes: reads T n (count + 1) + 8 count; writes T n.
template <class T> struct SubtractRows {
    index_t count, n;
    const double* gamma;
    const T* rows;
    T* r;
    FASTOPT_HD void operator()(index_t i) const {
        T x = r[i];
        for (index_t j = 0; j < count; ++j) x += static_cast<T>(-gamma[j]) * rows[j * n + i];
        r[i] = x;
    }
};

} // namespace gpu
} // namespace fastopt

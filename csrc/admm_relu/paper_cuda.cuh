// Device kernels of the published splitting. B blocks of d numbers.
#pragma once

#include "admm_relu/admm_cuda.cuh"

namespace fastopt {
namespace gpu {

#include "admm_relu/paper_functors.inl"

// v = shrink(u + lambda), lambda += u - v, and the parts of ||u - v||^2, ||v||^2, ||v - last v||^2
// and ||lambda||^2: a warp a block.
// Bytes: reads (T + 16) B d; writes 16 B d + 32 parts.
template <class T>
__global__ void __launch_bounds__(block_size)
    paper_shrink(index_t count, index_t d, double level, const T* __restrict__ u, double* v,
                 double* lambda, Four* __restrict__ part) {
    const int lane = thread() % warp_size;
    Four sum = {};
    for (index_t b = warp_number(); b < count; b += warps()) {
        double norm = 0;
        for (index_t j = b * d + lane; j < (b + 1) * d; j += warp_size) {
            const double moved = lambda[j] + static_cast<double>(u[j]);
            lambda[j] = moved;
            norm += moved * moved;
        }
        norm = vsqrt(warp_reduce(norm, Plus()));
        const double factor = shrink_factor(norm, level);
        for (index_t j = b * d + lane; j < (b + 1) * d; j += warp_size) { // its own numbers
            const double now = factor * lambda[j], left = lambda[j] - now;
            const double off = static_cast<double>(u[j]) - now, step = now - v[j];
            v[j] = now;
            lambda[j] = left;
            sum = Plus()(sum, Four{off * off, now * now, step * step, left * left});
        }
    }
    sum = block_reduce(sum, dynamic_shared<Four>(), Plus());
    if (thread() == 0) part[block()] = sum;
}

// Bytes: reads T n (P + 2 B); writes 2 T n B.
template <class T> struct PaperConeTerms {
    PaperConeRow<T> row;
    __device__ Four operator()(index_t at) const {
        Four sum = {};
        const index_t b = at / row.n;
        row(b, at - b * row.n, sum.a, sum.b);
        return sum;
    }
};
// Of the two parts of q. Bytes: reads T count; writes 0.
template <class T> struct PaperSquares {
    const T* q;
    __device__ Four operator()(index_t at) const {
        const double x = static_cast<double>(q[at]), square = x * x;
        return {x > 0 ? square : 0.0, x > 0 ? 0.0 : square, 0, 0};
    }
};
// The least is where no number of q is negative.
// Bytes: reads T n (P + B); writes T n B. At most: reads T n (P + B); writes 2 T n B.
template <class T> struct PaperRescaleEach {
    PaperRescale<T> rescale;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t b = at / rescale.n;
        rescale(b, at - b * rescale.n);
    }
};
// Bytes: reads T d; writes T d.
template <class T> struct AddToDiagonal {
    double shift;
    index_t d;
    T* a;
    FASTOPT_HD void operator()(index_t i) const { a[i * d + i] += static_cast<T>(shift); }
};
// Bytes: reads 0; writes T d d.
template <class T> struct Identity {
    index_t d;
    T* a;
    FASTOPT_HD void operator()(index_t at) const { a[at] = at / d == at % d ? T(1) : T(0); }
};
// z_kj = sum of +-(X v_b)_+ over the blocks of output k. Bytes: reads 8 B n; writes 8 c n.
struct ReluSum {
    index_t n, p, c, signs;
    const double* pre;
    double* z;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t k = at / n, j = at - k * n;
        double sum = 0;
        for (index_t s = 0; s < signs; ++s)
            for (index_t b = (s * c + k) * p; b < (s * c + k + 1) * p; ++b) {
                const double x = pre[b * n + j];
                if (x > 0) sum += s ? -x : x;
            }
        z[at] = sum;
    }
};

} // namespace gpu
} // namespace fastopt

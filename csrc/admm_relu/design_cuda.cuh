// Device kernels of products with the design and of its dense systems.
#pragma once

#include "admm_relu/admm_cuda.cuh"

namespace fastopt {
namespace gpu {

constexpr int gate_lanes = block_size / warp_size;

// z_kj = sum_i D_ij from_(k P + i)j: a block 32 columns, its warps share the gates, whose partial
// sums are added in order. Bytes: reads T P n (1 + c); writes T c n.
template <class T>
__global__ void __launch_bounds__(block_size)
    gated_sum(const T* __restrict__ gates, const T* __restrict__ from, index_t n, index_t p,
              index_t c, T* __restrict__ z) {
    T* tile = dynamic_shared<T>();
    const int column = thread() % warp_size, lane = thread() / warp_size;
    const index_t column_blocks = (n + warp_size - 1) / warp_size;
    for (index_t t = block(); t < c * column_blocks; t += blocks()) {
        const index_t k = t / column_blocks, j = t % column_blocks * warp_size + column;
        T sum = 0;
        if (j < n)
            for (index_t i = lane; i < p; i += gate_lanes)
                sum += gates[i * n + j] * from[(k * p + i) * n + j];
        tile[thread()] = sum;
        __syncthreads();
        if (lane == 0 && j < n) {
            for (int l = 1; l < gate_lanes; ++l) sum += tile[l * warp_size + column];
            z[k * n + j] = sum;
        }
        __syncthreads();
    }
}
// out_(k P + i)j = D_ij q_kj. Bytes: reads T n (P + c); writes T c P n.
template <class T> struct Gated {
    index_t n, p;
    const T* gates;
    const T* q;
    T* out;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t r = at / n, j = at - r * n;
        out[at] = gates[r % p * n + j] * q[r / p * n + j];
    }
};
// out_kj = x_j z_kj. Bytes: reads T n (1 + c); writes T c n.
template <class T> struct TimesColumn {
    index_t n;
    const T* x;
    const T* z;
    T* out;
    FASTOPT_HD void operator()(index_t at) const { out[at] = x[at % n] * z[at]; }
};
// a *= b. Bytes: reads 2 T count; writes T count.
template <class T> struct Times {
    T* a;
    const T* b;
    FASTOPT_HD void operator()(index_t i) const { a[i] = a[i] * b[i]; }
};
// n rows of F from row `first` on. Bytes: reads T n (d + P); writes T n P d.
template <class T> struct GatedColumns {
    index_t first, n, d, p;
    const T* x;
    const T* gates;
    T* out;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t r = at / (p * d), column = at - r * (p * d), g = column / d;
        out[at] = gates[g * n + first + r] * x[(first + r) * d + column - g * d];
    }
};
// y_ki = A_i r_ki for `rows` rows of P blocks of d numbers and a symmetric d x d matrix A_i of each
// gate. Bytes: reads T (P d d + rows P d); writes T rows P d.
template <class T> struct GateProducts {
    index_t d, p;
    const T* matrices;
    const T* r;
    T* y;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t block = at / d, l = at - block * d;
        const T* column = matrices + block % p * d * d + l;
        const T* from = r + block * d;
        T sum = 0;
        for (index_t k = 0; k < d; ++k) sum += column[k * d] * from[k];
        y[at] = sum;
    }
};
// The lower triangle of I + s H, of order s and with `below` = s (s - 1) / 2 numbers below the
// diagonal. Bytes: reads T (below + s); writes T (below + s).
template <class T> struct ShiftedGram {
    double s;
    index_t n;
    const T* h;
    T* a;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t i = at / n, j = at - i * n;
        if (j <= i) a[at] = static_cast<T>(s) * h[at] + (i == j ? T(1) : T(0));
    }
};
// The upper triangle. Bytes: reads T below; writes T below.
template <class T> struct MirrorLower {
    index_t n;
    T* a;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t i = at / n, j = at - i * n;
        if (j < i) a[j * n + i] = a[at];
    }
};

} // namespace gpu
} // namespace fastopt

// Device kernels of sketch_newton's linear solvers: what they do to one number, for
// backend/cuda_queue.cuh's `apply` and `reduce`, which say the order of sums. n variables, m
// constraints, N rows of A; all numbers are double.
//
// "Bytes" of `count` items counts each byte of device memory once, as caches that hold the rest
// would; `lower` = n (n + 1) / 2; `diagonal` and other conditions are 1 or 0. What `reduce` writes
// comes on top. tests/cuda_emu/test_kkt_traffic.cpp counts the bytes of every kernel.
#pragma once

#include "backend/launch.cuh"
#include "backend/reduce.cuh"
#include "core/vmath.hpp"

namespace fastopt {
namespace gpu {

// ---- vectors -----------------------------------------------------------------------------------

// x *= s. Bytes: reads 16 count; writes 8 count.
struct TimesEach {
    const double* s;
    double* x;
    __device__ void operator()(index_t i) const { x[i] *= s[i]; }
};
// d += s x. Bytes: reads 24 count; writes 8 count.
struct AddTimes {
    const double* s;
    const double* x;
    double* d;
    __device__ void operator()(index_t i) const { d[i] += s[i] * x[i]; }
};
// x += factor y. Bytes: reads 16 count; writes 8 count.
struct Add {
    double factor;
    const double* y;
    double* x;
    __device__ void operator()(index_t i) const { x[i] += factor * y[i]; }
};
// Of two arrays, or of one that is not `distinct`. Bytes: reads 8 count (1 + distinct); writes 0.
struct InnerProduct {
    const double* x;
    const double* y;
    __device__ double operator()(index_t i) const { return x[i] * y[i]; }
};

// ---- A' diag(w) A + R --------------------------------------------------------------------------

// Bytes: reads 8 N; writes 8 N.
struct RootsOfWeights {
    const double* w;
    double* root;
    __device__ void operator()(index_t i) const { root[i] = vsqrt(vabs(w[i])); }
};
// Rows of A times w, or times its root. Bytes: reads 8 N (n + 1); writes 8 N n.
struct WeighedRows {
    index_t n, roots;
    const double* w;
    const double* a;
    double* out;
    __device__ void operator()(index_t at) const {
        const double by = w[at / n];
        out[at] = (roots ? vsqrt(by) : by) * a[at];
    }
};
// out += R v for an R that is not dense. Bytes: reads 8 n (2 + diagonal); writes 8 n.
struct AddRest {
    double scalar;
    const double* diagonal; // or nullptr
    const double* v;
    double* out;
    __device__ void operator()(index_t i) const {
        out[i] += (diagonal ? diagonal[i] : scalar) * v[i];
    }
};
// W (n x n) from its lower triangle without R.
// Bytes: reads 8 (lower (1 + dense) + diagonal n); writes 8 n n.
struct AddRestAndMirror {
    index_t n;
    double scalar;
    const double* diagonal;
    const double* dense;
    double* w;
    __device__ void operator()(index_t at) const {
        const index_t i = at / n, j = at - i * n;
        if (j > i) return;
        double x = w[at];
        if (dense)
            x += dense[at];
        else if (i == j)
            x += diagonal ? diagonal[i] : scalar;
        w[at] = w[j * n + i] = x;
    }
};

// ---- conjugate gradients -----------------------------------------------------------------------

// Bytes: reads 8 n; writes 0.
struct DiagonalEntry {
    index_t n;
    const double* a;
    __device__ double operator()(index_t i) const { return a[i * n + i]; }
};
// P from G in the lower triangle. Bytes: reads 8 (lower (1 + dense) + n + 1); writes 8 lower.
struct SketchedGram {
    index_t n;
    const double* trace;    // of G
    const double* diagonal; // of dw I and of an R that is not dense
    const double* dense;    // or nullptr
    const double* gram;
    double* p;
    __device__ void operator()(index_t at) const {
        const index_t i = at / n, j = at - i * n;
        if (j > i) return;
        double x = gram[at];
        if (dense) x += dense[at];
        if (i == j) x += 1e-14 * trace[0] / static_cast<double>(n) + diagonal[i];
        p[at] = x;
    }
};
// Bytes: reads 0; writes 8 n n.
struct IdentityMatrix {
    index_t n;
    double* a;
    __device__ void operator()(index_t at) const { a[at] = at / n == at % n ? 1.0 : 0.0; }
};
// Of an m x n matrix. Bytes: reads 8 m n; writes 8 m n.
struct Transposed {
    index_t m, n;
    const double* from;
    double* to;
    __device__ void operator()(index_t at) const { to[at % n * m + at / n] = from[at]; }
};
// p = z + beta p, whatever p was where beta = 0 (`restart`).
// Bytes: reads 8 count (2 - restart); writes 8 count.
struct Direction {
    double beta;
    const double* z;
    double* p;
    __device__ void operator()(index_t i) const { p[i] = beta == 0 ? z[i] : z[i] + beta * p[i]; }
};
// d += alpha p and, for the first n, rest -= alpha kd.
// Bytes: reads 8 (2 (n + m) + 2 n + 1); writes 8 (2 n + m).
struct StepAlong {
    index_t n;
    double rz;
    const double* curvature; // p'K p
    const double* p;
    const double* kd;
    double* d;
    double* rest;
    __device__ void operator()(index_t i) const {
        const double alpha = curvature[0] > 0 ? rz / curvature[0] : 0.0;
        d[i] += alpha * p[i];
        if (i < n) rest[i] -= alpha * kd[i];
    }
};

// ---- L D L' ------------------------------------------------------------------------------------

// K (n + m)^2. Bytes: reads 8 (n n + m n); writes 8 (n + m) (n + m).
struct KktMatrix {
    index_t n, m;
    double dw, dc;
    const double* w;
    const double* j;
    double* k;
    __device__ void operator()(index_t at) const {
        const index_t size = n + m, i = at / size, c = at - i * size;
        double x = 0;
        if (i < n && c < n)
            x = w[i * n + c] + (i == c ? dw : 0.0);
        else if (i >= n && c >= n)
            x = i == c ? -dc : 0.0;
        else
            x = i < n ? j[(c - n) * n + i] : j[(i - n) * n + c];
        k[at] = x;
    }
};
// The largest |entry| of each row, infinity where one is no number: a warp a row.
// Bytes: reads 8 size size; writes 8 size.
__global__ void __launch_bounds__(block_size)
    row_largest(const double* __restrict__ a, index_t size, double* __restrict__ largest) {
    for (index_t i = warp_number(); i < size; i += warps()) {
        double most = 0;
        for (index_t c = thread() % warp_size; c < size; c += warp_size) {
            const double x = vabs(a[i * size + c]);
            most = x <= most ? most : (x < HUGE_VAL ? x : HUGE_VAL);
        }
        most = warp_reduce(most, Larger());
        if (thread() % warp_size == 0) largest[i] = most;
    }
}
// Rows and columns. Bytes: reads 8 (size size + size); writes 8 size size.
struct ScaleBoth {
    index_t size;
    const double* s;
    double* a;
    __device__ void operator()(index_t at) const { a[at] *= s[at / size] * s[at % size]; }
};
// The diagonal, and what stands left of it. Bytes: reads 8 (2 size - 1); writes 16 size.
struct BlocksOfD {
    index_t size;
    const double* a;
    double* out;
    __device__ void operator()(index_t i) const {
        out[i] = a[i * size + i];
        out[size + i] = i > 0 ? a[i * size + i - 1] : 0.0;
    }
};
// Bytes: reads 4 count; writes 8 count.
struct Widened {
    const int* from;
    std::int64_t* to;
    __device__ void operator()(index_t i) const { to[i] = from[i]; }
};
// rest = -r - K d, where kd holds K d without its diagonal shifts.
// Bytes: reads 24 count; writes 8 count.
struct KktResidual {
    index_t n;
    double dw, dc;
    const double* r;
    const double* d;
    const double* kd;
    double* rest;
    __device__ void operator()(index_t i) const {
        rest[i] = -r[i] - (kd[i] + (i < n ? dw : -dc) * d[i]);
    }
};

} // namespace gpu
} // namespace fastopt

// Device kernels of sketch_newton's linear solvers: what they do to one number, for
// backend/cuda_queue.cuh's `apply` and `reduce`, which say the order of sums. n variables, m
// constraints, rows of A; all numbers are double. "Reads" and "writes" count numbers of one item.
#pragma once

#include "backend/launch.cuh"
#include "backend/reduce.cuh"
#include "core/vmath.hpp"

namespace fastopt {
namespace gpu {

// ---- vectors -----------------------------------------------------------------------------------

struct TimesEach { // reads 2, writes 1
    const double* s;
    double* x;
    __device__ void operator()(index_t i) const { x[i] *= s[i]; }
};
struct AddTimes { // d += s x: reads 3, writes 1
    const double* s;
    const double* x;
    double* d;
    __device__ void operator()(index_t i) const { d[i] += s[i] * x[i]; }
};
struct Add { // x += factor y: reads 2, writes 1
    double factor;
    const double* y;
    double* x;
    __device__ void operator()(index_t i) const { x[i] += factor * y[i]; }
};
struct InnerProduct { // reads 2
    const double* x;
    const double* y;
    __device__ double operator()(index_t i) const { return x[i] * y[i]; }
};

// ---- A' diag(w) A + R --------------------------------------------------------------------------

struct RootsOfWeights { // reads 1, writes 1
    const double* w;
    double* root;
    __device__ void operator()(index_t i) const { root[i] = vsqrt(vabs(w[i])); }
};
// Rows of A times w, or times its root: reads 2, writes 1.
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
// out += R v for an R that is not dense: reads 3, writes 1.
struct AddRest {
    double scalar;
    const double* diagonal; // or nullptr
    const double* v;
    double* out;
    __device__ void operator()(index_t i) const {
        out[i] += (diagonal ? diagonal[i] : scalar) * v[i];
    }
};
// W (n x n) from its lower triangle without R: reads 2 and writes 2 in the lower triangle.
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

struct DiagonalEntry { // reads 1
    index_t n;
    const double* a;
    __device__ double operator()(index_t i) const { return a[i * n + i]; }
};
// P from G in the lower triangle: reads 2 (3 with a dense R), writes 1.
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
struct IdentityMatrix { // writes 1
    index_t n;
    double* a;
    __device__ void operator()(index_t at) const { a[at] = at / n == at % n ? 1.0 : 0.0; }
};
struct Transposed { // of an m x n matrix: reads 1, writes 1
    index_t m, n;
    const double* from;
    double* to;
    __device__ void operator()(index_t at) const { to[at % n * m + at / n] = from[at]; }
};
struct Direction { // p = z + beta p, whatever p was where beta = 0: reads 2, writes 1
    double beta;
    const double* z;
    double* p;
    __device__ void operator()(index_t i) const { p[i] = beta == 0 ? z[i] : z[i] + beta * p[i]; }
};
// d += alpha p and, for the first n, rest -= alpha kd: reads 4, writes 2.
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

// K (n + m)^2: reads 1, writes 1.
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
// The largest |entry| of each row, infinity where one is no number: a warp a row. Reads the matrix.
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
struct ScaleBoth { // rows and columns: reads 3, writes 1
    index_t size;
    const double* s;
    double* a;
    __device__ void operator()(index_t at) const { a[at] *= s[at / size] * s[at % size]; }
};
struct BlocksOfD { // out: the diagonal, and what stands left of it. Reads 2, writes 2
    index_t size;
    const double* a;
    double* out;
    __device__ void operator()(index_t i) const {
        out[i] = a[i * size + i];
        out[size + i] = i > 0 ? a[i * size + i - 1] : 0.0;
    }
};
struct Widened { // reads 1, writes 1
    const int* from;
    std::int64_t* to;
    __device__ void operator()(index_t i) const { to[i] = from[i]; }
};
// rest = -r - K d, where kd holds K d without its diagonal shifts: reads 3, writes 1.
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

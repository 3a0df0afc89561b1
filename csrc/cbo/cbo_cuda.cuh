// Device kernels of consensus-based optimisation. The mathematics is that of the CPU, in the same
// functors; the kernels say which thread does what. Sums are added in the order of the CPU, which
// is part of their definition, so that a run has the same bits on both. All loops stride over the
// grid.
//
// "Bytes" above a kernel counts each byte of device memory once, as caches that hold the rest
// would: n rows of d numbers of T bytes, c of them in the centre (d, or n d where each particle has
// its own); `rows`, `memory` and other conditions are 1 or 0. tests/cuda_emu/test_cbo_traffic.cpp
// counts the bytes of every kernel and compares.
#pragma once

#include "backend/launch.cuh"
#include "backend/reduce.cuh"
#include "cbo/cbo_steps.hpp"
#include "core/philox.hpp"
#include "core/vmath.hpp"

namespace fastopt {
namespace gpu {

#include "core/random_functors.inl"

#include "cbo/objective_functors.inl"

#include "cbo/cbo_functors.inl"

// Move<T> for kernels: without gaps between its members.
template <class T> struct MoveArguments {
    T* x;
    const T* center;
    const T* best;
    const T* gradient;
    const index_t* rows;
    const T* lower;
    const T* upper;
    const T* step;      // hop: one length a coordinate
    const T* to_center; // isotropic noise: min(||D||, truncation) of each particle
    const T* to_best;
    index_t n, d, center_stride;
    Key key;
    std::uint64_t iteration;
    std::uint32_t stream, clip;
    T drift, diffusion, truncation, memory_drift, memory_diffusion, gradient_weight;
};

__device__ inline index_t particle(const index_t* rows, index_t r) { return rows ? rows[r] : r; }

// ---- noise -------------------------------------------------------------------------------------

// Calls visit(flat index, xi, zeta) for each coordinate of the n particles rows[r] (or r): a thread
// makes the four normals of one Philox block (core/random.hpp), and zeta, of the next stream, if
// `second`. 32 bytes of noise a block and stream; nothing is read but rows.
template <bool second, class Visit>
__device__ void for_noise(const index_t* rows, index_t n, index_t d, const Draw& draw,
                          Visit visit) {
    constexpr index_t group = 4 * lanes;
    const index_t segment = rows ? d : n * d;
    const index_t slots = (segment / group + 2) * lanes; // a segment touches at most these
    const Draw next{draw.key, draw.iteration, draw.stream + 1};
    for (index_t slot = first_item(); slot < (rows ? n : 1) * slots; slot += stride()) {
        const index_t r = slot / slots, within = slot - r * slots;
        const index_t first = rows ? rows[r] * d : 0, end = first + segment;
        const index_t g = first / group + within / lanes, lane = within % lanes;
        const index_t e = g * group + lane;
        if (e >= end) continue;
        const std::uint64_t b = static_cast<std::uint64_t>(g * lanes + lane);
        std::uint32_t counter[4], w[4];
        float xi[4], zeta[4] = {};
        counter_of(draw, b, counter);
        philox4x32(counter, draw.key, w);
        normal_pair(w[0], w[1], xi[0], xi[1]);
        normal_pair(w[2], w[3], xi[2], xi[3]);
        if constexpr (second) {
            counter_of(next, b, counter);
            philox4x32(counter, next.key, w);
            normal_pair(w[0], w[1], zeta[0], zeta[1]);
            normal_pair(w[2], w[3], zeta[2], zeta[3]);
        }
        for (int m = 0; m < 4; ++m) {
            const index_t at = e + m * lanes;
            if (at >= first && at < end) visit(at, xi[m], zeta[m]);
        }
    }
}

// out[0 .. count): the normals of a draw.
// Bytes: reads 0; writes T count.
__global__ void normals(float* __restrict__ out, index_t count, Key key, std::uint64_t iteration,
                        std::uint64_t stream_number) {
    const Draw draw{key, iteration, static_cast<std::uint32_t>(stream_number)};
    for_noise<false>(nullptr, 1, count, draw, [=](index_t at, float xi, float) { out[at] = xi; });
}

// Bytes: reads 0; writes T count.
__global__ void normals(double* __restrict__ out, index_t count, Key key, std::uint64_t iteration,
                        std::uint64_t stream_number) {
    const Draw draw{key, iteration, static_cast<std::uint32_t>(stream_number)};
    constexpr index_t group = 2 * lanes;
    const index_t slots = (count + group - 1) / group * lanes;
    for (index_t slot = first_item(); slot < slots; slot += stride()) {
        const index_t at = slot / lanes * group + slot % lanes;
        std::uint32_t counter[4], w[4];
        double a, b;
        counter_of(draw, static_cast<std::uint64_t>(slot), counter);
        philox4x32(counter, key, w);
        normal_pair(w[0], w[1], w[2], w[3], a, b);
        if (at < count) out[at] = a;
        if (at + lanes < count) out[at + lanes] = b;
    }
}

// ---- moving ------------------------------------------------------------------------------------

// min(||x_i - c_i||, truncation), and the same to the best: eight threads a row, one for each of
// the CPU's partial sums.
// Bytes: reads T (n d + c + memory n d) + 8 n rows; writes T n (1 + memory).
template <class T>
__global__ void row_scales(MoveArguments<T> m, T* __restrict__ to_center, T* __restrict__ to_best) {
    constexpr int rows_of_warp = warp_size / sum_lanes;
    const int lane = thread() % sum_lanes;
    for (index_t base = first_item() / warp_size * rows_of_warp; base < m.n;
         base += stride() / warp_size * rows_of_warp) {
        const index_t r = base + thread() % warp_size / sum_lanes;
        const index_t i = r < m.n ? particle(m.rows, r) : 0;
        double c = 0, y = 0;
        if (r < m.n)
            for (index_t k = lane; k < m.d; k += sum_lanes) {
                const double x = static_cast<double>(m.x[i * m.d + k]);
                const double s = x - static_cast<double>(m.center[i * m.center_stride + k]);
                c += s * s;
                if (!m.best) continue;
                const double t = x - static_cast<double>(m.best[i * m.d + k]);
                y += t * t;
            }
        for (unsigned half = sum_lanes / 2; half > 0; half /= 2) { // tree_sum
            c += __shfl_down_sync(whole_warp, c, half, sum_lanes);
            y += __shfl_down_sync(whole_warp, y, half, sum_lanes);
        }
        if (r >= m.n || lane != 0) continue;
        to_center[i] = smaller(static_cast<T>(vsqrt(c)), m.truncation);
        if (m.best) to_best[i] = smaller(static_cast<T>(vsqrt(y)), m.truncation);
    }
}

// The rule of cbo_kernels.hpp, in place.
// Bytes: reads T (n d (1 + memory + gradient) + c + 2 d + isotropic n (1 + memory)) + 8 n rows;
// writes T n d.
template <class T, bool isotropic, bool memory>
__global__ void __launch_bounds__(block_size) move(MoveArguments<T> m) {
    const DriftDiffusion<T, isotropic> consensus{m.drift, m.diffusion, m.truncation};
    const DriftDiffusion<T, isotropic> personal{m.memory_drift, m.memory_diffusion, m.truncation};
    const Draw draw{m.key, m.iteration, m.stream};
    for_noise<memory>(m.rows, m.n, m.d, draw, [&](index_t at, float xi, float zeta) {
        const index_t i = at / m.d, k = at - i * m.d;
        const T x = m.x[at];
        T step = consensus(x - m.center[i * m.center_stride + k], isotropic ? m.to_center[i] : T(0),
                           static_cast<T>(xi));
        if constexpr (memory)
            step += personal(x - m.best[at], isotropic ? m.to_best[i] : T(0), static_cast<T>(zeta));
        if (m.gradient) step -= m.gradient_weight * m.gradient[at];
        m.x[at] = bounded(x + step, m.lower[k], m.upper[k], m.clip != 0);
    });
}

// Fresh points around the centre.
// Bytes: reads T (c + 3 d) + 8 n rows; writes T n d.
template <class T> __global__ void __launch_bounds__(block_size) hop(MoveArguments<T> m) {
    const Draw draw{m.key, m.iteration, m.stream};
    for_noise<false>(m.rows, m.n, m.d, draw, [&](index_t at, float xi, float) {
        const index_t i = at / m.d, k = at - i * m.d;
        m.x[at] = bounded(m.center[i * m.center_stride + k] + m.step[k] * static_cast<T>(xi),
                          m.lower[k], m.upper[k], m.clip != 0);
    });
}

// x_i <- x_i - drift (x_i - c_i) + diffusion eta_i.
// Bytes: reads T (2 n d + c + 2 d) + 8 n rows; writes T n d.
template <class T> __global__ void move_along(MoveArguments<T> m, const T* __restrict__ eta) {
    for (index_t at = first_item(); at < m.n * m.d; at += stride()) {
        const index_t r = at / m.d, k = at - r * m.d, i = particle(m.rows, r);
        T* x = m.x + i * m.d + k;
        const T c = m.center[i * m.center_stride + k];
        *x = bounded(*x + (m.diffusion * eta[at] - m.drift * (*x - c)), m.lower[k], m.upper[k],
                     m.clip != 0);
    }
}

// out_r = sqrt(w_r) (x_r - c).
// Bytes: reads T (n d + d) + 8 n; writes T n d.
template <class T>
__global__ void weighted_deviation(const double* __restrict__ w, const T* __restrict__ x,
                                   const T* __restrict__ c, index_t n, index_t d,
                                   T* __restrict__ out) {
    for (index_t at = first_item(); at < n * d; at += stride()) {
        const index_t r = at / d, k = at - r * d;
        out[at] = static_cast<T>(vsqrt(w[r])) * (x[at] - c[k]);
    }
}

// ---- rows --------------------------------------------------------------------------------------

// out_r = x_{rows[r]}, the whole numbers among the coordinates, `integers` of them, rounded.
// Bytes: reads T n d + 8 n rows + integer d + 2 T integers; writes T n d.
template <class T>
__global__ void gather(const T* __restrict__ x, const index_t* __restrict__ rows, index_t n,
                       index_t d, const char* __restrict__ integer, const T* __restrict__ lower,
                       const T* __restrict__ upper, T* __restrict__ out) {
    for (index_t at = first_item(); at < n * d; at += stride()) {
        const index_t r = at / d, k = at - r * d;
        const T value = x[particle(rows, r) * d + k];
        out[at] = integer && integer[k] ? integer_in(value, lower[k], upper[k]) : value;
    }
}

// Bytes: reads 16 n; writes 8 n.
__global__ void scatter(const double* __restrict__ from, const index_t* __restrict__ rows,
                        index_t n, double* __restrict__ to) {
    for (index_t r = first_item(); r < n; r += stride()) to[rows[r]] = from[r];
}

// A candidate for the best point; ties go to the earlier row.
struct Ranked {
    double violation, f;
    index_t row;
};
__device__ inline Ranked from_lane_above(const Ranked& a, unsigned delta) {
    return {__shfl_down_sync(whole_warp, a.violation, delta),
            __shfl_down_sync(whole_warp, a.f, delta), __shfl_down_sync(whole_warp, a.row, delta)};
}
__device__ inline Ranked better_of(const Ranked& a, const Ranked& b) {
    const bool equal = a.violation == b.violation && a.f == b.f;
    const bool less = b.violation < a.violation || (b.violation == a.violation && b.f < a.f);
    return less || (equal && b.row < a.row) ? b : a;
}
struct BetterOf {
    __device__ Ranked operator()(const Ranked& a, const Ranked& b) const { return better_of(a, b); }
};

// NaN becomes inf in f and v; the best row of each block.
// Bytes: reads 8 n (1 + constrained); writes 8 n (1 + constrained) + 24 blocks.
__global__ void tidy(double* __restrict__ f, double* __restrict__ v, index_t n,
                     Ranked* __restrict__ best_of_block) {
    Ranked best{infinity, infinity, 0};
    for (index_t r = first_item(); r < n; r += stride()) {
        const double value = f[r] == f[r] ? f[r] : infinity;
        f[r] = value;
        double violation = 0;
        if (v) violation = v[r] = v[r] == v[r] ? v[r] : infinity;
        best = better_of(best, {violation, value, r});
    }
    best = block_reduce(best, dynamic_shared<Ranked>(), BetterOf());
    if (thread() == 0) best_of_block[block()] = best;
}

// best_of_block[0] becomes the best of all n; one block.
// Bytes: reads 24 blocks; writes 24.
__global__ void best_of(Ranked* best_of_block, index_t n) {
    Ranked best{infinity, infinity, 0};
    for (index_t b = thread(); b < n; b += threads()) best = better_of(best, best_of_block[b]);
    best = block_reduce(best, dynamic_shared<Ranked>(), BetterOf());
    if (thread() == 0) best_of_block[0] = best;
}

// Bytes: reads 8 n (1 + constrained + rows); writes 8 n.
__global__ void energies(const double* __restrict__ f, const double* __restrict__ v,
                         const index_t* __restrict__ rows, index_t n, double penalty,
                         double* __restrict__ e) {
    for (index_t r = first_item(); r < n; r += stride()) {
        const index_t i = particle(rows, r);
        e[r] = energy(f[i], v ? v[i] : 0.0, penalty);
    }
}

// A warp a row: all lanes decide, then copy, then one writes the values of the `better` rows. y_f
// and y_v are read by lanes that do not write them: no __restrict__, which would let the compiler
// move the reads past the barrier. Bytes: reads 8 n (2 + 2 constrained + rows) + T d better; writes
// (T d + 8 + 8 constrained) better.
template <class T>
__global__ void remember(const T* __restrict__ x, const double* __restrict__ f,
                         const double* __restrict__ v, const index_t* __restrict__ rows, index_t n,
                         index_t d, double penalty, T* __restrict__ y, double* y_f, double* y_v) {
    const int lane = thread() % warp_size;
    for (index_t r = first_item() / warp_size; r < n; r += stride() / warp_size) {
        const index_t i = particle(rows, r);
        const bool better = replaces(f[i], v ? v[i] : 0.0, y_f[i], v ? y_v[i] : 0.0, penalty);
        __syncwarp();          // everyone has read y_f before it changes
        if (!better) continue; // the same for the whole warp
        for (index_t k = lane; k < d; k += warp_size) y[i * d + k] = x[i * d + k];
        if (lane != 0) continue;
        y_f[i] = f[i];
        if (v) y_v[i] = v[i];
    }
}

// ---- energies, weights, consensus --------------------------------------------------------------

struct Least {
    __device__ double operator()(double a, double b) const { return smaller(a, b); }
};
struct Greatest {
    __device__ double operator()(double a, double b) const { return larger(a, b); }
};
struct TreeSum {
    __device__ double operator()(const double* s) const { return tree_sum(s); }
};
struct OnlySum {
    __device__ double operator()(const double* s) const { return s[0]; }
};

// report = min e, sum (e - min e), sum (e - min e)^2; one block. Goes over e twice.
// Bytes: reads 8 n; writes 24.
__global__ void spread(const double* __restrict__ e, index_t n, double* __restrict__ report) {
    double* shared = dynamic_shared<double>();
    double least = infinity;
    for (index_t r = thread(); r < n; r += threads()) least = smaller(least, e[r]);
    least = block_reduce(least, shared, Least());
    double above = 0, square = 0;
    if (least > -infinity && least < infinity) // the same for the whole block
        chain_sums<1>(n, shared, [=](index_t i) { return e[i] - least; }, OnlySum(), above, square);
    if (thread() == 0) report[0] = least, report[1] = above, report[2] = square;
}

// (sum w)^2 / sum w^2 at a given alpha, by the whole block.
struct EffectiveSize {
    const double* e;
    index_t n;
    double least;
    double* tile;
    __device__ double operator()(double alpha) const {
        double sum, square;
        const EffectiveSize& s = *this;
        chain_sums<sum_lanes>(
            n, tile, [=](index_t i) { return gibbs_weight(s.e[i], alpha, s.least); }, TreeSum(),
            sum, square);
        return sum * sum / square;
    }
};

// One block; goes over e once for each alpha that it tries, about 5 times.
// Bytes: reads 8 n; writes 8.
__global__ void choose_alpha(const double* __restrict__ e, index_t n, double least, double alpha,
                             double target, double* __restrict__ report) {
    const double chosen =
        alpha_of_size(alpha, target, EffectiveSize{e, n, least, dynamic_shared<double>()});
    if (thread() == 0) report[0] = chosen;
}

// Bytes: reads 8 n; writes 8 n.
__global__ void gibbs(const double* __restrict__ e, index_t n, double alpha, double least,
                      double* __restrict__ w) {
    for (index_t i = first_item(); i < n; i += stride()) w[i] = gibbs_weight(e[i], alpha, least);
}

// partial[b] = sum w_r, sum w_r x_r over the rows of block b: a thread a column. Rows of weight 0
// are passed over. Bytes: reads T n d + 8 n + 8 n rows; writes 8 blocks (d + 1).
template <class T>
__global__ void weighted_sums(const double* __restrict__ w, const T* __restrict__ x,
                              const index_t* __restrict__ rows, index_t n, index_t d,
                              index_t block_rows, index_t n_blocks, double* __restrict__ partial) {
    for (index_t at = first_item(); at < n_blocks * (d + 1); at += stride()) {
        const index_t b = at / (d + 1), column = at - b * (d + 1);
        const index_t end = (b + 1) * block_rows < n ? (b + 1) * block_rows : n;
        double sum = 0;
        for (index_t r = b * block_rows; r < end; ++r) {
            const double wr = w[r];
            if (wr == 0.0) continue;
            sum +=
                column == 0 ? wr : wr * static_cast<double>(x[particle(rows, r) * d + column - 1]);
        }
        partial[at] = sum;
    }
}

// c_k = sum_b partial[b][1 + k] / sum_b partial[b][0], blocks in order.
// Bytes: reads 8 blocks (d + 1); writes 8 d.
__global__ void divide_sums(const double* __restrict__ partial, index_t n_blocks, index_t d,
                            double* __restrict__ c) {
    for (index_t k = first_item(); k < d; k += stride()) {
        double total = partial[0], sum = partial[1 + k];
        for (index_t b = 1; b < n_blocks; ++b) {
            total += partial[b * (d + 1)];
            sum += partial[b * (d + 1) + 1 + k];
        }
        c[k] = sum / total;
    }
}

// ---- polarised ---------------------------------------------------------------------------------

// One of the eight partial sums of sum_k ((a_k - b_k) scale_k)^2.
template <class T>
__device__ double distance_lane(const T* a, const T* b, const T* scale, index_t d, int lane) {
    double s = 0;
    for (index_t k = lane; k < d; k += sum_lanes) {
        double t = static_cast<double>(a[k]) - static_cast<double>(b[k]);
        t *= static_cast<double>(scale[k]);
        s += t * t;
    }
    return s;
}

template <class T>
__device__ double scaled_distance(const T* a, const T* b, const T* scale, index_t d) {
    const auto lane = [=](int l) { return distance_lane(a, b, scale, d, l); };
    return ((lane(0) + lane(4)) + (lane(2) + lane(6))) +
           ((lane(1) + lane(5)) + (lane(3) + lane(7)));
}

// A block a particle; `reach` holds n numbers a block, which its threads share (no __restrict__).
// Every block goes over x twice and over e once a particle, which caches are to hold.
// Bytes: reads T (n d + d) + 8 n + 8 n blocks; writes T n d + 8 n blocks.
template <class T>
__global__ void polarize(const T* __restrict__ x, const double* __restrict__ e, index_t n,
                         index_t d, double alpha, double least, const T* __restrict__ inverse_width,
                         double* reach, T* __restrict__ centers) {
    double* shared = dynamic_shared<double>();
    double* exponent = reach + block() * n;
    for (index_t i = block(); i < n; i += blocks()) {
        double top = -infinity; // the largest exponent: subtracted, so that no basin underflows
        for (index_t j = thread(); j < n; j += threads()) {
            const double near = -0.5 * scaled_distance(x + i * d, x + j * d, inverse_width, d);
            const bool counts = e[j] < infinity && near >= kernel_reach;
            exponent[j] = counts ? near - alpha * (e[j] - least) : -infinity;
            top = larger(top, exponent[j]);
        }
        top = block_reduce(top, shared, Greatest());
        const bool alone = !(top > -infinity); // no finite value anywhere: stay
        if (alone) {
            for (index_t k = thread(); k < d; k += threads()) centers[i * d + k] = x[i * d + k];
            continue;
        }
        for (index_t j = thread(); j < n; j += threads()) exponent[j] = vexp(exponent[j] - top);
        double total = 0.0, square = 0.0;
        chain_sums<1>(n, shared, [=](index_t j) { return exponent[j]; }, OnlySum(), total, square);
        for (index_t k = thread(); k < d; k += threads()) {
            T c = 0;
            for (index_t j = 0; j < n; ++j) {
                const T w = static_cast<T>(exponent[j] / total);
                if (w == T(0)) continue;
                c += w * x[j * d + k];
            }
            centers[i * d + k] = c;
        }
        __syncthreads(); // the next particle overwrites the exponents
    }
}

// p_im = softmax_m(-|(x_i - c_m) / width|^2 / 2) for m clusters: a thread a row.
// Bytes: reads T (n d + m d + d) + 8 n m; writes 8 n m.
template <class T>
__global__ void responsibility(const T* __restrict__ x, const T* __restrict__ c, index_t n,
                               index_t m, index_t d, const T* __restrict__ inverse_width,
                               double* __restrict__ p) {
    for (index_t i = first_item(); i < n; i += stride()) {
        double* row = p + i * m;
        double top = -infinity, total = 0.0;
        for (index_t q = 0; q < m; ++q) {
            row[q] = -0.5 * scaled_distance(x + i * d, c + q * d, inverse_width, d);
            top = larger(top, row[q]);
        }
        for (index_t q = 0; q < m; ++q) total += row[q] = vexp(row[q] - top);
        for (index_t q = 0; q < m; ++q) row[q] /= total;
    }
}

// ---- native objectives -------------------------------------------------------------------------

// z = R (x - shift), or x - shift: a thread a number, columns in order.
// Bytes: reads T (n d + rotated d d + shifted d); writes T n d.
template <class T>
__global__ void transform(const T* __restrict__ x, index_t n, index_t d,
                          const T* __restrict__ shift, const T* __restrict__ rotation,
                          T* __restrict__ z) {
    for (index_t at = first_item(); at < n * d; at += stride()) {
        const index_t i = at / d, k = at - i * d;
        if (!rotation) {
            z[at] = x[at] - shift[k];
            continue;
        }
        T sum = 0;
        for (index_t j = 0; j < d; ++j)
            sum += rotation[k * d + j] * (x[i * d + j] - (shift ? shift[j] : T(0)));
        z[at] = sum;
    }
}

// f_i = F(x_i): as many threads a row as the sums have lanes (objective_functors.inl); the lanes
// are folded in halves.
// Bytes: reads T n d; writes 8 n.
template <class F, class T>
__global__ void evaluate(const T* __restrict__ x, index_t n, index_t d, double* __restrict__ f) {
    constexpr int row_lanes = 64 / static_cast<int>(sizeof(T));
    constexpr int rows_of_warp = warp_size / row_lanes;
    const int lane = thread() % row_lanes;
    const index_t used = F::coupled ? d - 1 : d;
    const double dim = static_cast<double>(d);
    for (index_t base = first_item() / warp_size * rows_of_warp; base < n;
         base += stride() / warp_size * rows_of_warp) {
        const index_t i = base + thread() % warp_size / row_lanes;
        const T* row = x + i * d;
        T a = 0, b = F::product ? T(1) : T(0);
        if (i < n)
            for (index_t k = lane; k < used; k += row_lanes) {
                const auto t = F::term(row[k], F::coupled ? row[k + 1] : T(0),
                                       F::weighted ? F::weight(static_cast<double>(k), dim) : T(1));
                a += t.a;
                if constexpr (F::two) b = F::product ? b * t.b : b + t.b;
            }
        for (unsigned half = row_lanes / 2; half > 0; half /= 2) {
            a += __shfl_down_sync(whole_warp, a, half, row_lanes);
            if constexpr (F::two) {
                const T other = __shfl_down_sync(whole_warp, b, half, row_lanes);
                b = F::product ? b * other : b + other;
            }
        }
        if (i < n && lane == 0)
            f[i] = F::finish({static_cast<double>(a), F::two ? static_cast<double>(b) : 0.0, dim,
                              F::ends ? static_cast<double>(row[0]) : 0.0,
                              F::ends ? static_cast<double>(row[d - 1]) : 0.0});
    }
}

} // namespace gpu
} // namespace fastopt

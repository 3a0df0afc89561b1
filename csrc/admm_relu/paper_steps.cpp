// The published splitting's steps on the CPU: groups of blocks on the thread pool.
#include "admm_relu/paper_steps.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

#include "admm_relu/paper_functors.inl"

constexpr index_t group = 16; // blocks per task
constexpr index_t row_tile = 256;

index_t tiles(index_t n, index_t size) { return (n + size - 1) / size; }

} // namespace

template <class T> void PaperSteps<T>::factor(double rv, double rs) {
    const int threads = program_.threads();
    const index_t n = n_, d = d_;
    const T* x = x_.data();
    T* c = factor_.data();
    std::fill(c, c + d * d, T(0));
    const index_t nt = tiles(d, row_tile);
    parallel_for(nt * nt, threads, [&](index_t t) {
        const index_t i0 = t / nt * row_tile, j0 = t % nt * row_tile;
        if (i0 < j0) return;
        gemm(true, false, std::min(row_tile, d - i0), std::min(row_tile, d - j0), n,
             static_cast<T>(rs), x + i0, d, x + j0, d, T(0), c + i0 * d + j0, d);
    });
    for (index_t i = 0; i < d; ++i) c[i * d + i] += static_cast<T>(rv);
    if (!tiled_potrf(d, c, threads)) no_cone_system();
    T* xt = xt_.data();
    std::copy(x, x + n * d, xt);
    parallel_for(tiles(n, row_tile), threads, [&](index_t t) {
        const index_t w = std::min(row_tile, n - t * row_tile);
        trsm(false, true, w, d, c, d, xt + t * row_tile * d, d);
    });
    if (!design_)
        design_ = std::make_unique<Design<T>>(n, d, p_, program_.shape.c, xt, gates_.data(),
                                              threads, steps_.queue());
}

template <class T> void PaperSteps<T>::right_hand_side(double rv, double rs) {
    const PaperRightHandSide<T> f{rv, rs, v.data(), lambda.data(), gq_.data(), a.data()};
    parallel_for(tiles(nb_, group), program_.threads(), [&](index_t t) {
        const index_t b0 = t * group, w = std::min(group, nb_ - b0);
        for (index_t i = b0 * d_; i < (b0 + w) * d_; ++i) f(i);
        trsm(false, true, w, d_, factor_.data(), d_, a.data() + b0 * d_, d_);
    });
}

template <class T> typename PaperSteps<T>::Sums PaperSteps<T>::advance(double level) {
    const index_t n = n_, d = d_, size = program_.shape.size(), nt = tiles(nb_, group);
    const bool cone = program_.shape.cone;
    std::vector<double> part(static_cast<std::size_t>(4 * nt));
    if (last_.size() == 0) last_ = Buffer<double>(size);
    std::copy(v.data(), v.data() + size, last_.data());
    const PaperShrink<T> shrink{level, d, u_.data(), v.data(), lambda.data()};
    const PaperConeRow<T> cone_row{n, p_, gates_.data(), q_.data(), work_.data()};
    parallel_for(nt, program_.threads(), [&](index_t t) {
        const index_t b0 = t * group, w = std::min(group, nb_ - b0);
        T* block = u_.data() + b0 * d;
        std::copy(ut.data() + b0 * d, ut.data() + (b0 + w) * d, block);
        trsm(false, false, w, d, factor_.data(), d, block, d); // u = C'^-1 (.)
        double* sums = part.data() + 4 * t;
        double off_v = 0, length_v = 0;
        for (index_t b = b0; b < b0 + w; ++b) shrink(b, off_v, length_v);
        sums[0] = off_v, sums[1] = length_v;
        if (!cone) return;
        T* pre = work_.data() + b0 * n;
        gemm(false, true, w, n, d, T(1), block, d, x_.data(), d, T(0), pre, n);
        double off = 0, length = 0;
        for (index_t b = b0; b < b0 + w; ++b)
            for (index_t j = 0; j < n; ++j) cone_row(b, j, off, length);
        sums[2] = off, sums[3] = length;
        gemm(false, false, w, d, n, T(1), pre, n, x_.data(), d, T(0), gq_.data() + b0 * d, d);
    });
    double sums[4] = {0, 0, 0, 0}, moved = 0, size_l = 0;
    for (index_t t = 0; t < 4 * nt; ++t) sums[t % 4] += part[t];
    const double *vd = v.data(), *last = last_.data(), *l = lambda.data();
    for (index_t i = 0; i < size; ++i) {
        moved += (vd[i] - last[i]) * (vd[i] - last[i]);
        size_l += l[i] * l[i];
    }
    return {sums[0], sums[1], sums[2], sums[3], moved, size_l};
}

template <class T> typename PaperSteps<T>::Squares PaperSteps<T>::cone_squares() {
    Squares sum{0, 0};
    const T* q = q_.data();
    for (index_t i = 0; i < nb_; ++i) {
        double s2 = 0, nu2 = 0;
        for (index_t j = i * n_; j < (i + 1) * n_; ++j)
            (q[j] > 0 ? s2 : nu2) += static_cast<double>(q[j]) * static_cast<double>(q[j]);
        sum.s += s2, sum.nu += nu2;
    }
    return sum;
}

template <class T> void PaperSteps<T>::rescale_cones(double factor) {
    const PaperRescale<T> rescale{factor, n_, p_, gates_.data(), q_.data(), work_.data()};
    parallel_for(tiles(nb_, group), program_.threads(), [&](index_t t) {
        const index_t b0 = t * group, w = std::min(group, nb_ - b0);
        for (index_t b = b0; b < b0 + w; ++b)
            for (index_t j = 0; j < n_; ++j) rescale(b, j);
        gemm(false, false, w, d_, n_, T(1), work_.data() + b0 * n_, n_, x_.data(), d_, T(0),
             gq_.data() + b0 * d_, d_);
    });
}

template <class T> void PaperSteps<T>::relu_predict(const double* at, double* z) {
    const ProgramShape& shape = program_.shape;
    const index_t n = n_, d = d_, nb = nb_;
    const double* x = program_.kernel_x.data();
    parallel_for(tiles(n, row_tile), program_.threads(), [&](index_t t) { // reads X once
        const index_t first = t * row_tile, w = std::min(row_tile, n - first);
        std::vector<double> pre(static_cast<std::size_t>(nb * w));
        gemm(false, true, nb, w, d, 1.0, at, d, x + first * d, d, 0.0, pre.data(), w);
        for (index_t k = 0; k < shape.c; ++k) std::fill_n(z + k * n + first, w, 0.0);
        for (index_t k = 0; k < nb; ++k) {
            const double sign = k < nb / shape.signs ? 1 : -1;
            double* out = z + k / p_ % shape.c * n + first;
            for (index_t j = 0; j < w; ++j)
                out[j] += pre[k * w + j] > 0 ? sign * pre[k * w + j] : 0.0;
        }
    });
}

#include "admm_relu/paper_steps.inl"
FASTOPT_PAPER_STEPS(double)
FASTOPT_PAPER_STEPS(float)

} // namespace fastopt

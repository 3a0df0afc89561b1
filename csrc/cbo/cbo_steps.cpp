// The plain dynamics' steps on the CPU: blocks of rows, whose number depends on the problem alone,
// on the thread pool.
#include "cbo/cbo_steps.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "core/vmath.hpp"
#include "kernels.hpp"

namespace fastopt {
namespace {

#include "cbo/cbo_functors.inl"

constexpr index_t tile_rows = 64; // of correlated noise

} // namespace

template <class T>
CboSteps<T>::CboSteps(std::shared_ptr<Queue> queue, index_t n, index_t d, int threads)
    : queue_(std::move(queue)), n_(n), d_(d), threads_(threads), block_rows_(rows_of_block(d)) {
    const index_t n_blocks = (n + block_rows_ - 1) / block_rows_;
    partial_ = Array<double>(queue_, checked_product(n_blocks + 1, d + 1)); // and their total
}

template <class T> template <class F> void CboSteps<T>::for_rows(index_t rows, F f) const {
    const index_t n_blocks = (rows + block_rows_ - 1) / block_rows_;
    if (n_blocks == 1) return f(index_t{0}, index_t{0}, rows);
    parallel_for(n_blocks, threads_,
                 [&](index_t b) { f(b, b * block_rows_, std::min((b + 1) * block_rows_, rows)); });
}

template <class T>
void CboSteps<T>::gather(const T* x, const index_t* rows, index_t n, const char* integer,
                         const T* lower, const T* upper, T* out) {
    for (index_t r = 0; r < n; ++r) std::copy_n(x + (rows ? rows[r] : r) * d_, d_, out + r * d_);
    if (!integer) return;
    for (index_t k = 0; k < d_; ++k)
        if (integer[k])
            for (index_t r = 0; r < n; ++r)
                out[r * d_ + k] = integer_in(out[r * d_ + k], lower[k], upper[k]);
}

template <class T>
void CboSteps<T>::scatter(const double* from, const index_t* rows, index_t n, double* to) {
    for (index_t r = 0; r < n; ++r) to[rows[r]] = from[r];
}

template <class T> typename CboSteps<T>::Best CboSteps<T>::tidy(double* f, double* v, index_t n) {
    Best best{infinity, infinity, 0};
    for (index_t r = 0; r < n; ++r) {
        if (std::isnan(f[r])) f[r] = infinity;
        if (v && std::isnan(v[r])) v[r] = infinity;
        const double violation = v ? v[r] : 0.0;
        if (violation < best.violation || (violation == best.violation && f[r] < best.f))
            best = {violation, f[r], r};
    }
    return best;
}

template <class T>
void CboSteps<T>::energies(const double* f, const double* v, const index_t* rows, index_t n,
                           double penalty, double* e) {
    for (index_t r = 0; r < n; ++r) {
        const index_t i = rows ? rows[r] : r;
        e[r] = energy(f[i], v ? v[i] : 0.0, penalty);
    }
}

template <class T>
void CboSteps<T>::remember(const T* x, const double* f, const double* v, const index_t* rows,
                           index_t n, double penalty, T* y, double* y_f, double* y_v) {
    for (index_t r = 0; r < n; ++r) {
        const index_t i = rows ? rows[r] : r;
        if (!replaces(f[i], v ? v[i] : 0.0, y_f[i], v ? y_v[i] : 0.0, penalty)) continue;
        std::copy_n(x + i * d_, d_, y + i * d_);
        y_f[i] = f[i];
        if (v) y_v[i] = v[i];
    }
}

template <class T> typename CboSteps<T>::Spread CboSteps<T>::spread(const double* e, index_t n) {
    Spread s{*std::min_element(e, e + n), 0, 0};
    if (!std::isfinite(s.least)) return s;
    for (index_t r = 0; r < n; ++r) {
        const double above = e[r] - s.least;
        s.above += above, s.square += above * above;
    }
    return s;
}

template <class T>
double CboSteps<T>::choose_alpha(const double* e, index_t n, double e_min, double alpha,
                                 double target) {
    const auto gibbs_sums = cbo_kernels<T>().gibbs_sums;
    return alpha_of_size(alpha, target, [=](double a) {
        double sums[2];
        gibbs_sums(e, n, a, e_min, sums);
        return sums[0] * sums[0] / sums[1];
    });
}

template <class T>
void CboSteps<T>::gibbs(const double* e, index_t n, double alpha, double e_min, double* w) {
    cbo_kernels<T>().gibbs(e, n, alpha, e_min, w);
}

template <class T>
void CboSteps<T>::weighted_mean(const T* x, const index_t* rows, index_t n, const double* w,
                                const Shares& shares, double* c) {
    const index_t n_blocks = (n + block_rows_ - 1) / block_rows_;
    double* partial = partial_.data();
    std::fill(partial, partial + n_blocks * (d_ + 1), 0.0);
    for_rows(n, [&](index_t b, index_t r0, index_t r1) {
        cbo_kernels<T>().weighted_sum(w, x, rows, d_, r0, r1, partial + b * (d_ + 1));
    });
    double* sums = partial + n_blocks * (d_ + 1);
    shares.add_blocks(partial, n_blocks, d_ + 1, sums);
    for (index_t k = 0; k < d_; ++k) c[k] = sums[1 + k] / sums[0];
}

template <class T> void CboSteps<T>::move(const Move<T>& m, index_t n) {
    for_rows(n, [&](index_t, index_t r0, index_t r1) { cbo_kernels<T>().move(m, r0, r1); });
}

template <class T> void CboSteps<T>::hop(const Move<T>& m, const T* step, index_t n) {
    for_rows(n, [&](index_t, index_t r0, index_t r1) { cbo_kernels<T>().hop(m, step, r0, r1); });
}

template <class T> void CboSteps<T>::correlated_move(const Move<T>& m, const T* factor, index_t n) {
    const index_t tile = tile_rows;
    for_rows(n, [&](index_t, index_t first, index_t last) {
        Buffer<T> xi(tile * d_), eta(tile * d_);
        for (index_t r = first; r < last; r += tile) {
            const index_t end = std::min(r + tile, last), count = end - r;
            fill_normal(xi.data(), static_cast<std::uint64_t>(r * d_), count * d_, m.draw);
            gemm<T>(false, true, count, d_, d_, T(1), xi.data(), d_, factor, d_, T(0), eta.data(),
                    d_);
            cbo_kernels<T>().move_along(m, eta.data(), r, end);
        }
    });
}

template <class T>
void CboSteps<T>::covariance(const double* w, const T* x, const T* c, index_t n,
                             T* lower_triangle) {
    // Partial sums would cost d^2 numbers a block, so the rows go through one tile after another.
    const index_t tile = std::min(n, tile_rows * 4);
    Buffer<T> rows(tile * d_);
    std::fill(lower_triangle, lower_triangle + d_ * d_, T(0));
    for (index_t r = 0; r < n; r += tile) {
        const index_t end = std::min(r + tile, n);
        cbo_kernels<T>().weighted_deviation(w, x, c, d_, r, end, rows.data());
        syrk<T>(d_, end - r, T(1), rows.data(), d_, T(1), lower_triangle, d_);
    }
}

template <class T>
void CboSteps<T>::polarize(const T* x, const double* e, index_t n, double alpha, double e_min,
                           const T* inverse_width, T* centers) {
    const index_t n_blocks = (n + block_rows_ - 1) / block_rows_;
    if (reach_.size() < n * n_blocks) reach_ = Array<double>(queue_, checked_product(n, n_blocks));
    for_rows(n, [&](index_t b, index_t r0, index_t r1) {
        cbo_kernels<T>().polarize(x, e, n, d_, alpha, e_min, inverse_width, r0, r1,
                                  reach_.data() + b * n, centers);
    });
}

template <class T>
void CboSteps<T>::responsibility(const T* x, const T* c, index_t n, index_t m,
                                 const T* inverse_width, double* p) {
    for_rows(n, [&](index_t, index_t r0, index_t r1) {
        cbo_kernels<T>().responsibility(x, c, m, d_, inverse_width, r0, r1, p);
    });
}

// The host's own function (native_objective.cpp) does the same on more threads: solvers take that.
template <class T>
void evaluate_resident(Queue&, ObjectiveId id, const T* x, index_t n, index_t d, const T* shift,
                       const T* rotation, T*, double* f) {
    Buffer<T> scratch(objective_scratch(d, shift != nullptr, rotation != nullptr));
    cbo_kernels<T>().evaluate(id, x, n, d, shift, rotation, scratch.data(), f);
}

template class CboSteps<double>;
template class CboSteps<float>;
template void evaluate_resident(Queue&, ObjectiveId, const double*, index_t, index_t, const double*,
                                const double*, double*, double*);
template void evaluate_resident(Queue&, ObjectiveId, const float*, index_t, index_t, const float*,
                                const float*, float*, double*);

} // namespace fastopt

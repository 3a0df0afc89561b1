// The loops of a robust loss over its samples, on the CPU.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "admm_relu/robust.hpp"
#include "core/parallel.hpp"
#include "core/vmath.hpp"

namespace fastopt {
namespace {

double natural_log(double x) { return std::log(x); }
double log_one_plus(double x) { return std::log1p(x); }
#include "admm_relu/loss_functors.inl"
#include "admm_relu/robust_functors.inl"

constexpr index_t row_block = 128;

RobustArguments arguments(const Loss& loss, index_t n, index_t d, const double* x,
                          const Array<double>& radius) {
    return {static_cast<index_t>(loss.kind()),
            n,
            d,
            x,
            radius.data(),
            loss.targets().data(),
            loss.kernel_weights()};
}

// f(j0, j1) for blocks of rows j0 <= j < j1.
template <class F> void row_blocks(index_t n, int threads, F f) {
    parallel_for((n + row_block - 1) / row_block, threads,
                 [&](index_t b) { f(b * row_block, std::min(n, (b + 1) * row_block)); });
}
template <class F> void each(index_t n, int threads, F f) {
    row_blocks(n, threads, [&](index_t j0, index_t j1) {
        for (index_t j = j0; j < j1; ++j) f(j);
    });
}

} // namespace

void RobustLoss::worst(const double* q, double* z) const {
    each(n_, threads_, WorstPrediction{arguments(loss_, n_, d_, x_, radius_), q, z});
}

void RobustLoss::slopes(const double* q, double* t) const {
    each(n_, threads_, DualSlopes{arguments(loss_, n_, d_, x_, radius_), q, t});
}

double RobustLoss::excess(const double* t) const {
    const double* terms = worst_.data();
    each(n_, threads_, DualExcess{arguments(loss_, n_, d_, x_, radius_), t, worst_.data()});
    return std::accumulate(terms, terms + n_, 0.0);
}

void RobustLoss::prox(const double* a, double rho, double* q, double* t) const {
    const RobustProx of{arguments(loss_, n_, d_, x_, radius_), rho, a, q, t};
    row_blocks(n_, threads_, [&](index_t j0, index_t j1) {
        std::vector<double> scratch(static_cast<std::size_t>(2 * d_)); // one sample side by side
        double *own = scratch.data(), *to = own + d_;
        for (index_t j = j0; j < j1; ++j) {
            for (index_t k = 0; k < d_; ++k) own[k] = a[k * n_ + j];
            of.row(j, 1, own, to);
            for (index_t k = 0; k < d_; ++k) q[k * n_ + j] = to[k];
        }
    });
}

} // namespace fastopt

// The loops of a loss over its samples, on the CPU.
#include <algorithm>
#include <cmath>

#include "admm_relu/losses.hpp"
#include "core/parallel.hpp"
#include "core/vmath.hpp"

namespace fastopt {
namespace {

double natural_log(double x) { return std::log(x); }
double log_one_plus(double x) { return std::log1p(x); }
#include "admm_relu/loss_functors.inl"

constexpr index_t row_block = 512;

} // namespace

// Partial sums of fixed blocks of rows, added in order: f(j0, j1) for rows j0 <= j < j1.
template <class F> double Loss::sum_rows(F f) const {
    const index_t nb = (n_ + row_block - 1) / row_block;
    std::vector<double> part(static_cast<std::size_t>(nb));
    parallel_for(nb, threads_,
                 [&](index_t b) { part[b] = f(b * row_block, std::min(n_, (b + 1) * row_block)); });
    double sum = 0;
    for (const double p : part) sum += p;
    return sum;
}

double Loss::value(const double* z) const {
    const double* y = y_.data();
    return over_samples(sum_rows([&](index_t j0, index_t j1) {
        double sum = 0;
        std::vector<double> p(c_);
        for (index_t j = j0; j < j1; ++j) {
            double l = 0;
            if (kind_ == LossKind::softmax)
                l = softmax_value(c_, n_, z + j, y + j, p.data(), 1);
            else
                for (index_t k = 0; k < c_; ++k)
                    l += loss_value(kind_, z[k * n_ + j], y[k * n_ + j], parameter_);
            sum += weight(j) * l;
        }
        return sum;
    }));
}

void Loss::gradient(const double* z, double* t) const {
    const double* y = y_.data();
    sum_rows([&](index_t j0, index_t j1) {
        std::vector<double> p(c_);
        for (index_t j = j0; j < j1; ++j) {
            const double s = weight(j);
            if (kind_ == LossKind::softmax) softmax(c_, z + j, n_, p.data(), 1);
            for (index_t k = 0; k < c_; ++k) {
                const index_t i = k * n_ + j;
                t[i] = s * (kind_ == LossKind::softmax ? p[k] - y[i]
                                                       : loss_slope(kind_, z[i], y[i], parameter_));
            }
        }
        return 0.0;
    });
}

double Loss::conjugate(const double* dual) const {
    const double* y = y_.data();
    return over_samples(sum_rows([&](index_t j0, index_t j1) {
        double sum = 0;
        for (index_t j = j0; j < j1; ++j) {
            const double s = weight(j);
            if (!(s > 0)) continue;
            const double l = row_conjugate(kind_, c_, n_, dual + j, y + j, s, parameter_);
            if (l == HUGE_VAL) return HUGE_VAL;
            sum += s * l;
        }
        return sum;
    }));
}

template <class T> void Loss::prox(const T* r, double rho, T* z) const {
    const double* y = y_.data();
    sum_rows([&](index_t j0, index_t j1) {
        std::vector<double> scratch(5 * c_);
        double *row = scratch.data(), *out = row + c_;
        for (index_t j = j0; j < j1; ++j) {
            const double k = rho / weight(j);
            if (!(weight(j) > 0)) {
                for (index_t o = 0; o < c_; ++o) z[o * n_ + j] = r[o * n_ + j];
                continue;
            }
            if (kind_ == LossKind::softmax) {
                for (index_t o = 0; o < c_; ++o) row[o] = r[o * n_ + j];
                softmax_prox(c_, row, 1, y + j, n_, k, out, 1, out + c_);
                for (index_t o = 0; o < c_; ++o) z[o * n_ + j] = static_cast<T>(out[o]);
                continue;
            }
            for (index_t o = 0; o < c_; ++o) {
                const index_t i = o * n_ + j;
                z[i] = static_cast<T>(
                    loss_prox(kind_, static_cast<double>(r[i]), y[i], k, parameter_));
            }
        }
        return 0.0;
    });
}

bool Loss::curvature(const double* z, double* h) const {
    if (!curved()) return false;
    const double* y = y_.data();
    for (index_t i = 0; i < n_ * c_; ++i)
        h[i] = loss_curvature(kind_, z[i], y[i], weight(i % n_), parameter_);
    return true;
}

template void Loss::prox<double>(const double*, double, double*) const;
template void Loss::prox<float>(const float*, double, float*) const;

} // namespace fastopt

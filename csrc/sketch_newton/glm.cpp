#include "sketch_newton/glm.hpp"

#include <algorithm>
#include <cmath>

#include "core/parallel.hpp"
#include "core/vmath.hpp"

namespace fastopt {
namespace {

struct Loss {
    double value, first, second; // and its derivatives by z
};

// exp that stays a normal number; beyond the range the loss is infinite or zero anyway.
double safe_exp(double z) {
    return z > 709.0 ? std::numeric_limits<double>::infinity() : vexp(std::fmax(z, -700.0));
}

template <Family family> Loss loss(double z, double y) {
    if constexpr (family == Family::gaussian) return {0.5 * (z - y) * (z - y), z - y, 1.0};
    if constexpr (family == Family::logistic) {
        const double t = y * z, e = safe_exp(-std::fabs(t)), q = 1.0 / (1.0 + e);
        const double value = std::fmax(-t, 0.0) + vlog(1.0 + e);
        return {value, -y * (t > 0 ? e * q : q), e * q * q};
    }
    if constexpr (family == Family::poisson) {
        const double mean = safe_exp(z);
        return {mean - y * z, mean - y, mean};
    }
    const double ratio = y * safe_exp(-z);
    return {z + ratio, 1.0 - ratio, ratio};
}

template <Family family>
double all_losses(index_t first, index_t last, const double* y, const double* s, double factor,
                  double* z, double* w) {
    double sum = 0;
    for (index_t i = first; i < last; ++i) {
        const Loss one = loss<family>(z[i], y[i]);
        const double c = s ? factor * s[i] : factor;
        sum += c * one.value;
        z[i] = c * one.first, w[i] = c * one.second;
    }
    return sum;
}

} // namespace

Glm::Glm(const DataMatrix<double>& a, std::vector<double> y, std::vector<double> sample_weight,
         Family family, double l2, double factor, int threads)
    : a_(a), y_(std::move(y)), sample_weight_(std::move(sample_weight)), family_(family), l2_(l2),
      factor_(factor), threads_(threads) {}

void Glm::move_to(const double* x) {
    const index_t n = a_.cols;
    if (!x_.empty() && std::equal(x_.begin(), x_.end(), x)) return;
    x_.clear();                           // nothing is known if the pass or the exchange throws
    g_.resize(n + 1), w_.resize(a_.rows); // f travels between the ranks behind its gradient
    DataMatrix<double> own = a_;
    own.whole = {};
    std::vector<double> losses; // of each row block, added in order
    const RowBlocks b = row_blocks(a_);
    losses.assign(static_cast<std::size_t>(b.n_blocks), 0.0);
    const double* s = sample_weight_.empty() ? nullptr : sample_weight_.data();
    accumulate_rows(own, x, g_.data(), threads_, [&](index_t first, index_t last, double* z) {
        const auto run = family_ == Family::gaussian   ? all_losses<Family::gaussian>
                         : family_ == Family::logistic ? all_losses<Family::logistic>
                         : family_ == Family::poisson  ? all_losses<Family::poisson>
                                                       : all_losses<Family::gamma>;
        losses[first / b.rows_per_block] = run(first, last, y_.data(), s, factor_, z, w_.data());
    });
    f_ = 0;
    for (double part : losses) f_ += part;
    g_[n] = f_;
    sum_over_ranks(a_.whole.comm, g_.data(), n + 1);
    f_ = g_[n];
    double square = 0;
    for (index_t j = 0; j < n; ++j) {
        square += x[j] * x[j];
        g_[j] += l2_ * x[j];
    }
    f_ += 0.5 * l2_ * square;
    x_.assign(x, x + n);
}

double Glm::value(const double* x) {
    move_to(x);
    return f_;
}

void Glm::gradient(const double* x, double* g) {
    move_to(x);
    std::copy_n(g_.begin(), a_.cols, g);
}

const double* Glm::weights(const double* x) {
    move_to(x);
    return w_.data();
}

} // namespace fastopt

#include "admm_relu/robust.hpp"

#include <algorithm>
#include <cmath>

#include "core/parallel.hpp"

namespace fastopt {
namespace {

constexpr index_t row_block = 128;
constexpr int newton_steps = 30, bisections = 60;

// The root in [lo, hi] of an increasing function, given with its slope by f(x, slope): Newton
// inside the bracket, then bisection.
template <class F> double increasing_root(double lo, double hi, double start, F f) {
    const double width = hi - lo;
    double x = start;
    for (int i = 0; i < newton_steps + bisections && hi - lo > 1e-16 * width; ++i) {
        double slope = 0;
        const double value = f(x, slope);
        if (value == 0) return x;
        (value < 0 ? lo : hi) = x;
        double next = i < newton_steps ? x - value / slope : 0.5 * (lo + hi);
        if (!(next >= lo && next <= hi)) next = 0.5 * (lo + hi);
        if (std::abs(next - x) <= 1e-16 * width) return next;
        x = next;
    }
    return x;
}

} // namespace

// One sample's prox: q(theta, tau) = soft(a - tau x / rho, theta e / rho).
struct RobustLoss::Row {
    index_t d = 0;
    const double *x = nullptr, *e = nullptr;
    double y = 0, weight = 1, rho = 1, theta = 0, tau = 0;
    std::vector<double> a, q;

    // Sums of q and of its active part: f = x'q, h = e'|q|, and x'x, x's e, e'e where q != 0.
    double f = 0, h = 0, xx = 0, xe = 0, ee = 0;
    void at(double theta_, double tau_) {
        theta = theta_, tau = tau_;
        f = h = xx = xe = ee = 0;
        for (index_t k = 0; k < d; ++k) {
            const double from = a[k] - tau * x[k] / rho, cut = theta * e[k] / rho;
            const double size = std::abs(from) - cut;
            if (!(size > 0)) {
                q[k] = 0;
                continue;
            }
            q[k] = std::copysign(size, from);
            const double se = std::copysign(e[k], from);
            f += x[k] * q[k], h += e[k] * size;
            xx += x[k] * x[k], xe += x[k] * se, ee += e[k] * e[k];
        }
    }

    // phi(y f - h): theta = -phi'(margin), which grows with theta.
    double margin() const { return y * f - h; }
    double margin_slope() const { return (xx - 2 * y * xe + ee) / rho; }

    // For the squared loss: the tau in [-theta, theta] with the largest dual value, where x'q = y
    // or at an end.
    void best_tau(double theta_) {
        at(theta_, -theta_);
        if (f <= y || !(theta_ > 0)) return;
        at(theta_, theta_);
        if (f >= y) return;
        const double best = increasing_root(-theta_, theta_, std::clamp(tau, -theta_, theta_),
                                            [&](double candidate, double& slope) {
                                                at(theta_, candidate);
                                                slope = xx / rho;
                                                return y - f;
                                            });
        at(theta_, best);
    }
};

RobustLoss::RobustLoss(const Loss& loss, index_t n, index_t d, const double* x,
                       std::vector<double> radius, int threads)
    : loss_(loss), n_(n), d_(d), x_(x), radius_(std::move(radius)), threads_(threads) {}

void RobustLoss::worst(const double* q, double* z) const {
    const bool squared = loss_.kind() == LossKind::squared;
    for (index_t j = 0; j < n_; ++j) {
        double f = 0, h = 0;
        for (index_t k = 0; k < d_; ++k) {
            f += x_[j * d_ + k] * q[k * n_ + j];
            h += radius_[k] * std::abs(q[k * n_ + j]);
        }
        const double y = loss_.y()[j];
        z[j] = squared ? f + std::copysign(h, f - y) : f - y * h;
    }
}

double RobustLoss::value(const double* q) const {
    std::vector<double> z(static_cast<std::size_t>(n_));
    worst(q, z.data());
    return loss_.value(z.data());
}

void RobustLoss::gradient(const double* q, double* t) const {
    std::vector<double> z(static_cast<std::size_t>(n_));
    double *theta = t + d_ * n_, *tau = theta + n_;
    worst(q, z.data());
    loss_.gradient(z.data(), tau);
    for (index_t j = 0; j < n_; ++j) {
        theta[j] = std::abs(tau[j]);
        for (index_t k = 0; k < d_; ++k) {
            const double slope = q[k * n_ + j];
            t[k * n_ + j] = tau[j] * x_[j * d_ + k] +
                            (slope != 0 ? std::copysign(theta[j] * radius_[k], slope) : 0.0);
        }
    }
}

double RobustLoss::conjugate(const double* t) const {
    const double *theta = t + d_ * n_, *tau = theta + n_;
    double value = loss_.conjugate(tau);
    if (loss_.kind() == LossKind::squared)
        for (index_t j = 0; j < n_; ++j)
            value += 0.5 * (theta[j] * theta[j] - tau[j] * tau[j]) / loss_.weight(j);
    return value;
}

void RobustLoss::solve_row(Row& row) const {
    const double s = row.weight, y = row.y;
    row.at(0, 0);
    switch (loss_.kind()) {
    case LossKind::squared: { // theta / s = |f - y| + h, both of which fall with theta
        const double top = s * (std::abs(row.f - y) + row.h);
        if (!(top > 0)) return;
        const auto residual = [&](double theta, double& slope) {
            row.best_tau(theta);
            const double edge = std::abs(row.tau) < theta ? 0.0 : std::copysign(1.0, row.tau);
            slope = 1 / s + (edge != 0    ? row.xx + 2 * edge * row.xe + row.ee
                             : row.xx > 0 ? row.ee - row.xe * row.xe / row.xx
                                          : row.ee) /
                                row.rho;
            return theta / s - (std::abs(row.f - y) + row.h);
        };
        row.best_tau(increasing_root(0, top, top / (1 + s * row.xx / row.rho), residual));
        return;
    }
    case LossKind::hinge: {
        if (row.margin() >= 1) return;
        row.at(s, -s * y);
        if (row.margin() <= 1) return;
        const double theta = increasing_root(0, s, 0.5 * s, [&](double candidate, double& slope) {
            row.at(candidate, -candidate * y);
            slope = row.margin_slope();
            return row.margin() - 1;
        });
        row.at(theta, -theta * y);
        return;
    }
    default: { // theta + s phi'(margin) = 0
        const bool logistic = loss_.kind() == LossKind::logistic;
        const double top = logistic ? s : s * std::max(0.0, 1 - row.margin());
        if (!(top > 0)) return;
        const double theta = increasing_root(0, top, 0.5 * top, [&](double at, double& slope) {
            row.at(at, -at * y);
            const double m = row.margin(), p = sigmoid(-m);
            const double push = logistic ? p : std::max(0.0, 1 - m);
            const double bend = logistic ? p * (1 - p) : m < 1 ? 1.0 : 0.0;
            slope = 1 + s * bend * row.margin_slope();
            return at - s * push;
        });
        row.at(theta, -theta * y);
        return;
    }
    }
}

void RobustLoss::prox(const double* a, double rho, double* q, double* t) const {
    double *theta = t + d_ * n_, *tau = theta + n_;
    parallel_for((n_ + row_block - 1) / row_block, threads_, [&](index_t b) {
        Row row;
        row.d = d_, row.e = radius_.data(), row.rho = rho;
        row.a.resize(static_cast<std::size_t>(d_)), row.q.resize(row.a.size());
        for (index_t j = b * row_block; j < std::min(n_, (b + 1) * row_block); ++j) {
            row.x = x_ + j * d_, row.y = loss_.y()[j], row.weight = loss_.weight(j);
            for (index_t k = 0; k < d_; ++k) row.a[k] = a[k * n_ + j];
            solve_row(row);
            theta[j] = row.theta, tau[j] = row.tau;
            for (index_t k = 0; k < d_; ++k) {
                const double middle = row.tau * row.x[k], wide = row.theta * radius_[k];
                q[k * n_ + j] = row.q[k];
                t[k * n_ + j] =
                    std::clamp(rho * (row.a[k] - row.q[k]), middle - wide, middle + wide);
            }
        }
    });
}

} // namespace fastopt

#include "admm_relu/losses.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "core/vmath.hpp"

namespace fastopt {

double sigmoid(double x) {
    const double e = vexp(x < 0 ? x : -x);
    return x < 0 ? e / (1 + e) : 1 / (1 + e);
}

namespace {

constexpr index_t row_block = 512;
constexpr double infinity = std::numeric_limits<double>::infinity();

double softplus(double x) { return x > 0 ? x + std::log1p(vexp(-x)) : std::log1p(vexp(x)); }
double entropy_term(double p) { return p > 0 ? p * std::log(p) : 0.0; } // p log p
double clip(double x, double lo, double hi) { return x < lo ? lo : x > hi ? hi : x; }

// Rounding may push a dual variable out of its interval; further out it is no dual variable.
bool inside(double& x, double lo, double hi) {
    const double slack = 1e-12 * (hi - lo);
    if (!(x >= lo - slack && x <= hi + slack)) return false;
    x = clip(x, lo, hi);
    return true;
}

// min softplus(-m) + k/2 (m - a)^2: Newton inside the bracket [a, a + 1/k].
double logistic_prox(double a, double k) {
    double lo = a, hi = a + 1 / k, m = a + sigmoid(-a) / (k + 0.25);
    for (int i = 0; i < 60; ++i) {
        const double s = sigmoid(-m), slope = k * (m - a) - s;
        (slope < 0 ? lo : hi) = m;
        double next = m - slope / (k + s * (1 - s));
        if (!(next > lo && next < hi)) next = 0.5 * (lo + hi);
        const bool done = std::abs(next - m) <= 1e-15 * (std::abs(a) + 1 / k);
        m = next;
        if (done) break;
    }
    return m;
}

double huber_value(double r, double corner) {
    const double a = std::abs(r);
    return a <= corner ? 0.5 * r * r : corner * (a - 0.5 * corner);
}

// p = softmax(z) and log sum exp(z).
double softmax(index_t c, const double* z, double* p) {
    const double top = *std::max_element(z, z + c);
    double sum = 0;
    for (index_t k = 0; k < c; ++k) sum += p[k] = vexp(z[k] - top);
    for (index_t k = 0; k < c; ++k) p[k] /= sum;
    return top + std::log(sum);
}

// min logsumexp(z) - y'z + k/2 ||z - r||^2: Newton with backtracking; the Hessian is
// diag(p + k) - p p'.
void softmax_prox(index_t c, const double* r, const double* y, double k, double* z) {
    std::vector<double> p(c), g(c), trial(c);
    std::copy(r, r + c, z);
    const auto value = [&](const double* x, double* probability) {
        double f = softmax(c, x, probability);
        for (index_t i = 0; i < c; ++i) f += -y[i] * x[i] + 0.5 * k * (x[i] - r[i]) * (x[i] - r[i]);
        return f;
    };
    double f = value(z, p.data());
    for (int iteration = 0; iteration < 50; ++iteration) {
        double pw = 0, left = 0, size = 0;
        for (index_t i = 0; i < c; ++i) {
            g[i] = p[i] - y[i] + k * (z[i] - r[i]);
            pw += p[i] * g[i] / (p[i] + k);
            left += p[i] * k / (p[i] + k); // 1 - sum p^2 / (p + k)
            size = std::max(size, std::abs(g[i]));
        }
        if (size <= 1e-15 * (1 + k)) return;
        double slope = 0;
        for (index_t i = 0; i < c; ++i) {
            const double step = g[i] / (p[i] + k) + p[i] / (p[i] + k) * pw / left;
            slope += g[i] * step;
            g[i] = step;
        }
        double t = 1;
        for (; t > 1e-4; t *= 0.5) {
            for (index_t i = 0; i < c; ++i) trial[i] = z[i] - t * g[i];
            const double next = value(trial.data(), p.data());
            if (next <= f - 0.1 * t * slope || (slope < 1e-12 * (1 + std::abs(f)) && t == 1)) {
                f = next;
                break;
            }
        }
        std::copy(trial.begin(), trial.end(), z);
        if (slope <= 1e-24 * (1 + std::abs(f))) return;
    }
}

} // namespace

LossKind loss_kind(const std::string& name) {
    const std::pair<const char*, LossKind> words[] = {{"squared", LossKind::squared},
                                                      {"logistic", LossKind::logistic},
                                                      {"softmax", LossKind::softmax},
                                                      {"hinge", LossKind::hinge},
                                                      {"squared_hinge", LossKind::squared_hinge},
                                                      {"huber", LossKind::huber},
                                                      {"quantile", LossKind::quantile}};
    for (const auto& [word, kind] : words)
        if (name == word) return kind;
    throw std::invalid_argument("unknown loss '" + name + "'");
}

Loss::Loss(LossKind kind, index_t n, index_t c, std::vector<double> y, std::vector<double> weights,
           double parameter, int threads)
    : kind_(kind), n_(n), c_(c), y_(std::move(y)), weights_(std::move(weights)),
      parameter_(parameter), threads_(threads) {}

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
    return sum_rows([&](index_t j0, index_t j1) {
        double sum = 0;
        std::vector<double> row(c_), p(c_);
        for (index_t j = j0; j < j1; ++j) {
            double l = 0;
            if (kind_ == LossKind::softmax) {
                for (index_t k = 0; k < c_; ++k) row[k] = z[k * n_ + j];
                l = softmax(c_, row.data(), p.data());
                for (index_t k = 0; k < c_; ++k) l -= y_[k * n_ + j] * row[k];
            }
            for (index_t k = 0; k < c_ && kind_ != LossKind::softmax; ++k) {
                const double f = z[k * n_ + j], y = y_[k * n_ + j], r = f - y, slack = 1 - y * f;
                switch (kind_) {
                case LossKind::squared:
                    l += 0.5 * r * r;
                    break;
                case LossKind::logistic:
                    l += softplus(-y * f);
                    break;
                case LossKind::hinge:
                    l += slack > 0 ? slack : 0;
                    break;
                case LossKind::squared_hinge:
                    l += slack > 0 ? 0.5 * slack * slack : 0;
                    break;
                case LossKind::huber:
                    l += huber_value(r, parameter_);
                    break;
                default:
                    l += r > 0 ? (1 - parameter_) * r : -parameter_ * r;
                    break;
                }
            }
            sum += weight(j) * l;
        }
        return sum;
    });
}

void Loss::gradient(const double* z, double* t) const {
    sum_rows([&](index_t j0, index_t j1) {
        std::vector<double> row(c_), p(c_);
        for (index_t j = j0; j < j1; ++j) {
            const double s = weight(j);
            if (kind_ == LossKind::softmax) {
                for (index_t k = 0; k < c_; ++k) row[k] = z[k * n_ + j];
                softmax(c_, row.data(), p.data());
            }
            for (index_t k = 0; k < c_; ++k) {
                const index_t i = k * n_ + j;
                const double f = z[i], y = y_[i], r = f - y;
                double g = 0;
                switch (kind_) {
                case LossKind::squared:
                    g = r;
                    break;
                case LossKind::logistic:
                    g = -y * sigmoid(-y * f);
                    break;
                case LossKind::softmax:
                    g = p[k] - y;
                    break;
                case LossKind::hinge:
                    g = y * f < 1 ? -y : 0;
                    break;
                case LossKind::squared_hinge:
                    g = y * f < 1 ? -y * (1 - y * f) : 0;
                    break;
                case LossKind::huber:
                    g = clip(r, -parameter_, parameter_);
                    break;
                case LossKind::quantile:
                    g = r > 0 ? 1 - parameter_ : r < 0 ? -parameter_ : 0;
                    break;
                }
                t[i] = s * g;
            }
        }
        return 0.0;
    });
}

double Loss::conjugate(const double* dual) const {
    return sum_rows([&](index_t j0, index_t j1) {
        double sum = 0;
        for (index_t j = j0; j < j1; ++j) {
            const double s = weight(j);
            if (!(s > 0)) continue;
            double l = 0, total = 0;
            for (index_t k = 0; k < c_; ++k) {
                const index_t i = k * n_ + j;
                double t = dual[i] / s, m = -t * y_[i];
                const double y = y_[i];
                switch (kind_) {
                case LossKind::squared:
                    l += t * (0.5 * t + y);
                    break;
                case LossKind::logistic:
                    if (!inside(m, 0, 1)) return infinity;
                    l += entropy_term(m) + entropy_term(1 - m);
                    break;
                case LossKind::softmax:
                    m = t + y, total += t;
                    if (!inside(m, 0, 1)) return infinity;
                    l += entropy_term(m);
                    break;
                case LossKind::hinge:
                    if (!inside(m, 0, 1)) return infinity;
                    l -= m;
                    break;
                case LossKind::squared_hinge:
                    if (m < 0) return infinity;
                    l += m * (0.5 * m - 1);
                    break;
                case LossKind::huber:
                    if (!inside(t, -parameter_, parameter_)) return infinity;
                    l += t * (0.5 * t + y);
                    break;
                case LossKind::quantile:
                    if (!inside(t, -parameter_, 1 - parameter_)) return infinity;
                    l += t * y;
                    break;
                }
            }
            if (!(std::abs(total) <= 1e-9)) return infinity;
            sum += s * l;
        }
        return sum;
    });
}

template <class T> void Loss::prox(const T* r, double rho, T* z) const {
    sum_rows([&](index_t j0, index_t j1) {
        std::vector<double> row(c_), out(c_), target(c_);
        for (index_t j = j0; j < j1; ++j) {
            const double k = rho / weight(j);
            if (!(weight(j) > 0)) {
                for (index_t o = 0; o < c_; ++o) z[o * n_ + j] = r[o * n_ + j];
                continue;
            }
            if (kind_ == LossKind::softmax) {
                for (index_t o = 0; o < c_; ++o) row[o] = r[o * n_ + j], target[o] = y_[o * n_ + j];
                softmax_prox(c_, row.data(), target.data(), k, out.data());
                for (index_t o = 0; o < c_; ++o) z[o * n_ + j] = static_cast<T>(out[o]);
                continue;
            }
            for (index_t o = 0; o < c_; ++o) {
                const index_t i = o * n_ + j;
                const double y = y_[i], a = r[i], m = y * a; // y = +-1 for the margin losses
                double x = a;
                switch (kind_) {
                case LossKind::squared:
                    x = (y + k * a) / (1 + k);
                    break;
                case LossKind::logistic:
                    x = y * logistic_prox(m, k);
                    break;
                case LossKind::hinge:
                    x = y * (m >= 1 ? m : std::min(1.0, m + 1 / k));
                    break;
                case LossKind::squared_hinge:
                    x = m >= 1 ? a : y * (1 + k * m) / (1 + k);
                    break;
                case LossKind::huber:
                    x = a - clip((a - y) / (1 + k), -parameter_ / k, parameter_ / k);
                    break;
                default:
                    x = y + (a - y) - clip(a - y, -parameter_ / k, (1 - parameter_) / k);
                    break;
                }
                z[i] = static_cast<T>(x);
            }
        }
        return 0.0;
    });
}

bool Loss::curvature(const double* z, double* h) const {
    if (kind_ == LossKind::softmax || kind_ == LossKind::hinge || kind_ == LossKind::quantile)
        return false;
    for (index_t i = 0; i < n_ * c_; ++i) {
        const double f = z[i], y = y_[i], s = weight(i % n_), p = sigmoid(-y * f);
        switch (kind_) {
        case LossKind::logistic:
            h[i] = s * p * (1 - p);
            break;
        case LossKind::squared_hinge:
            h[i] = y * f < 1 ? s : 0;
            break;
        case LossKind::huber:
            h[i] = std::abs(f - y) <= parameter_ ? s : 0;
            break;
        default:
            h[i] = s;
            break;
        }
    }
    return true;
}

double Loss::typical_curvature() const {
    double mean = 1;
    if (!weights_.empty()) {
        mean = 0;
        for (const double w : weights_) mean += w / static_cast<double>(n_);
    }
    switch (kind_) {
    case LossKind::logistic:
        return 0.1 * mean;
    case LossKind::softmax:
        return 0.05 * mean;
    case LossKind::hinge:
        return 0.4 * mean;
    case LossKind::quantile: {
        double spread = 0; // |l'| over the size of the targets
        for (const double y : y_) spread += std::abs(y) / static_cast<double>(y_.size());
        return spread > 0 ? 0.4 * mean / spread : mean;
    }
    default:
        return mean;
    }
}

template void Loss::prox<double>(const double*, double, double*) const;
template void Loss::prox<float>(const float*, double, float*) const;

} // namespace fastopt

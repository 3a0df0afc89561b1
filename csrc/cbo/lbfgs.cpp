#include "cbo/lbfgs.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cbo/line_search.hpp"

namespace fastopt {
namespace {

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr index_t least_batch = 16, largest_batch = 1 << 22; // points; coordinates
constexpr double infinity = std::numeric_limits<double>::infinity();

// Eight partial sums in a fixed order: vectors on every CPU, the same bits on each.
double dot(const double* a, const double* b, index_t n) {
    double part[8] = {};
    index_t k = 0;
    for (; k + 8 <= n; k += 8)
        for (index_t j = 0; j < 8; ++j) part[j] += a[k + j] * b[k + j];
    for (index_t j = 0; k + j < n; ++j) part[j] += a[k + j] * b[k + j];
    return ((part[0] + part[4]) + (part[2] + part[6])) +
           ((part[1] + part[5]) + (part[3] + part[7]));
}

// Gaussian elimination with partial pivoting of a row-major n x n matrix; false if singular.
bool factor(double* a, index_t* pivot, index_t n) {
    for (index_t k = 0; k < n; ++k) {
        index_t p = k;
        for (index_t i = k + 1; i < n; ++i)
            if (std::abs(a[i * n + k]) > std::abs(a[p * n + k])) p = i;
        const double top = a[p * n + k];
        if (!(std::abs(top) > 0) || !std::isfinite(top)) return false;
        pivot[k] = p;
        if (p != k) std::swap_ranges(a + k * n, a + k * n + n, a + p * n);
        for (index_t i = k + 1; i < n; ++i) {
            const double l = a[i * n + k] /= top;
            for (index_t j = k + 1; j < n; ++j) a[i * n + j] -= l * a[k * n + j];
        }
    }
    return true;
}

void solve(const double* a, const index_t* pivot, index_t n, double* b) {
    for (index_t k = 0; k < n; ++k) std::swap(b[k], b[pivot[k]]);
    for (index_t k = 0; k < n; ++k) b[k] -= dot(a + k * n, b, k);
    for (index_t k = n - 1; k >= 0; --k)
        b[k] = (b[k] - dot(a + k * n + k + 1, b + k + 1, n - k - 1)) / a[k * n + k];
}

} // namespace

Lbfgs::Lbfgs(index_t d, const LbfgsOptions& options)
    : d_(d), m_(options.memory),
      rows_(std::min((options.central ? 2 : 1) * d + 1, std::max(least_batch, largest_batch / d))),
      o_(options) {
    for (auto* v : {&x_, &g_, &x0_, &g0_, &direction_, &cauchy_, &breakpoints_, &reduced_})
        v->resize(d);
    for (auto* v : {&s_, &y_}) v->resize(m_ * d);
    for (auto* v : {&ss_, &sy_}) v->resize(m_ * m_);
    for (auto* v : {&middle_, &inner_}) v->resize(4 * m_ * m_);
    for (auto* v : {&p_, &c_, &w_, &v_}) v->resize(2 * m_);
    for (auto* v : {&middle_pivot_, &inner_pivot_}) v->resize(2 * m_);
    wf_.resize(2 * m_ * d);
    order_.resize(d);
    free_.reserve(d);
    batch_.resize(rows_ * d);
    values_.resize((options.central ? 2 : 1) * d + 1);
}

// f and its differences at x_, forward (inward where the box ends) or central (one-sided there).
// Point 0 is x_, the next ones differ in one free coordinate each; one batch unless d is large.
// False when there is no usable value.
bool Lbfgs::gradient(const Evaluate& evaluate) {
    const index_t sides = o_.central ? 2 : 1;
    const index_t n = sides * static_cast<index_t>(free_.size()) + 1;
    for (index_t first = 0; first < n; first += rows_) {
        const index_t rows = std::min(rows_, n - first);
        for (index_t i = 0; i < rows; ++i) {
            double* u = &batch_[i * d_];
            std::copy(x_.begin(), x_.end(), u);
            const index_t point = first + i - 1;
            if (point >= 0) differ(u[free_[point / sides]], point % sides);
        }
        const index_t done = evaluate(batch_.data(), rows, values_.data() + first);
        nfev_ += done;
        if (done < rows) return complete_ = false;
    }
    f_ = values_[0];
    if (!std::isfinite(f_)) return false;
    for (index_t i = 0; i < static_cast<index_t>(free_.size()); ++i) {
        const index_t k = free_[i];
        double first = x_[k], last = x_[k];
        differ(first, 0);
        if (o_.central) differ(last, 1);
        const double* f = &values_[1 + sides * i];
        g_[k] = (f[0] - (o_.central ? f[1] : f_)) / (first - last);
        if (!std::isfinite(g_[k])) g_[k] = 0; // a wall of +inf: no information this way
    }
    return true;
}

void Lbfgs::differ(double& u, index_t side) const {
    const double h = o_.difference;
    if (o_.central)
        u = side == 0 ? std::min(u + h, 1.0) : std::max(u - h, 0.0);
    else
        u += u + h > 1 ? -h : h;
}

double Lbfgs::projected_gradient() const {
    double largest = 0;
    for (index_t k : free_) {
        const double stepped = std::min(1.0, std::max(0.0, x_[k] - g_[k]));
        largest = std::max(largest, std::abs(stepped - x_[k]));
    }
    return largest;
}

void Lbfgs::forget() {
    k_ = 0;
    theta_ = 1;
}

// B = theta I - W M W', W = [Y, theta S], M^-1 = [[-D, L'], [L, theta S'S]] (eq. 3.2 to 3.4).
bool Lbfgs::factor_middle() {
    const index_t n = 2 * k_;
    for (index_t i = 0; i < k_; ++i)
        for (index_t j = 0; j < k_; ++j) {
            const double below = i > j ? sy_[i * m_ + j] : 0; // L
            middle_[i * n + j] = i == j ? -sy_[i * m_ + i] : 0;
            middle_[(k_ + i) * n + j] = below;
            middle_[j * n + k_ + i] = below;
            middle_[(k_ + i) * n + k_ + j] = theta_ * ss_[i * m_ + j];
        }
    return factor(middle_.data(), middle_pivot_.data(), n);
}

// The first local minimiser of the quadratic model along the projected gradient path (CP, p. 1197).
// Leaves cauchy_ and c_ = W'(cauchy - x).
void Lbfgs::cauchy_point() {
    const index_t n = 2 * k_;
    index_t breaks = 0;
    double slope = 0;
    cauchy_ = x_;
    std::fill(direction_.begin(), direction_.end(), 0.0);
    for (index_t k : free_) {
        const double g = g_[k];
        if (g == 0) continue;
        const double t = (g < 0 ? x_[k] - 1 : x_[k]) / g;
        if (t <= 0) continue;
        breakpoints_[k] = t;
        direction_[k] = -g;
        slope -= g * g;
        order_[breaks++] = k;
    }
    for (index_t j = 0; j < k_; ++j) {
        p_[j] = dot(&y_[j * d_], direction_.data(), d_);
        p_[k_ + j] = theta_ * dot(&s_[j * d_], direction_.data(), d_);
    }
    std::fill(c_.begin(), c_.end(), 0.0);
    const auto middle_product = [&](const double* a, const double* b) { // a' M b
        std::copy(b, b + n, v_.begin());
        solve(middle_.data(), middle_pivot_.data(), n, v_.data());
        return dot(a, v_.data(), n);
    };
    double curvature = -theta_ * slope - (n ? middle_product(p_.data(), p_.data()) : 0);
    const double floor = -epsilon * theta_ * slope;
    const auto later = [&](index_t a, index_t b) {
        return breakpoints_[a] > breakpoints_[b] || (breakpoints_[a] == breakpoints_[b] && a > b);
    };
    std::make_heap(order_.begin(), order_.begin() + breaks, later);
    double t = 0;
    while (slope < 0) {
        double minimiser = -slope / std::max(curvature, floor);
        if (!std::isfinite(minimiser)) minimiser = 0;
        const double interval = breaks ? breakpoints_[order_[0]] - t : infinity;
        if (minimiser < interval || !breaks) {
            t += minimiser;
            for (index_t j = 0; j < n; ++j) c_[j] += minimiser * p_[j];
            break;
        }
        const index_t b = order_[0]; // coordinate b reaches its bound
        std::pop_heap(order_.begin(), order_.begin() + breaks, later);
        --breaks;
        t += interval;
        const double g = g_[b];
        cauchy_[b] = direction_[b] > 0 ? 1 : 0;
        const double z = cauchy_[b] - x_[b];
        for (index_t j = 0; j < n; ++j) c_[j] += interval * p_[j];
        direction_[b] = 0;
        slope += interval * curvature + g * g + theta_ * g * z;
        curvature -= theta_ * g * g;
        if (n) {
            for (index_t j = 0; j < k_; ++j) {
                w_[j] = y_[j * d_ + b];
                w_[k_ + j] = theta_ * s_[j * d_ + b];
            }
            slope -= g * middle_product(w_.data(), c_.data());
            curvature -= 2 * g * middle_product(w_.data(), p_.data()) +
                         g * g * middle_product(w_.data(), w_.data());
            for (index_t j = 0; j < n; ++j) p_[j] += g * w_[j];
        }
        curvature = std::max(curvature, floor);
        if (!breaks) break;
    }
    for (index_t k : free_)
        if (direction_[k] != 0)
            cauchy_[k] = std::min(1.0, std::max(0.0, x_[k] + t * direction_[k]));
}

// Minimises the model over the coordinates that are free at the Cauchy point (direct primal method,
// p. 1199), then projects; leaves the search direction in direction_.
void Lbfgs::subspace_step() {
    const index_t n = 2 * k_;
    index_t inside = 0;
    for (index_t k : free_)
        if (cauchy_[k] > 0 && cauchy_[k] < 1) order_[inside++] = k;
    if (inside && n) {
        std::copy(c_.begin(), c_.begin() + n, w_.begin());
        solve(middle_.data(), middle_pivot_.data(), n, w_.data()); // M c
        for (index_t i = 0; i < inside; ++i) {
            const index_t k = order_[i];
            reduced_[i] = g_[k] + theta_ * (cauchy_[k] - x_[k]);
        }
        for (index_t j = 0; j < k_; ++j)
            for (index_t i = 0; i < inside; ++i) {
                wf_[j * inside + i] = y_[j * d_ + order_[i]];
                wf_[(k_ + j) * inside + i] = theta_ * s_[j * d_ + order_[i]];
            }
        for (index_t j = 0; j < n; ++j)
            for (index_t i = 0; i < inside; ++i) reduced_[i] -= w_[j] * wf_[j * inside + i];
        for (index_t j = 0; j < n; ++j)
            v_[j] = dot(&wf_[j * inside], reduced_.data(), inside); // W' r
        solve(middle_.data(), middle_pivot_.data(), n, v_.data());
        // (I - M W'W / theta) v = M W' r, the matrix built by columns in inner_.
        for (index_t j = 0; j < n; ++j) {
            for (index_t i = 0; i < n; ++i)
                w_[i] = dot(&wf_[i * inside], &wf_[j * inside], inside) / theta_;
            solve(middle_.data(), middle_pivot_.data(), n, w_.data());
            for (index_t i = 0; i < n; ++i) inner_[i * n + j] = (i == j) - w_[i];
        }
        if (factor(inner_.data(), inner_pivot_.data(), n)) {
            solve(inner_.data(), inner_pivot_.data(), n, v_.data());
            for (index_t i = 0; i < inside; ++i) direction_[i] = reduced_[i];
            for (index_t j = 0; j < n; ++j)
                for (index_t i = 0; i < inside; ++i)
                    direction_[i] += v_[j] / theta_ * wf_[j * inside + i];
            for (index_t i = 0; i < inside; ++i) reduced_[i] = -direction_[i] / theta_;
        } else {
            inside = 0;
        }
    } else {
        inside = 0;
    }
    for (index_t k = 0; k < d_; ++k) direction_[k] = cauchy_[k] - x_[k];
    for (index_t i = 0; i < inside; ++i) {
        const index_t k = order_[i];
        direction_[k] = std::min(1.0, std::max(0.0, cauchy_[k] + reduced_[i])) - x_[k];
    }
    if (inside == 0 || dot(direction_.data(), g_.data(), d_) < 0) return;
    double longest = 1; // the projection spoilt the descent: stop at the first bound instead
    for (index_t i = 0; i < inside; ++i) {
        const double c = cauchy_[order_[i]], r = reduced_[i];
        if (r > 0) longest = std::min(longest, (1 - c) / r);
        if (r < 0) longest = std::min(longest, -c / r);
    }
    for (index_t i = 0; i < inside; ++i) {
        const index_t k = order_[i];
        direction_[k] = std::min(1.0, std::max(0.0, cauchy_[k] + longest * reduced_[i])) - x_[k];
    }
}

// Strong Wolfe search along direction_ from x0_; false when it found no better point.
bool Lbfgs::line_search(index_t iteration, const Evaluate& evaluate) {
    slope_ = dot(g0_.data(), direction_.data(), d_);
    if (!(slope_ < 0)) return false;
    double longest = 1;
    if (iteration > 0) {
        longest = 1e10;
        for (index_t k : free_) {
            const double r = direction_[k];
            if (r > 0) longest = std::min(longest, (1 - x0_[k]) / r);
            if (r < 0) longest = std::min(longest, -x0_[k] / r);
        }
        longest = std::max(longest, 1.0);
    }
    WolfeSearch search(f_, slope_, 1.0, longest);
    for (index_t trial = 0; trial < o_.max_trials; ++trial) {
        step_ = search.step();
        for (index_t k = 0; k < d_; ++k)
            x_[k] = std::min(1.0, std::max(0.0, x0_[k] + step_ * direction_[k]));
        if (!gradient(evaluate)) return false;
        const double slope = dot(g_.data(), direction_.data(), d_);
        if (search.advance(f_, slope)) return true;
        if (search.failed()) return false;
    }
    return false;
}

// Adds the pair s = x - x0, y = g - g0; drops the oldest when full. False if curvature is not
// positive enough (the pair is skipped).
bool Lbfgs::remember() {
    double yy = 0, ys = 0;
    for (index_t k = 0; k < d_; ++k) {
        const double y = g_[k] - g0_[k];
        yy += y * y;
        ys += y * (x_[k] - x0_[k]);
    }
    if (!(ys > epsilon * std::max(1e-300, -slope_ * step_)) || !std::isfinite(yy)) return false;
    if (k_ == m_) {
        std::copy(s_.begin() + d_, s_.end(), s_.begin());
        std::copy(y_.begin() + d_, y_.end(), y_.begin());
        for (auto* a : {&ss_, &sy_})
            for (index_t i = 1; i < m_; ++i)
                for (index_t j = 1; j < m_; ++j) (*a)[(i - 1) * m_ + j - 1] = (*a)[i * m_ + j];
        --k_;
    }
    double* s = &s_[k_ * d_];
    double* y = &y_[k_ * d_];
    for (index_t k = 0; k < d_; ++k) s[k] = x_[k] - x0_[k], y[k] = g_[k] - g0_[k];
    for (index_t j = 0; j <= k_; ++j) {
        ss_[k_ * m_ + j] = ss_[j * m_ + k_] = dot(s, &s_[j * d_], d_);
        sy_[k_ * m_ + j] = dot(s, &y_[j * d_], d_);
    }
    ++k_;
    theta_ = yy / ys;
    return true;
}

LocalResult Lbfgs::minimize(double* u, const std::vector<char>& frozen, index_t maxfun,
                            const Evaluate& evaluate) {
    free_.clear();
    for (index_t k = 0; k < d_; ++k)
        if (frozen.empty() || !frozen[k]) free_.push_back(k);
    std::copy(u, u + d_, x_.begin());
    std::fill(g_.begin(), g_.end(), 0.0);
    forget();
    nfev_ = 0;
    converged_ = false;
    complete_ = true;
    f_ = infinity;
    if (!gradient(evaluate)) return {f_, nfev_, false, complete_};

    for (index_t iteration = 0; nfev_ < maxfun;) {
        if (projected_gradient() <= o_.gtol) {
            converged_ = true;
            break;
        }
        if (k_ && !factor_middle()) forget();
        cauchy_point();
        subspace_step();
        const double f0 = f_;
        x0_ = x_;
        g0_ = g_;
        if (!line_search(iteration, evaluate)) {
            x_ = x0_;
            g_ = g0_;
            f_ = f0;
            if (!complete_ || k_ == 0) break;
            forget(); // once more from here along the gradient
            continue;
        }
        ++iteration;
        if (f0 - f_ <= o_.ftol * std::max({std::abs(f0), std::abs(f_), 1.0})) {
            converged_ = true;
            break;
        }
        if (remember() && !std::isfinite(theta_)) forget();
    }
    std::copy(x_.begin(), x_.end(), u);
    return {f_, nfev_, converged_, complete_};
}

} // namespace fastopt

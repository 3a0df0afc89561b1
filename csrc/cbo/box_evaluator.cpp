#include "cbo/box_evaluator.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "core/error.hpp"

namespace fastopt {
namespace {

double standard_deviation(const std::vector<double>& values) {
    if (values.empty()) return no_limit;
    const double least = *std::min_element(values.begin(), values.end());
    double sum = 0, square = 0;
    for (const double value : values)
        sum += value - least, square += (value - least) * (value - least);
    const double n = static_cast<double>(values.size()), mean = sum / n;
    return std::isfinite(square) ? std::sqrt(std::max(square / n - mean * mean, 0.0)) : no_limit;
}

} // namespace

template <class T>
BoxEvaluator<T>::BoxEvaluator(const CboProblem<T>& problem, const CboOptions& options)
    : problem_(problem), options_(options), shares_(problem.comm), best_x_(problem.lower) {
    for (index_t k = 0; k < problem.dim(); ++k) {
        double lo = problem.lower[k], hi = problem.upper[k];
        const bool integer = !problem.integer.empty() && problem.integer[k];
        if (integer) lo = std::ceil(lo), hi = std::floor(hi);
        least_.push_back(round_up<T>(lo)), most_.push_back(round_down<T>(hi));
        fixed_.push_back(least_.back());
        const bool last_chance = k + 1 == problem.dim() && free_.empty();
        if (!(lo < hi) && !last_chance) continue; // a box of one point keeps one coordinate
        free_.push_back(k);
        lower_.push_back(lo);
        range_.push_back(hi - lo);
        cells_.push_back(integer ? hi - lo + 1 : 0);
    }
}

template <class T> HybridOptions BoxEvaluator<T>::hybrid_options() {
    HybridOptions h;
    h.n_particles = options_.n_particles;
    h.polish = options_.polish;
    h.maxfev = options_.maxfev;
    // A user's 1e-8 is below what float32 can show.
    h.tol = options_.tol > 0 ? std::max(options_.tol, 8.0 * std::numeric_limits<T>::epsilon()) : 0;
    h.atol = options_.atol;
    h.coarse = std::is_same_v<T, float>;
    h.key = options_.key;
    if (!problem_.x0.empty()) {
        h.x0.resize(free_.size());
        to_unit(problem_.x0.data(), h.x0.data());
    }
    if (std::any_of(cells_.begin(), cells_.end(), [](double c) { return c > 0; })) h.cells = cells_;
    if (problem_.local_search)
        h.local_search = [this](double* u, index_t maxfun) { return search(u, maxfun); };
    return h;
}

template <class T> void BoxEvaluator<T>::to_user(const double* u, T* x) const {
    std::copy(fixed_.begin(), fixed_.end(), x);
    for (std::size_t j = 0; j < free_.size(); ++j) {
        const index_t k = free_[j];
        const double value = cells_[j] > 0
                                 ? lower_[j] + std::min(std::floor(u[j] * cells_[j]), cells_[j] - 1)
                                 : lower_[j] + range_[j] * u[j];
        x[k] = std::min(std::max(static_cast<T>(value), least_[k]), most_[k]);
    }
}

template <class T> void BoxEvaluator<T>::to_unit(const double* x, double* u) const {
    for (std::size_t j = 0; j < free_.size(); ++j) {
        const double above = x[free_[j]] - lower_[j];
        const double unit =
            cells_[j] > 0 ? (above + 0.5) / cells_[j] : (range_[j] > 0 ? above / range_[j] : 0.5);
        u[j] = std::min(std::max(unit, 0.0), 1.0);
    }
}

// Infeasible points come after all feasible ones, ordered by violation.
template <class T> double BoxEvaluator<T>::rank(double f, double violation) const {
    if (!(violation > 0)) return f;
    return 1e200 * std::min(std::max(violation, 1e-90), 1e100);
}

template <class T> void BoxEvaluator<T>::note(const T* x, double f, double violation) {
    if (violation > best_v_ || (violation == best_v_ && !(f < best_f_))) return;
    best_v_ = violation, best_f_ = f;
    std::copy(x, x + problem_.dim(), best_x_.begin());
}

template <class T> index_t BoxEvaluator<T>::evaluate(const double* u, index_t n, double* f) {
    if (target_reached() || best_f_ == -no_limit) return 0;
    n = std::min(n, options_.maxfev - nfev_);
    if (n <= 0) return 0;
    const index_t d = problem_.dim(), free = free_dim();
    if (static_cast<index_t>(points_.size()) < n * d) points_.resize(n * d), given_.resize(n * d);
    for (index_t i = 0; i < n; ++i) to_user(u + i * free, points_.data() + i * d);
    const bool preserves = problem_.objective->preserves_points();
    if (!preserves) std::copy_n(points_.begin(), n * d, given_.begin());
    double* v = nullptr;
    if (problem_.objective->constrained()) {
        if (static_cast<index_t>(violations_.size()) < n) violations_.resize(n);
        v = violations_.data();
    }
    shares_.evaluate(*problem_.objective, preserves ? points_.data() : given_.data(), n, d, f, v);
    nfev_ += n;
    for (index_t i = 0; i < n; ++i) {
        if (std::isnan(f[i])) f[i] = no_limit;
        const double violation = !v ? 0.0 : (std::isnan(v[i]) ? no_limit : v[i]);
        if (f[i] < no_limit || violation < best_v_) note(points_.data() + i * d, f[i], violation);
        f[i] = std::isinf(f[i]) && f[i] > 0 ? no_limit : rank(f[i], violation);
    }
    return n;
}

// A local search by the caller, in the user's units.
template <class T> LocalResult BoxEvaluator<T>::search(double* u, index_t maxfun) {
    const index_t left = std::min(maxfun, options_.maxfev - nfev_);
    LocalResult result;
    result.f = no_limit;
    result.complete = false;
    if (left <= 0 || target_reached()) return result;
    std::vector<T> point(problem_.dim());
    to_user(u, point.data());
    std::vector<double> x(point.begin(), point.end());
    double violation = 0;
    result.nfev = (*problem_.local_search)(x, left, result.f, violation);
    FASTOPT_REQUIRE(result.nfev > 0, "local_search must evaluate at least one point");
    nfev_ += result.nfev;
    to_unit(x.data(), u);
    std::copy(x.begin(), x.end(), point.begin());
    if (std::isnan(result.f)) result.f = no_limit;
    note(point.data(), result.f, violation);
    result.f = result.f < no_limit ? rank(result.f, violation) : no_limit;
    result.complete = result.nfev < left;
    result.converged = result.complete;
    return result;
}

template <class T> Record BoxEvaluator<T>::record(const Hybrid& hybrid, index_t k) {
    Record r;
    r.nit = k + 1;
    r.nfev = nfev_;
    r.dim = problem_.dim();
    r.x = best_x_.data();
    r.fun = best_f_;
    r.violation = problem_.objective->constrained() && best_v_ < no_limit ? best_v_ : 0.0;
    r.spread = standard_deviation(hybrid.energies());
    r.alpha = no_limit;
    r.step_size = hybrid.step_size();
    std::vector<T> c(problem_.dim());
    to_user(hybrid.consensus().data(), c.data());
    consensus_.assign(c.begin(), c.end());
    r.consensus = consensus_.data();
    return r;
}

template <class T> void BoxEvaluator<T>::finish(const Hybrid& hybrid, CboResult<T>& result) {
    const index_t d = problem_.dim(), free = free_dim();
    const std::vector<double>& u = hybrid.population();
    const std::vector<double>& f = hybrid.energies();
    const index_t n =
        std::min(static_cast<index_t>(u.size()) / free, static_cast<index_t>(f.size()));
    result.x = best_x_;
    result.fun = best_f_;
    result.violation = problem_.objective->constrained() ? best_v_ : 0.0;
    result.nfev = nfev_;
    result.population = Buffer<T>(n * d);
    result.energies = Buffer<double>(n);
    for (index_t i = 0; i < n; ++i) {
        to_user(u.data() + i * free, result.population.data() + i * d);
        result.energies[i] = f[i];
    }
    std::vector<T> c(d);
    to_user(hybrid.consensus().data(), c.data());
    result.consensus.assign(c.begin(), c.end());
}

template class BoxEvaluator<double>;
template class BoxEvaluator<float>;

} // namespace fastopt

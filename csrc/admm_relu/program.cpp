#include "admm_relu/program.hpp"

#include <algorithm>
#include <cmath>

#include "core/parallel.hpp"

namespace fastopt {

Program::Program(const ProgramShape& s, const double* x, const double* gates, Loss l, int threads,
                 const std::vector<double>& radius)
    : shape(s), loss(std::move(l)),
      robust(s.robust ? std::make_unique<RobustLoss>(loss, s.n, s.d, x, radius, threads) : nullptr),
      ones(static_cast<std::size_t>(s.robust ? s.n : 0), 1.0),
      design(s.n, s.robust ? 1 : s.d, s.n_gates, s.outputs(), s.robust ? ones.data() : x, gates,
             threads),
      x_(x), gates_(gates), threads_(threads), radius_(radius), work_(s.size()),
      projected_(s.size()), turned_(s.robust ? s.size() : 0),
      norm_(static_cast<std::size_t>(s.blocks())),
      scaled_(static_cast<std::size_t>(s.dual_size())) {}

double Program::value(const double* z) const { return robust ? robust->value(z) : loss.value(z); }
void Program::gradient(const double* z, double* t) const {
    robust ? robust->gradient(z, t) : loss.gradient(z, t);
}
double Program::conjugate(const double* t) const {
    return robust ? robust->conjugate(t) : loss.conjugate(t);
}

ConeProjector& Program::cones() {
    if (!cones_)
        cones_ = std::make_unique<ConeProjector>(shape.n, shape.d, shape.n_gates, x_, gates_,
                                                 threads_, radius_);
    return *cones_;
}

void Program::predict(const double* v, double* z) {
    const index_t half = shape.half();
    const double* e = v;
    if (shape.signs == 2) {
        for (index_t i = 0; i < half; ++i) work_[i] = v[i] - v[half + i];
        e = work_.data();
    }
    if (robust) {
        ProgramShape one = shape;
        one.signs = 1;
        to_design(one, e, turned_.data());
        e = turned_.data();
    }
    design.forward(e, z);
}

void Program::pull_back(const double* t, double* g) {
    const index_t half = shape.half();
    design.adjoint(t, robust ? turned_.data() : g);
    if (robust) {
        ProgramShape one = shape;
        one.signs = 1;
        from_design(one, turned_.data(), g);
    }
    if (shape.signs == 2)
        for (index_t i = 0; i < half; ++i) g[half + i] = -g[i];
}

double Program::penalty(const double* v) const {
    const index_t w = shape.width();
    double sum = 0;
    for (index_t b = 0; b < shape.blocks(); ++b) sum += std::sqrt(dot(w, v + b * w, v + b * w));
    return sum;
}

double Program::objective(const double* v, double beta, double* z) {
    predict(v, z);
    return value(z) + beta * penalty(v);
}

double Program::dual_norm(const double* t, double level) {
    if (!shape.cone) return gated_dual_norm(t);
    const index_t size = shape.size();
    pull_back(t, work_.data());
    for (index_t i = 0; i < size; ++i) work_[i] = -work_[i];
    double worst = 0;
    dual_sets_.resize(static_cast<std::size_t>(shape.blocks()));
    cones().project(shape.blocks(), work_.data(), level, dual_sets_, projected_.data(),
                    norm_.data());
    for (const double norm : norm_) worst = std::max(worst, norm);
    return worst;
}

double Program::gated_dual_norm(const double* t) {
    const index_t w = shape.width();
    pull_back(t, work_.data());
    double worst = 0;
    for (index_t b = 0; b < shape.blocks(); ++b)
        worst = std::max(worst, std::sqrt(dot(w, work_.data() + b * w, work_.data() + b * w)));
    return worst;
}

double Program::beta_max() {
    if (beta_max_ < 0) {
        const std::vector<double> zero(static_cast<std::size_t>(shape.predictions()));
        std::vector<double> theta(scaled_.size());
        gradient(zero.data(), theta.data());
        beta_max_ = dual_norm(theta.data(), 0.0);
    }
    return beta_max_;
}

double Program::dual(const double* t, double beta, bool gated) {
    return dual_of_norm(t, beta, gated ? gated_dual_norm(t) : dual_norm(t, beta));
}

double Program::dual_of_norm(const double* t, double beta, double norm) {
    const double most = norm > beta ? beta / norm : 1.0;
    const index_t m = shape.dual_size();
    const bool parabola = loss.kind() == LossKind::squared && !robust;
    double tau = most;
    if (parabola) { // -tau^2/2 ||t||^2 - tau t'y is a parabola
        const double ty = dot(m, t, loss.y().data()), tt = dot(m, t, t);
        if (tt > 0) tau = std::min(most, std::max(0.0, -ty / tt));
    }
    for (index_t i = 0; i < m; ++i) scaled_[i] = tau * t[i];
    double value = -conjugate(scaled_.data());
    // Between 0 and the largest feasible multiple the bound is concave in tau.
    if (!parabola && most < 1) {
        double lo = 0.5 * most, hi = most;
        for (int i = 0; i < 6; ++i) {
            const double middle = 0.5 * (lo + hi);
            for (index_t j = 0; j < m; ++j) scaled_[j] = middle * t[j];
            const double there = -conjugate(scaled_.data());
            if (there <= value) break;
            value = there, hi = middle;
        }
    }
    return value;
}

double Program::violation(const double* v) {
    if (!shape.cone) return 0;
    const index_t d = shape.d, p = shape.n_gates, nb = shape.blocks();
    std::vector<double> worst(static_cast<std::size_t>(nb));
    const ConeProjector& cone = cones();
    parallel_for(nb, threads_, [&](index_t b) { worst[b] = cone.violation(b % p, v + b * d); });
    return *std::max_element(worst.begin(), worst.end());
}

void Program::make_feasible(double* w) {
    std::vector<ActiveSet> sets(static_cast<std::size_t>(shape.blocks()));
    cones().project(shape.blocks(), w, 0.0, sets, projected_.data(), norm_.data());
    std::copy(projected_.data(), projected_.data() + shape.size(), w);
}

} // namespace fastopt

#include "admm_relu/program.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace fastopt {
namespace {

Array<double> ones_of(const std::shared_ptr<Queue>& queue, index_t n) {
    const Array<double> ones(queue, n);
    std::fill(ones.mirror(), ones.mirror() + n, 1.0);
    ones.send();
    return ones;
}

} // namespace

Program::Program(const ProgramShape& s, const double* x, const double* gates, Loss l, int threads,
                 const std::vector<double>& radius)
    : shape(s), loss(std::move(l)), steps(loss.steps().queue(), threads, loss.steps().sharing()),
      kernel_x(steps.queue(), x, checked_product(s.n, s.d)),
      kernel_gates(steps.queue(), gates, checked_product(s.n_gates, s.n)),
      robust(s.robust
                 ? std::make_unique<RobustLoss>(loss, s.n, s.d, kernel_x.data(), radius, threads)
                 : nullptr),
      ones(ones_of(steps.queue(), s.robust ? s.n : 0)),
      design(s.n, s.robust ? 1 : s.d, s.n_gates, s.outputs(),
             s.robust ? ones.data() : kernel_x.data(), kernel_gates.data(), threads, steps.queue(),
             steps.sharing()),
      x_(x), gates_(gates), threads_(threads), radius_(radius), dual_sets_(s.blocks()),
      work_(steps.queue(), s.size()), projected_(steps.queue(), s.size()),
      turned_(steps.queue(), s.robust ? s.size() : 0), norm_(steps.queue(), s.blocks()),
      scaled_(steps.queue(), s.dual_size()) {
    FASTOPT_REQUIRE(!steps.sharing().comm() || kernels_on_host(),
                    "comm runs on the CPU only: use device='cpu'");
}

double Program::value(const double* z) const { return robust ? robust->value(z) : loss.value(z); }
void Program::gradient(const double* z, double* t) const {
    robust ? robust->gradient(z, t) : loss.gradient(z, t);
}
double Program::conjugate(const double* t) const {
    return robust ? robust->conjugate(t) : loss.conjugate(t);
}

ConeProjector& Program::cones() {
    if (!cones_)
        cones_ = std::make_unique<ConeProjector>(shape.n, shape.d, shape.n_gates, kernel_x.data(),
                                                 kernel_gates.data(), threads_, radius_,
                                                 steps.queue(), steps.sharing());
    return *cones_;
}

void Program::predict(const double* v, double* z) {
    const index_t half = shape.half();
    const double* e = v;
    if (shape.signs == 2) {
        steps.subtract(half, v, v + half, work_.data());
        e = work_.data();
    }
    if (robust) {
        to_design(1, e, turned_.data());
        e = turned_.data();
    }
    design.forward(e, z);
}

void Program::pull_back(const double* t, double* g) {
    const index_t half = shape.half();
    design.adjoint(t, robust ? turned_.data() : g);
    if (robust) from_design(1, turned_.data(), g);
    if (shape.signs == 2) steps.scale(half, -1, g, g + half);
}

double Program::penalty(const double* v) {
    double sum = steps.sum_of_norms(shape.blocks(), shape.width(), v);
    sum_over_ranks(sharing().weights, &sum, 1);
    return sum;
}

double Program::objective(const double* v, double beta, double* z) {
    predict(v, z);
    return value(z) + beta * penalty(v);
}

double Program::dual_norm(const double* t, double level) {
    if (!shape.cone) return gated_dual_norm(t);
    double* w = work_.data();
    pull_back(t, w);
    steps.scale(shape.size(), -1, w, w);
    cones().project(shape.blocks(), w, level, dual_sets_, projected_.data(), norm_.data());
    return max_over_ranks(sharing().weights, steps.largest(shape.blocks(), norm_.data()));
}

double Program::gated_dual_norm(const double* t) {
    pull_back(t, work_.data());
    steps.block_norms(shape.blocks(), shape.width(), work_.data(), norm_.data());
    return max_over_ranks(sharing().weights, steps.largest(shape.blocks(), norm_.data()));
}

double Program::beta_max() {
    if (beta_max_ < 0) {
        const Array<double> zero(steps.queue(), shape.predictions());
        const Array<double> theta(steps.queue(), shape.dual_size());
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
    const auto value_at = [&](double tau) { // -L*(tau t)
        steps.scale(m, tau, t, scaled_.data());
        return -conjugate(scaled_.data());
    };
    double tau = most;
    if (parabola) { // -tau^2/2 ||t||^2 - tau t'y is a parabola
        double dots[] = {steps.dot(m, t, loss.targets().data()), steps.dot(m, t, t)};
        sum_over_ranks(sharing().samples, dots, 2);
        if (dots[1] > 0) tau = std::min(most, std::max(0.0, -dots[0] / dots[1]));
    }
    double value = value_at(tau);
    // Between 0 and the largest feasible multiple the bound is concave in tau.
    if (!parabola && most < 1) {
        double lo = 0.5 * most, hi = most;
        for (int i = 0; i < 6; ++i) {
            const double middle = 0.5 * (lo + hi), there = value_at(middle);
            if (there <= value) break;
            value = there, hi = middle;
        }
    }
    return value;
}

double Program::violation(const double* v) {
    return shape.cone ? max_over_ranks(sharing().comm(), cones().worst_violation(shape.blocks(), v))
                      : 0;
}

void Program::make_feasible(double* w) {
    ActiveSets sets(shape.blocks());
    cones().project(shape.blocks(), w, 0.0, sets, projected_.data(), norm_.data());
    steps.copy(shape.size(), projected_.data(), w);
}

} // namespace fastopt

// A robust loss, of the same form for every backend.
#include "admm_relu/robust.hpp"

#include <algorithm>

namespace fastopt {

RobustLoss::RobustLoss(const Loss& loss, index_t n, index_t d, const double* x,
                       const std::vector<double>& radius, int threads)
    : loss_(loss), n_(n), d_(d), x_(x), radius_(loss.steps().queue(), d),
      worst_(loss.steps().queue(), n), threads_(threads) {
    std::copy(radius.begin(), radius.end(), radius_.mirror());
    radius_.send();
}

double RobustLoss::value(const double* q) const {
    worst(q, worst_.data());
    return loss_.value(worst_.data());
}

void RobustLoss::gradient(const double* q, double* t) const {
    worst(q, worst_.data());
    loss_.gradient(worst_.data(), t + (d_ + 1) * n_); // tau
    slopes(q, t);
}

double RobustLoss::conjugate(const double* t) const {
    const double value = loss_.conjugate(t + (d_ + 1) * n_);
    return loss_.kind() == LossKind::squared ? value + excess(t) : value;
}

} // namespace fastopt

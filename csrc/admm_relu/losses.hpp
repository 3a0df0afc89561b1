// Losses L(Z) = sum_j s_j l(z_j, y_j) on predictions Z (c, n): value, gradient, prox and conjugate.
//
// The conjugate gives the certificate: L*(T) = sum_j s_j l*(t_j / s_j), +inf outside its domain.
// Every domain holds 0 and is convex, so that a gradient scaled by tau in [0, 1] stays inside it.
#pragma once

#include <string>
#include <vector>

#include "admm_relu/admm_steps.hpp"
#include "core/types.hpp"

namespace fastopt {

enum class LossKind { squared, logistic, softmax, hinge, squared_hinge, huber, quantile };

class Loss {
  public:
    // y (c, n): targets; -1 and 1 for logistic and hinges; rows of probabilities for softmax.
    // `parameter`: the corner of huber, the level of quantile. Weights may be empty (all one).
    Loss(LossKind kind, index_t n, index_t c, const std::vector<double>& y,
         const std::vector<double>& weights, double parameter, int threads,
         std::shared_ptr<Queue> queue = make_queue(), const Sharing& sharing = {});

    // z, t, r, h: where the kernels run; of the rank's samples, but values are those of all.
    double value(const double* z) const;
    void gradient(const double* z, double* t) const; // t in dL(z)
    double conjugate(const double* t) const;
    template <class T>
    void prox(const T* r, double rho, T* z) const; // min L(z) + rho/2 ||z - r||^2
    // The diagonal of the Hessian; false when there is none worth a Newton step.
    bool curvature(const double* z, double* h) const;

    bool smooth() const { return kind_ != LossKind::hinge && kind_ != LossKind::quantile; }
    double typical_curvature() const; // the penalty to start from
    LossKind kind() const { return kind_; }
    bool curved() const { return smooth() && kind_ != LossKind::softmax; }
    const double* y() const { return y_.mirror(); } // the host's
    const Array<double>& targets() const { return y_; }
    const double* kernel_weights() const { return weights_.size() ? weights_.data() : nullptr; }
    index_t size() const { return n_ * c_; }
    double weight(index_t j) const { return weights_.size() ? weights_.mirror()[j] : 1.0; }
    AdmmSteps& steps() const { return steps_; }

  private:
    double over_samples(double x) const { // the sum over the ranks that share them
        sum_over_ranks(steps_.sharing().samples, &x, 1);
        return x;
    }
    template <class F> double sum_rows(F f) const;

    LossKind kind_;
    index_t n_, c_;
    double parameter_;
    int threads_;
    Array<double> y_, weights_;
    mutable AdmmSteps steps_;    // with room for partial sums
    mutable Array<double> rows_; // CUDA: rows of softmax
};

LossKind loss_kind(const std::string& name); // throws for an unknown name

} // namespace fastopt

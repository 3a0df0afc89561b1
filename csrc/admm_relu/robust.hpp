// Losses against an adversary who moves each sample inside a box: |delta_k| <= e_k.
//
// While no neuron changes its side inside the boxes (the cones of cone_projection.hpp with radius
// e see to that), the network is linear in each box: f(x_j + delta) = f_j + delta'q_j with the
// slope q_j = sum_i D_ij (v_i - w_i), and f_j = x_j'q_j. With h_j = e'|q_j| the worst loss is
//     margin losses phi(y f):   phi(y_j f_j - h_j),        squared:   (|f_j - y_j| + h_j)^2 / 2.
// Both are convex in q_j, so that the slopes Q (d, n) take the place of predictions, and F v is
// (D' (x) I)(v - w).
//
// A dual point is T = (Theta (d, n), theta (n), tau (n)) with |Theta_kj - tau_j x_jk| <= theta_j
// e_k; tau = -y theta for margin losses and |tau| <= theta for the squared one. The conjugate then
// is that of the plain loss at tau, plus (theta^2 - tau^2) / 2 for the squared one.
#pragma once

#include <vector>

#include "admm_relu/losses.hpp"

namespace fastopt {

class RobustLoss {
  public:
    // `loss` (one output) and X (n x d) must outlive this. Pointers point where the kernels run.
    RobustLoss(const Loss& loss, index_t n, index_t d, const double* x,
               const std::vector<double>& radius, int threads);

    double value(const double* q) const;
    void gradient(const double* q, double* t) const; // a dual point with Theta in dL(Q)
    double conjugate(const double* t) const;
    // min L(Q) + rho/2 ||Q - A||^2, and the dual point with Theta = rho (A - Q).
    void prox(const double* a, double rho, double* q, double* t) const;

  private:                                         // defined by robust_rows.cpp and robust_steps.cu
    void worst(const double* q, double* z) const;  // the adversary's predictions
    void slopes(const double* q, double* t) const; // Theta and theta, given tau
    double excess(const double* t) const;          // of the squared loss's conjugate over L*(tau)

    const Loss& loss_;
    index_t n_, d_;
    const double* x_;
    Array<double> radius_, worst_; // worst_: work
    int threads_;
};

} // namespace fastopt

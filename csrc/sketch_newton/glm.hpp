// Generalised linear models as objectives:
//     f(x) = c sum_i s_i loss(a_i'x, y_i) + (l2/2) |x|^2,   c = 1 / sum s_i or 1,
// with gradient A'r + l2 x and Hessian A' diag(w) A + l2 I. One pass over A gives value, gradient
// and the weights of the Hessian.
#pragma once

#include <vector>

#include "sketch_newton/data_matrix.hpp"

namespace fastopt {

enum class Family {
    gaussian, // (z - y)^2 / 2
    logistic, // log(1 + exp(-y z)), y = +-1
    poisson,  // exp(z) - y z
    gamma,    // z + y exp(-z), log link
};

class Glm {
  public:
    Glm(const DataMatrix<double>& a, std::vector<double> y, std::vector<double> sample_weight,
        Family family, double l2, double factor, int threads);

    double value(const double* x);
    void gradient(const double* x, double* g);
    const double*
    weights(const double* x); // of the Hessian, one per row; valid until the next point
    const DataMatrix<double>& data() const { return a_; }
    double l2() const { return l2_; }
    int threads() const { return threads_; }

  private:
    void move_to(const double* x); // everything at x, unless it is there already
    // At x, with g_ = A'r and w_: a kernel seam, defined by glm_steps.cpp and glm_steps.cu.
    double sum_losses(const double* x);
    DataMatrix<double> a_;
    std::vector<double> y_, sample_weight_;
    Family family_;
    double l2_, factor_;
    int threads_;

    std::vector<double> x_, g_; // the last point and its gradient
    double f_ = 0;
    Array<double> w_;                        // its weights
    Input<double> targets_, sample_weights_; // y and s, where the kernels run
    Array<double> at_, slope_, rows_, sums_; // CUDA: x, A'r, r; room for sums
};

} // namespace fastopt

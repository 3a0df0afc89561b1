// min |A x - b| for tall A: a sketch S A = Q R gives the preconditioner and the first guess, LSQR
// on A R^-1 the digits, and a second round from the residual the backward stability (Epperly,
// Meier, Nakatsukasa, "Fast randomized least-squares solvers can be just as accurate and stable as
// classical direct solvers"; rank-deficient A as in LSRN, Meng, Saunders, Mahoney).
#pragma once

#include "sketch_newton/sketch.hpp"

namespace fastopt {

struct LeastSquares {
    std::vector<double> x;
    double residual = 0, gradient = 0; // |A x - b|, |A'(A x - b)|
    index_t iterations = 0, rank = 0, sketch_rows = 0;
    bool converged = false;
};

struct LeastSquaresOptions {
    SketchOptions sketch; // size 0: 4 n (or what a row of A is worth)
    double rcond = 1e-13; // singular values below rcond times the largest count as zero
    index_t maxiter = 200;
};

// One right-hand side after another shares the preconditioner.
class LeastSquaresSolver {
  public:
    LeastSquaresSolver(const DataMatrix<double>& a, const LeastSquaresOptions& options);
    LeastSquares solve(const double* b) const;

  private:
    void precondition(const double* y, double* x) const;            // x = N y
    void precondition_transposed(const double* x, double* y) const; // y = N'x
    index_t refine(std::vector<double>& rest, double* x, bool& converged) const;

    DataMatrix<double> a_;
    LeastSquaresOptions o_;
    index_t rank_ = 0;
    Buffer<double> l_; // R' (lower), while A has full rank
    Buffer<double> n_; // V diag(1 / sigma), n x rank, otherwise
};

} // namespace fastopt

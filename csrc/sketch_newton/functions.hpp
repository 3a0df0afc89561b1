// What the solver asks of a problem  min f(x)  subject to  c(x) = 0,  x in R^n, c in R^m.
#pragma once

#include <memory>
#include <vector>

#include "sketch_newton/data_matrix.hpp"

namespace fastopt {

class GramSteps;

// A' diag(w) A + R with R = scalar I, diagonal or dense, whichever is set.
struct Gram {
    DataMatrix<double> a;
    const double* w = nullptr; // one per row of A
    double scalar = 0;
    const double* diagonal = nullptr; // n, or nullptr
    const double* dense = nullptr;    // n x n, or nullptr
    const GramSteps* steps = nullptr; // the same where the kernels run
};

// W = A' diag(w) A + R where the kernels run: a kernel seam, defined by kkt_steps.cpp and
// kkt_steps.cu. The arrays of `gram` must stay.
class GramSteps {
  public:
    GramSteps(const Gram& gram, int threads);
    void multiply(const double* v, double* out) const; // W v; kernels' arrays
    // On CUDA: what the other steps need. W (n x n); w; R where it is dense, or nullptr.
    void form(double* out) const;
    const double* w() const { return w_.data(); }
    const double* dense() const { return dense_.data(); }

  private:
    Gram gram_;
    int threads_;
    Input<double> w_, diagonal_, dense_;
    mutable Array<double> rows_; // CUDA: a number a row of A
};

// A symmetric n x n matrix W in whatever form the problem has it.
class Curvature {
  public:
    virtual ~Curvature() = default;
    virtual void multiply(const double* v, double* out) const = 0; // W v
    virtual const double* dense() const { return nullptr; }        // n x n, or nullptr
    virtual const Gram* gram() const { return nullptr; }
};

class NewtonFunctions {
  public:
    virtual ~NewtonFunctions() = default;
    virtual double value(const double* x) = 0;
    virtual void gradient(const double* x, double* g) = 0;    // n
    virtual void constraints(const double* x, double* c) = 0; // m
    virtual void jacobian(const double* x, double* j) = 0;    // m x n
    // sigma Hess f(x) + sum_i l_i Hess c_i(x); sigma = 0 asks for the constraints' part alone.
    virtual std::shared_ptr<const Curvature> curvature(const double* x, double sigma,
                                                       const double* l) = 0;
    virtual index_t evaluations() const = 0; // calls of the user's function so far
};

// ---- the forms -------------------------------------------------------------------------------

class DenseCurvature final : public Curvature {
  public:
    DenseCurvature(index_t n, Buffer<double> w) : n_(n), w_(std::move(w)) {}
    void multiply(const double* v, double* out) const override {
        gemv<double>(false, n_, n_, 1.0, w_.data(), n_, v, 0.0, out);
    }
    const double* dense() const override { return w_.data(); }

  private:
    index_t n_;
    Buffer<double> w_;
};

class GramCurvature : public Curvature {
  public:
    GramCurvature(const Gram& gram, int threads) : gram_(gram), steps_(gram, threads) {
        gram_.steps = &steps_;
    }
    GramCurvature(const GramCurvature&) = delete;
    GramCurvature& operator=(const GramCurvature&) = delete;
    void multiply(const double* v, double* out) const override;
    const Gram* gram() const override { return &gram_; }

  private:
    Gram gram_;
    GramSteps steps_;
};

// The full matrix (n x n): a copy of dense(), A' diag(w) A + R, or n products.
void form(const Curvature& w, index_t n, int threads, double* out);

} // namespace fastopt

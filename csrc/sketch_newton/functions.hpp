// What the solver asks of a problem  min f(x)  subject to  c(x) = 0,  x in R^n, c in R^m.
#pragma once

#include <memory>
#include <vector>

#include "sketch_newton/data_matrix.hpp"

namespace fastopt {

// A' diag(w) A + R with R = scalar I, diagonal or dense, whichever is set.
struct Gram {
    DataMatrix<double> a;
    const double* w = nullptr; // one per row of A
    double scalar = 0;
    const double* diagonal = nullptr; // n, or nullptr
    const double* dense = nullptr;    // n x n, or nullptr
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
    GramCurvature(const Gram& gram, int threads) : gram_(gram), threads_(threads) {}
    void multiply(const double* v, double* out) const override;
    const Gram* gram() const override { return &gram_; }

  private:
    Gram gram_;
    int threads_;
};

// The full matrix (n x n): a copy of dense(), A' diag(w) A + R, or n products.
void form(const Curvature& w, index_t n, int threads, double* out);

} // namespace fastopt

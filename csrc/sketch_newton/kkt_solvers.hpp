// The linear solvers behind kkt.hpp.
#pragma once

#include "sketch_newton/kkt.hpp"
#include "sketch_newton/kkt_steps.hpp"

namespace fastopt {

double euclid(const double* v, index_t n);
void full_kkt(const KktSystem& k, const double* w, double* out); // both triangles

// Dense Bunch-Kaufman: (n + m)^3 / 3 flops, and rows n^2 more where W = A' diag(w) A + R.
class LdlSolver final : public KktSolver {
  public:
    explicit LdlSolver(const KktOptions& o) : steps_(o) {}
    const char* name() const override { return "ldl"; }
    bool exact() const override { return true; }
    Shape factor(const KktSystem& k, bool same) override;
    Shape solve(const double* r, double rtol, double* d) override;

  private:
    Shape shape() const; // from the blocks of D
    index_t m_ = 0, size_ = 0;
    LdlSteps steps_;
};

// Conjugate gradients on the KKT system with a constraint preconditioner (Gould, Hribar, Nocedal):
// every iterate meets the constraints' rows, and K is positive definite among the steps left.
class ProjectedCg : public KktSolver {
  public:
    bool checks_curvature() const override { return true; }
    Shape solve(const double* r, double rtol, double* d) override;

  protected:
    ProjectedCg(index_t most, const KktOptions& o) : steps_(o), most_(most) {}
    KktSystem k_;
    PcgSteps steps_;
    index_t last_ = 0;    // iterations of the last solve
    double decimals_ = 0; // that it gained

  private:
    index_t most_;
};

// W = A' diag(w) A + R, preconditioned by (S D A)'(S D A) + R, D = diag(sqrt(w)); the sketch is
// kept from step to step while the iterations stay few.
class SketchPcg final : public ProjectedCg {
  public:
    explicit SketchPcg(const KktOptions& o) : ProjectedCg(200, o), o_(o) {}
    const char* name() const override { return "sketch-pcg"; }
    Shape factor(const KktSystem& k, bool same) override;
    Shape solve(const double* r, double rtol, double* d) override;

  private:
    void make_sketch(const Gram& q);
    KktOptions o_;
    std::vector<double> diagonal_; // of R + dw I in P
    double fresh_rate_ = 0;        // iterations for each decimal with a new sketch
    double cost_ = 0, waste_ = 0;  // of a new sketch, and by the old one, in iterations
    bool stale_ = true, fresh_ = false;
};

// Only products with W: randomised Nystrom approximation, its rank doubled until the smallest of
// its eigenvalues is small beside the shift (Frangella, Tropp, Udell).
class NystromPcg final : public ProjectedCg {
  public:
    explicit NystromPcg(const KktOptions& o) : ProjectedCg(500, o), o_(o) {}
    const char* name() const override { return "nystrom-pcg"; }
    Shape factor(const KktSystem& k, bool same) override;
    Shape solve(const double* r, double rtol, double* d) override;

  private:
    bool approximate(const KktSystem& k); // false where W + dw I is not positive semidefinite
    KktOptions o_;
    index_t rank_ = 10;
    std::vector<double> values_; // eigenvalues of the approximation, ascending
    // Kernels': its eigenvectors, rank x n; of P^-1, the eigenvalues less 1 / floor, and U B.
    Array<double> vectors_, beyond_, coefficients_;
};

// Paige, Saunders (1975): symmetric indefinite systems by products alone.
class Minres final : public KktSolver {
  public:
    explicit Minres(const KktOptions& o) : steps_(o) {}
    const char* name() const override { return "minres"; }
    Shape factor(const KktSystem& k, bool same) override {
        steps_.set(k, same);
        size_ = k.size();
        return Shape::right;
    }
    Shape solve(const double* r, double rtol, double* d) override;

  private:
    MinresSteps steps_;
    index_t size_ = 0;
};

// The paper's sketch-and-project, d -= K S (S'K^2 S)^+ S'(K d + r): S a random coordinate
// ('kaczmarz'), Gaussian columns, a CountSketch, or a random block of coordinates.
class SketchAndProject final : public KktSolver {
  public:
    SketchAndProject(LinearSolver kind, const KktOptions& o)
        : kind_(kind), o_(o), kkt_(o.queue, o.threads) {}
    const char* name() const override;
    Shape factor(const KktSystem& k, bool same) override;
    Shape solve(const double* r, double rtol, double* d) override;

  private:
    void draw(index_t size, index_t width, double* s); // size x width
    LinearSolver kind_;
    KktOptions o_;
    DenseKkt kkt_;
    Array<double> full_; // K
    std::uint64_t draws_ = 0;
};

} // namespace fastopt

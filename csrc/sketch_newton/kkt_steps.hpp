// What the linear solvers do with the vectors and matrices of the KKT system: a kernel seam,
// defined by kkt_steps.cpp and by kkt_steps.cu. Arguments are the host's, unless said otherwise;
// what is kept lies where the kernels run.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "sketch_newton/kkt.hpp"

namespace fastopt {

// S = J P^-1 J' + dc I (lower triangle) from S - dc I, factored in place: S = L L'. False: it is
// singular.
bool factor_schur(index_t m, double dc, double* s);

// 2^-k that brings a row with this largest entry halfway to one, and its column the rest.
double balance(double largest);

// ---- vectors and rows, all of them kernels' ----------------------------------------------------

void add(Queue& queue, index_t n, double factor, const double* y, double* x); // x += factor y
void divide(Queue& queue, index_t n, double by, double* x);
void times_rows(Queue& queue, index_t rows, index_t n, const double* by, double* a);
void divide_rows(Queue& queue, index_t rows, index_t n, const double* by, double* a); // by > 0 ones
// Their Euclidean lengths, on the host. One wait.
std::vector<double> row_lengths(const std::shared_ptr<Queue>& queue, index_t rows, index_t n,
                                const double* a);

// ---- K ------------------------------------------------------------------------------------------

// Products with K and W, which may be known by products of the host only.
class KktProducts {
  public:
    explicit KktProducts(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {}
    void set(const KktSystem& k, bool same); // `same` as in KktSolver::factor
    const KktSystem& system() const { return k_; }
    const double* j() const; // m x n
    // Kernels' arrays: W v, and K d.
    void multiply_w(const double* v, double* out) const;
    void multiply(const double* d, double* out) const;

  private:
    std::shared_ptr<Queue> queue_;
    KktSystem k_;
    Array<double> j_, w_;          // CUDA: J; W where it is dense
    mutable Array<double> v_, wv_; // CUDA: on the way to the host's products, and back
};

// K as a matrix.
class DenseKkt {
  public:
    DenseKkt(std::shared_ptr<Queue> queue, int threads)
        : queue_(std::move(queue)), threads_(threads) {}
    void set(const KktSystem& k, bool same); // forms W
    const KktSystem& system() const { return k_; }
    const double* w() const { return w_.data(); } // n x n
    const double* j() const;                      // m x n
    void form(double* out) const;                 // K: (n + m)^2

  private:
    std::shared_ptr<Queue> queue_;
    int threads_;
    KktSystem k_;
    Array<double> w_, j_; // the latter on CUDA
};

// ---- the solvers --------------------------------------------------------------------------------

// Projected conjugate gradients: K, its preconditioner C = [[P, J'], [J, -dc I]], applied through
// S = J P^-1 J' + dc I, and the vectors of the iteration.
class PcgSteps {
  public:
    using Inverse = std::function<void(double* b, index_t k)>; // kernels' B (n x k) <- P^-1 B

    explicit PcgSteps(const KktOptions& o);

    // G = (S D A)'(S D A), D = diag(sqrt(|w|)).
    void sketch_gram(const Gram& q, const SketchOptions& o);
    // P = G + R + dw I + a ridge of rounding size, which lets a rank-deficient sketch factor;
    // `diagonal` is that of dw I and of an R that is not dense. False: not positive definite.
    bool factor_gram(const Gram& q, double dw, const std::vector<double>& diagonal);
    void solve_gram(double* b, index_t k); // an Inverse

    void set(const KktSystem& k, bool same) { products_.set(k, same); }
    const KktProducts& products() const { return products_; }
    bool precondition(Inverse inverse); // C from P^-1; false: S is singular

    struct Start {
        double rest, energy, rz; // |K d + r| in the first n rows; d'K d; rest'z
    };
    Start start(const double* r); // d = C^-1 (-r), rest = -r - K d, z = C^-1 [rest; 0]
    struct Progress {
        double curvature, rest, rz; // p'K p; |rest|; rest'z
    };
    // p = z + beta p; where p'K p > 0, d += alpha p and rest -= alpha K p with alpha = rz / p'K p,
    // and z = C^-1 [rest; 0].
    Progress iterate(double beta, double rz);
    void finish(double* d) const;

  private:
    void apply(const double* a, const double* b, double* z, double* y); // C [z; y] = [a; b], b or 0

    std::shared_ptr<Queue> queue_;
    KktProducts products_;
    Inverse inverse_;
    Array<double> gram_, p_;                  // G; P = L L', on CUDA L^-1; lower triangles
    Array<double> v_, s_;                     // P^-1 J' (n x m); S = L L', on CUDA L^-1
    Array<double> rest_, kd_, z_, p_dir_, d_; // n + m
    Array<double> diagonal_, work_, sums_;    // CUDA: of factor_gram; of solve_gram; of sums
};

// The Lanczos vectors of K and the directions of MINRES.
class MinresSteps {
  public:
    explicit MinresSteps(const KktOptions& o);
    void set(const KktSystem& k, bool same) { products_.set(k, same); }

    double start(const double* r); // v = -r / |r|, d = 0; |r|
    struct Column {
        double alpha, beta; // of the tridiagonal T: v'K v; |K v - alpha v - beta_before v_old|
    };
    Column lanczos(double beta_before);
    // p = (v - r2 p_old - r3 p_older) / r1, d += step p; the next v, by `beta`.
    void advance(double r1, double r2, double r3, double step, double beta);
    void finish(double* d) const;

  private:
    std::shared_ptr<Queue> queue_;
    KktProducts products_;
    Array<double> v_, v_old_, q_, p_old_, p_older_, d_; // n + m
    Array<double> sums_;                                // CUDA
};

// Dense L D L' of Bunch and Kaufman.
class LdlSteps {
  public:
    explicit LdlSteps(const KktOptions& o);

    // S K S = L D L' with S of powers of two: rows of one size, so that what counts as a zero pivot
    // beside the largest entry does not depend on the units of x and c, or on how large a shift has
    // become. (Congruence keeps the inertia.) False: K has entries that are no numbers.
    bool factor(const KktSystem& k, bool same);
    // Of D: as after sytrf (backend.hpp), on the host; `beside` stands left of the diagonal.
    struct Blocks {
        std::vector<double> diagonal, beside;
        std::vector<int> pivots;
        double largest = 0; // entry of S K S
    };
    const Blocks& blocks() const { return blocks_; }
    void solve(const double* r, double* d); // K d = -r, and at most two refinements

  private:
    std::shared_ptr<Queue> queue_;
    DenseKkt kkt_;
    Blocks blocks_;
    std::vector<double> scale_;                // S
    Array<double> factor_;                     // S K S, then L and D
    Array<double> scales_, rest_, kd_, d_, r_; // CUDA: S, and the vectors of solve
    Array<double> sums_;
    Array<int> pivots_;
    Array<std::int64_t> wide_pivots_;
};

} // namespace fastopt

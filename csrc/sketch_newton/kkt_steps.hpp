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

    bool set(const KktSystem& k, bool same, Inverse inverse); // K and C; false: S is singular

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
    void multiply(const double* d, double* out);                        // K d

    std::shared_ptr<Queue> queue_;
    KktSystem k_;
    Inverse inverse_;
    Array<double> gram_, p_;                   // G; P = L L', on CUDA L^-1; lower triangles
    Array<double> v_, s_;                      // P^-1 J' (n x m); S = L L', on CUDA L^-1
    Array<double> rest_, kd_, z_, p_dir_, d_;  // n + m
    Array<double> j_, diagonal_, work_, sums_; // CUDA: J; of factor_gram; of solve_gram; of sums
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
    int threads_;
    KktSystem k_;
    Blocks blocks_;
    std::vector<double> scale_;                    // S
    Array<double> w_, factor_;                     // W; S K S, then L and D
    Array<double> j_, scales_, rest_, kd_, d_, r_; // CUDA: J, S, and the vectors of solve
    Array<double> sums_;
    Array<int> pivots_;
    Array<std::int64_t> wide_pivots_;
};

} // namespace fastopt

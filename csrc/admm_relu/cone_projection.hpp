// Projection on the cones K_i = {v : E_i X v >= 0}, E_i = 2 D_i - I, and the prox of t ||.|| + K_i,
// which is shrink(Proj_K(.), t).
//
// Dual active set (Lawson-Hanson): v = r + N_S' mu, mu >= 0, N_S v = 0, where N_S holds the active
// rows of E_i X. Each block keeps N_S' = Q R from call to call: iterations of a solver move r a
// little, and most blocks then need no change. Rows are normalised, which leaves the cone alone.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/backend.hpp"
#include "core/types.hpp"

namespace fastopt {

// The active rows of one block and their factor; the state of a warm start.
struct ActiveSet {
    std::vector<index_t> rows;
    std::vector<double> mu;
    std::vector<double> q; // |S| orthonormal vectors of length d
    std::vector<double> r; // column j of R at r[j * d]

    index_t size() const { return static_cast<index_t>(rows.size()); }
};

class ConeProjector {
  public:
    // X (n x d) and D (P x n) are read here only.
    ConeProjector(index_t n, index_t d, index_t n_gates, const double* x, const double* gates,
                  int threads);
    ~ConeProjector();

    // For blocks b = 0 .. count - 1 (gate b % P) of length d: v_b = Proj_K(r_b) and its norm; zero
    // when the norm is at most `level`, which is often proved without a look at all the rows.
    void project(index_t count, const double* r, double level, std::vector<ActiveSet>& sets,
                 double* v, double* norm) const;

    // An orthonormal basis (rows, (d - |S|) x d) of the face {v : N_S v = 0}.
    std::vector<double> face_basis(const ActiveSet& set) const;

    // max_j -(E_i X v)_j / (||x_j|| ||v||) for one block.
    double violation(index_t gate, const double* v) const;

    index_t d() const { return d_; }

  private:
    struct Scratch;
    class Lease;
    void warm(index_t gate, const double* r, ActiveSet& s, double* v, Scratch& w) const;
    void refine(index_t gate, const double* r, ActiveSet& s, double* v, double* xv,
                Scratch& w) const;
    bool add(index_t gate, index_t row, ActiveSet& s, Scratch& w) const;
    void remove(index_t k, ActiveSet& s) const;
    index_t collect(index_t gate, const double* xv, double tolerance, Scratch& w) const;

    index_t n_, d_, p_;
    int threads_;
    Buffer<double> x_;    // unit rows (zero rows stay zero)
    Buffer<double> sign_; // E (P x n)
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Scratch>> idle_;
};

} // namespace fastopt

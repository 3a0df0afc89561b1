// Projection on the cones K_i = {v : E_i X v >= 0}, E_i = 2 D_i - I, and the prox of t ||.|| + K_i,
// which is shrink(Proj_K(.), t).
//
// Dual active set (Lawson-Hanson): v = r + N_S' mu, mu >= 0, N_S v = 0, where N_S holds the active
// rows of E_i X. Each block keeps N_S' = Q R from call to call: iterations of a solver move r a
// little, and most blocks then need no change. Rows are normalised, which leaves the cone alone.
// Ranks that share the samples look for violated rows among their own, send each other the worst
// ones, and take the same steps with them (cone_shared.cpp).
//
// With a radius e the cone is that of the samples with a box of half-widths e around each,
//     K_i = {v : E_i X v >= e'|v|} = {v : (E_ij x_j - e o s)'v >= 0 for all j and signs s}.
// Of its exponentially many rows the worst at v have s = sign(v), so that the active set finds
// them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "admm_relu/admm_steps.hpp"
#include "core/types.hpp"

namespace fastopt {

class Pause;

// The active rows of one block and their factor; the state of a warm start.
struct ActiveSet {
    std::vector<index_t> rows; // samples; with a radius one may come with several signs
    std::vector<double> mu;
    std::vector<double> q; // |S| orthonormal vectors of length d
    std::vector<double> r; // column j of R at r[j * d]

    index_t size() const { return static_cast<index_t>(rows.size()); }
};

// The active sets of many blocks. Copies are independent of each other.
struct ActiveSets {
    explicit ActiveSets(index_t count = 0)
        : blocks(count), on_host(kernels_on_host() ? static_cast<std::size_t>(count) : 0) {}
    ActiveSets(const ActiveSets& o)
        : blocks(o.blocks), on_host(o.on_host), counts(o.counts.clone()), rows(o.rows.clone()),
          mu(o.mu.clone()), q(o.q.clone()), r(o.r.clone()) {}
    ActiveSets(ActiveSets&&) = default;
    ActiveSets& operator=(ActiveSets&&) = default;

    index_t blocks;
    std::vector<ActiveSet> on_host; // where kernels run there
    ActiveSet& operator[](index_t b) { return on_host[static_cast<std::size_t>(b)]; }
    const ActiveSet& operator[](index_t b) const { return on_host[static_cast<std::size_t>(b)]; }

    // The number of active rows of each block; empty when nothing was projected yet.
    std::vector<index_t> sizes() const {
        std::vector<index_t> out;
        for (const ActiveSet& set : on_host) out.push_back(set.size());
        if (counts.size()) out.assign(counts.fetch(), counts.mirror() + counts.size());
        return out;
    }

    // Elsewhere, made by the projector: |S|, and with room for d rows each rows, mu, q, r.
    Array<index_t> counts, rows;
    Array<double> mu, q, r;
};

class ConeProjector {
  public:
    // X (n x d) and D (P x n), where the kernels run, are read here only; D is kept on CUDA.
    ConeProjector(index_t n, index_t d, index_t n_gates, const double* x, const double* gates,
                  int threads, const std::vector<double>& radius = {},
                  std::shared_ptr<Queue> queue = make_queue(), const Sharing& sharing = {});

    // For blocks b = 0 .. count - 1 (gate b % P) of length d: v_b = Proj_K(r_b) and its norm; zero
    // when the norm is at most `level`, which is often proved without a look at all the rows.
    void project(index_t count, const double* r, double level, ActiveSets& sets, double* v,
                 double* norm);

    // The largest violation (below) of count blocks.
    double worst_violation(index_t count, const double* v);

    // On the CPU: an orthonormal basis (rows, (d - |S|) x d) of the face {v : N_S v = 0}.
    std::vector<double> face_basis(const ActiveSet& set) const;

    // On the CPU: max_j (e'|v| - (E_i X v)_j) / (||x_j|| ||v||) for one block, at least 0.
    double violation(index_t gate, const double* v) const;

    index_t d() const { return d_; }
    AdmmSteps& steps() { return steps_; }

  private:
    struct Scratch;
    struct Candidate { // a row of the cone that may become active
        double sign;
        const double* unit;
        index_t row;
    };
    void warm(const double* r, ActiveSet& s, double* v, Scratch& w) const;
    void refine(index_t gate, const double* r, ActiveSet& s, double* v, double* xv, Scratch& w,
                Pause& pause) const;
    bool absorb(const double* r, ActiveSet& s, double* v, index_t found, index_t& budget,
                Scratch& w, Pause& pause) const;
    void project_shared(index_t count, const double* r, double level, ActiveSets& sets, double* v,
                        double* norm);
    index_t first_sample() const;
    void look(const std::vector<index_t>& open, const double* r, const double* v,
              std::vector<double>& found, std::vector<std::vector<double>>& rows) const;
    bool add(const Candidate& c, const double* v, ActiveSet& s, Scratch& w) const;
    void remove(index_t k, ActiveSet& s) const;
    index_t collect(index_t gate, const double* xv, double reach, double tolerance,
                    Scratch& w) const;
    // (E_i X v)_j / ||x_j|| - e'|v| / ||x_j||, given the first term without its sign and e'|v|
    double slack(double sign, index_t j, double xv, double reach) const {
        return robust() ? sign * xv - reach * inverse_length_.data()[j] : sign * xv;
    }
    double slack(const Candidate& c, const double* v, double reach) const {
        return slack(c.sign, c.row, dot(d_, c.unit, v), reach);
    }
    index_t budget() const { return (robust() ? 100 : 20) * d_ + 200; }
    bool robust() const { return radius_.size() > 0; }
    double reach(const double* v) const; // e'|v|
    void set_radius(const std::vector<double>& radius) {
        radius_ = steps_.array<double>(static_cast<index_t>(radius.size()));
        inverse_length_ = steps_.array<double>(radius.empty() ? 0 : n_);
        std::copy(radius.begin(), radius.end(), radius_.mirror());
        radius_.send();
    }

    index_t n_, d_, p_;
    index_t first_ = 0; // of the samples of all ranks, this rank's first
    int threads_;
    AdmmSteps steps_;
    Array<double> x_;                       // unit rows (zero rows stay zero); CUDA: columns
    Buffer<double> sign_;                   // E (P x n), on the CPU
    const double* gates_;                   // D (P x n)
    Array<double> xv_, work_;               // CUDA: X v, and rows of d numbers, of each block
    Array<index_t> candidates_;             // CUDA: of each block
    Array<double> radius_, inverse_length_; // e (d) and 1 / ||x_j||, or empty
};

} // namespace fastopt

// Regime H of the hybrid: consensus hopping with covariance noise. The particles are drawn afresh
// around the consensus in every generation,
//
//     x_i = reflect(c + s A z_i),   c <- c + s sum_i w_i y_i,   y_i = (x_i - c) / s,   A A' = C,
//
// with weights by rank, step size s by cumulative path length and C learnt from the paths and the
// ranked steps: the mathematics of CMA-ES (Hansen, "The CMA Evolution Strategy: A Tutorial", 2016,
// with negative weights) in the notation of consensus-based optimisation. Above `full_limit`
// dimensions C is diagonal (Ros, Hansen, PPSN X, 2008).
#pragma once

#include <cstdint>
#include <vector>

#include "core/random.hpp"
#include "core/snapshot.hpp"

namespace fastopt {

class Hopping {
  public:
    // cells[k] > 0: coordinate k takes that many equally wide values (empty: all continuous).
    Hopping(index_t d, const std::vector<double>& cells);

    void restart(const double* centre, index_t n, double step); // n particles, step size `step`
    void sample(const Draw& draw);                              // one generation of particles
    void update(const double* f);                               // ... and what their values teach
    bool finished() const { return finished_; }

    double* particles() { return x_.data(); }
    const std::vector<double>& population() const { return x_; }
    const std::vector<double>& consensus() const { return c_; }
    index_t size() const { return n_; }
    index_t generation() const { return generation_; }
    double best() const { return best_; } // of this restart
    const double* best_point() const { return best_point_.data(); }
    double step_size() const { return s_; }
    double spread() const; // largest standard deviation of a coordinate

    template <class Archive> void visit(Archive& a) {
        a("h.n", n_), a("h.generation", generation_), a("h.factored", factored_);
        a("h.s", s_), a("h.best", best_), a("h.best_point", best_point_),
            a("h.finished", finished_);
        a("h.consensus", c_), a("h.covariance", covariance_), a("h.factor", factor_);
        a("h.step_path", step_path_), a("h.covariance_path", covariance_path_);
        a("h.best_history", best_history_), a("h.median_history", median_history_);
        a("h.particles", x_);
        if constexpr (std::is_same_v<Archive, Load>) check();
        prepare();
    }

    static constexpr index_t full_limit = 500;

  private:
    void check() const;
    void prepare();
    void transform();                               // y_i = A z_i
    void resolve(const double* y, double* z) const; // z = A^-1 y
    void update_covariance(bool step_path_long);
    bool factor_covariance();
    bool stagnated() const;
    void judge(const double* f);
    double variance(index_t k) const { return covariance_[full_ ? k * d_ + k : k]; }

    index_t d_, n_ = 0;
    bool full_;
    std::vector<double> cells_;

    // State
    std::int64_t generation_ = 0, factored_ = 0; // of this restart; of the last factorisation
    double s_ = 0, best_ = 0;
    bool finished_ = true;
    std::vector<double> c_, best_point_, step_path_, covariance_path_;
    std::vector<double> covariance_, factor_; // upper triangles by rows, C and A'; or diagonals
    std::vector<double> best_history_, median_history_; // rings over generations
    std::vector<double> x_;

    // Constants of (d, n)
    index_t parents_ = 0, flat_window_ = 0, interval_ = 1;
    std::int64_t last_generation_ = 0;
    double mass_ = 0, path_rate_ = 0, step_rate_ = 0, rank_one_ = 0, rank_mu_ = 0, damping_ = 0;
    double weight_sum_ = 0, normal_length_ = 0;
    std::vector<double> weights_;

    // Scratch
    std::vector<float> normals_;
    std::vector<double> y_, z_, mean_y_, mean_z_, noise_;
    std::vector<const double*> directions_; // of the update of C, and their weights
    std::vector<double> direction_weights_;
    std::vector<index_t> order_;
    mutable std::vector<double> sorted_;
};

} // namespace fastopt

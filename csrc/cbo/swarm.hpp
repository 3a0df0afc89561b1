// Regime P of the hybrid: consensus-based optimisation with memory. Every particle keeps its best
// point y_i; the consensus c is the best of them (alpha -> infinity), the drift jumps all the way
// to it (lam dt = 1) and the noise is anisotropic (sigma sqrt(dt) = 1). A candidate changes a
// random batch of coordinates only:
//
//     x_ik = c_k + |y_ik - c_k| xi_ik   for k in the batch,   x_ik = y_ik otherwise,
//
// or, now and then, a uniform jump of that coordinate; it replaces y_i when it is not worse. The
// batches let a coordinate of a separable function settle on its own.
#pragma once

#include <cstdint>
#include <vector>

#include "core/random.hpp"
#include "core/snapshot.hpp"

namespace fastopt {

class Swarm {
  public:
    explicit Swarm(index_t d);

    void restart(index_t n, const Draw& draw); // n uniform particles, to be evaluated
    void propose(const Draw& draw);            // one generation of candidates
    void accept(const double* f);              // ... and which of them are kept
    void replace_leader(const double* u, double f);

    double* candidates() { return x_.data(); }
    const std::vector<double>& population() const { return y_; }
    const std::vector<double>& energies() const { return f_; }
    const double* consensus() const { return &y_[leader_ * d_]; }
    index_t size() const { return n_; }
    bool fresh() const { return fresh_; }
    double best() const { return f_[leader_]; }
    double spread() const { return spread_; } // largest standard deviation of a coordinate

    template <class Archive> void visit(Archive& a) {
        a("p.n", n_), a("p.leader", leader_), a("p.fresh", fresh_), a("p.spread", spread_);
        a("p.memory", y_), a("p.energies", f_), a("p.candidates", x_);
        if constexpr (std::is_same_v<Archive, Load>) check();
        prepare();
    }

  private:
    struct Move {
        index_t particle, coordinate;
        bool jump;
    };
    void check() const;
    void prepare();
    void measure();

    index_t d_;
    std::int64_t n_ = 0, leader_ = 0;
    bool fresh_ = true; // the particles have no values yet
    double spread_ = 1;
    std::vector<double> y_, f_, x_;

    std::vector<std::uint32_t> words_;
    std::vector<Move> moves_;
    std::vector<float> normals_;
    std::vector<double> jumps_, sum_, squares_;
};

} // namespace fastopt

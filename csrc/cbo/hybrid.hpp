// The default of cbo, "hybrid CBO (covariance hopping + memory CBO + multistart)": three regimes
// share one budget of evaluations in the unit box.
//
//   H  consensus hopping with covariance noise, restarted with three times as many particles, or
//      with few around the best point when another regime found it;
//   P  consensus-based optimisation with memory and coordinate batches, polished once per run;
//   S  L-BFGS-B from uniform points, and once at the start from x0 or the centre.
//
// A Hybrid is a machine that advances by step(): one generation of H or P, or one whole local
// search. All its state can be visited, so that a run saved after any step continues with the same
// bits. It knows no objective, clock or Python: `evaluate` counts the budget and may cut a batch
// short, which ends the step (and the run) without changing anything but the best point.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "cbo/hopping.hpp"
#include "cbo/lbfgs.hpp"
#include "cbo/swarm.hpp"
#include "core/random.hpp"
#include "core/snapshot.hpp"
#include "core/status.hpp"

namespace fastopt {

enum class Regime : int { start = 0, hopping = 1, swarm = 2, local = 3 };

// A local search for problems that L-BFGS-B cannot see (constraints): improves u in place with at
// most about maxfun evaluations, returns the rank value there and what it spent.
using LocalSearch = std::function<LocalResult(double* u, index_t maxfun)>;

struct HybridOptions {
    index_t n_particles = 0;     // of the first restart of H; 0: 4 + floor(3 ln d)
    bool polish = true;          // false: no local search at all (noisy or discontinuous f)
    index_t maxfev = 0;          // bounds a local search; 0: no limit
    double tol = 1e-8, atol = 0; // of the agreement, see agreed()
    std::vector<double> x0;      // unit point: first polished, first centre of H; empty: none
    std::vector<double> cells;   // > 0: number of values of an integer coordinate; empty: none
    bool coarse = false;         // f sees float32: wide central differences, earlier rounding
    Key key;
    LocalSearch local_search; // in place of L-BFGS-B
};

// Where the last searches that ended by their own tests did so.
class Ends {
  public:
    static constexpr index_t count = 4; // one and three that confirm it

    explicit Ends(index_t d)
        : f_(count, std::numeric_limits<double>::infinity()), points_(count * d) {}

    void add(double f, const double* u);
    bool all_at(const double* best, double close, double rounded) const;

    template <class Archive> void visit(Archive& a, const std::string& name) {
        const std::size_t size = points_.size();
        a(name, f_), a(name + "_points", points_);
        if constexpr (std::is_same_v<Archive, Load>)
            Load::require(Load::has(f_, count) && points_.size() == size,
                          "the ends of searches do not fit their number");
    }

  private:
    std::vector<double> f_, points_;
};

class Hybrid {
  public:
    // Coordinates that cannot move (lower == upper) are the caller's: leave them out of d.
    Hybrid(index_t d, HybridOptions options);

    // One step; Status::running, agreement, or maxfev when `evaluate` cut it short.
    Status step(const Evaluate& evaluate);

    const std::vector<double>& best_point() const { return best_point_; }
    double best() const { return best_; } // +inf before the first finite value
    index_t nfev() const { return nfev_[0] + nfev_[1] + nfev_[2] + nfev_[3]; }
    index_t nfev(Regime r) const { return nfev_[static_cast<int>(r)]; }
    index_t steps() const { return iteration_; }
    Regime regime() const { return static_cast<Regime>(regime_); } // of the last step
    // Of the particle regime (H or P) that moved last:
    const std::vector<double>& population() const;
    const std::vector<double>& energies() const;
    std::vector<double> consensus() const;
    double spread() const;    // largest standard deviation of a coordinate
    double step_size() const; // s in H, spread in P

    template <class Archive> void visit(Archive& a) {
        a("iteration", iteration_), a("regime", regime_), a("particles", particles_);
        a("leader", leader_), a("best", best_), a("best_point", best_point_);
        for (int r = 0; r < 4; ++r) a(nfev_names[r], nfev_[r]);
        a("restarts", restarts_), a("runs", runs_), a("polished", polished_),
            a("unsettled", unsettled_);
        a("mature", mature_), a("refining", refining_), a("refined", refined_);
        a("scale", scale_), ends_.visit(a, "ends"), global_ends_.visit(a, "global_ends"),
            a("energies", energies_);
        hopping_.visit(a);
        swarm_.visit(a);
        if constexpr (std::is_same_v<Archive, Load>) check();
    }

  private:
    static constexpr std::array<const char*, 4> nfev_names = {"nfev_start", "nfev_hopping",
                                                              "nfev_swarm", "nfev_local"};
    void check() const;
    Regime choose() const;
    void restart_hopping();
    bool hop(const Evaluate& evaluate);
    bool swarm(const Evaluate& evaluate);
    LocalResult search_from(std::vector<double>& u, const Evaluate& evaluate);
    bool evaluated(double* u, index_t n, double* f, const Evaluate& evaluate);
    void snap(double* u, index_t n) const;
    void note(const double* u, index_t n, const double* f);
    void ended(double f, const double* u);
    bool agreed() const;
    Draw draw(std::uint32_t stream) const {
        return {o_.key, static_cast<std::uint64_t>(iteration_), stream};
    }

    index_t d_;
    HybridOptions o_;
    std::vector<char> frozen_;

    std::int64_t iteration_ = 0; // steps done; the counter of all random numbers
    std::int64_t regime_ = 0, particles_ = 1, leader_ = 0;
    double best_ = std::numeric_limits<double>::infinity();
    std::vector<double> best_point_;
    std::array<std::int64_t, 4> nfev_{};
    std::int64_t restarts_ = 0, runs_ = 0;      // started so far, of H and of P
    bool polished_ = false, unsettled_ = false; // this run of P; its polish did not converge
    bool mature_ = false;                       // H had its head start
    bool refining_ = false;                     // H started from the best point
    double refined_ = std::numeric_limits<double>::infinity(); // ... the value of the last such
    double scale_ = 0;        // of f: median - least of the feasible values of H's first generation
    Ends ends_, global_ends_; // of all searches; of H and P
    std::vector<double> energies_; // of the last generation of H

    Hopping hopping_;
    Swarm swarm_;
    Lbfgs lbfgs_;
    std::vector<double> values_, point_;
};

} // namespace fastopt

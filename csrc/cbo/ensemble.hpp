// The particles of the plain dynamics and what one iteration does to them. The loop that calls
// these lines is in cbo.cpp; all dynamics except 'hybrid' share it. Of several ranks each holds its
// share of them (shares.hpp).
#pragma once

#include <cmath>

#include "cbo/cbo.hpp"
#include "cbo/cbo_steps.hpp"

namespace fastopt {

template <class T> class Ensemble {
  public:
    Ensemble(const CboProblem<T>& problem, const CboOptions& options); // every buffer

    void initialise();         // particles from init, Latin hypercube or uniform; x0 first
    void evaluate();           // f_i, v_i of this iteration's batch; best point so far
    void consensus(index_t k); // weights and c (or one c_i each)
    void move(index_t k);      // x_i by the dynamics' rule; iteration k keys the noise
    bool all_infinite() const { return !(energy_min_ < no_limit); }
    bool stands_still() const; // the consensus has not changed for many iterations

    bool agrees() const {
        return std::isfinite(spread_) && spread_ <= options_.atol + options_.tol * std::fabs(mean_);
    }
    bool feasible() const { return best_v_ == 0; }
    index_t nfev() const { return nfev_; }
    double best() const { return best_f_; }
    index_t n_batch() const {
        return static_cast<index_t>(batch_.empty() ? n_ : options_.batch_size);
    }
    Record record(index_t k) const;

    // The caller takes these when the run ends.
    void finish(CboResult<T>& result);

    template <class Archive> void visit(Archive& a) {
        const bool wanted = std::is_same_v<Archive, Load> || shares_.first();
        WholeRows<T> x(x_, shares_, n_, d_, wanted), y(y_, shares_, n_, d_, wanted);
        a("x", x), a("f", f_), a("violation", v_), a("best_x", best_x_), a("best_f", best_f_);
        a("best_violation", best_v_), a("nfev", nfev_), a("alpha", alpha_), a("penalty", penalty_);
        a("tolerance", tolerance_), a("consensus", c_), a("diffusion", diffusion_);
        a("memory_diffusion", memory_diffusion_);
        a("still", still_), a("batch", batch_), a("chunk", chunk_), a("batch_at", batch_at_),
            a("epoch", epoch_);
        a("y", y), a("y_f", y_f_), a("y_violation", y_v_), a("clusters", clusters_);
        a("centers", centers_), a("weights", w_), a("spread", spread_);
        if constexpr (std::is_same_v<Archive, Load>) check(), send_consensus(), send_batch();
    }

  private:
    // Of this iteration, those whose coordinates are stored here.
    index_t n_here() const { return shares_.divided() ? shares_.held().count() : n_batch(); }
    const index_t* batch_rows() const { return batch_.empty() ? nullptr : rows_.data(); }
    void check() const;
    void first_clusters();
    void next_batch();
    void send_batch();
    void send_consensus();
    void update_penalty();
    void clustered_consensus(const T* x);
    void covariance_factor(const T* x); // L L' = sum_i w_i (x_i - c)(x_i - c)' / sum_i w_i
    void kick(index_t k);

    const CboProblem<T>& problem_;
    const CboOptions& options_;
    const index_t n_, d_;
    const Shares shares_;
    const index_t n_held_; // the rows of x, y and what moves them; values and weights are of all n
    std::shared_ptr<Queue> queue_;
    CboSteps<T> steps_;

    // Everything that is large, and what meets it, lives where the kernels run.
    Array<T> lower_, upper_, inverse_kernel_, step_; // per coordinate
    Array<char> integer_;
    std::vector<T> width_;
    double drift_, diffusion_, diffusion_factor_, memory_drift_, memory_diffusion_, ess_;

    Array<T> x_, y_, scratch_, gradient_, centers_, factor_, points_;
    Array<double> f_, v_, e_, w_, y_f_, y_v_, responsibility_, share_;
    Array<T> c_t_;        // the consensus in the particles' precision
    Array<index_t> rows_; // this iteration's batch

    std::vector<double> c_, c_before_, best_x_;
    Buffer<double> clusters_;
    std::vector<index_t> batch_, chunk_; // a permutation of the particles; this iteration's part
    index_t batch_at_ = 0, epoch_ = 0, nfev_ = 0, still_ = 0;
    double alpha_ = 0, energy_min_ = no_limit, spread_ = no_limit, mean_ = 0;
    double penalty_ = 0, tolerance_ = 0; // of the adaptive penalty; 0: not yet set
    double best_f_ = no_limit, best_v_ = no_limit;
};

} // namespace fastopt

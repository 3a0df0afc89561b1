// Between the hybrid, which knows the unit box and one number per point, and the user's problem:
// bounds, fixed and integer coordinates, single precision, constraints, budget and target.
//
// Constraints enter by Deb's rule (a feasible point beats an infeasible one; of two infeasible ones
// the smaller violation wins), which the ranks of the particle regimes take as it is; local
// searches of constrained problems are the caller's (SLSQP).
#pragma once

#include "cbo/cbo.hpp"
#include "cbo/hybrid.hpp"
#include "cbo/shares.hpp"

namespace fastopt {

template <class T> class BoxEvaluator {
  public:
    BoxEvaluator(const CboProblem<T>& problem, const CboOptions& options);

    index_t free_dim() const { return static_cast<index_t>(free_.size()); }
    HybridOptions hybrid_options();

    // Evaluates the first m <= n unit points, as many as maxfev leaves, and returns m; 0 once the
    // target is reached or the objective is unbounded.
    index_t evaluate(const double* u, index_t n, double* f);

    index_t nfev() const { return nfev_; }
    bool target_reached() const { return best_v_ == 0 && best_f_ <= options_.f_target; }

    Record record(const Hybrid& hybrid, index_t k);
    void finish(const Hybrid& hybrid, CboResult<T>& result);

    template <class Archive> void visit(Archive& a) {
        const std::size_t d = best_x_.size();
        a("x", best_x_), a("f", best_f_), a("violation", best_v_), a("nfev", nfev_);
        if constexpr (std::is_same_v<Archive, Load>)
            Load::require(best_x_.size() == d && nfev_ >= 0, "its best point does not fit");
    }

  private:
    void to_user(const double* u, T* x) const;      // all coordinates
    void to_unit(const double* x, double* u) const; // free coordinates
    double rank(double f, double violation) const;
    LocalResult search(double* u, index_t maxfun);
    void note(const T* x, double f, double violation);

    const CboProblem<T>& problem_;
    const CboOptions& options_;
    std::vector<index_t> free_;         // coordinates with lower < upper
    std::vector<double> lower_, cells_; // of the free ones; cells > 0: integer values
    std::vector<double> range_;
    std::vector<T> fixed_;        // a whole point: the fixed coordinates' values
    std::vector<T> least_, most_; // bounds in T, rounded inwards
    std::vector<T> points_, given_;
    std::vector<double> violations_, consensus_;
    index_t nfev_ = 0;
    const Shares shares_; // each rank evaluates its part of the points; all else is the same there
    std::vector<double> best_x_;
    double best_f_ = no_limit, best_v_ = no_limit;
};

} // namespace fastopt

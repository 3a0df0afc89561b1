// Local search of the hybrid: L-BFGS-B (Byrd, Lu, Nocedal, Zhu, SIAM J. Sci. Comput. 16, 1995; the
// projected subspace step of Morales, Nocedal, ACM TOMS 38, 2011) in the unit box, with
// differences evaluated as one batch of d + 1 points (2 d + 1 if central). Defaults and tests are
// SciPy's.
#pragma once

#include <functional>
#include <vector>

#include "core/types.hpp"

namespace fastopt {

// Evaluates the first m <= n points (row by row in the unit box) and returns m; less than n means
// that the run is over. Values are finite or +inf, never NaN.
using Evaluate = std::function<index_t(const double* u, index_t n, double* f)>;

struct LbfgsOptions {
    index_t memory = 10;      // pairs (s, y)
    double ftol = 2.22e-9;    // relative decrease of f that ends the search
    double gtol = 1e-5;       // projected gradient, infinity norm
    double difference = 1e-8; // step of the differences
    bool central = false;     // differences on both sides, for values of few digits
    index_t max_trials = 20;  // evaluations of one line search
};

struct LocalResult {
    double f = 0;
    index_t nfev = 0;
    bool converged = false; // by its own tests, not for want of evaluations or of a better step
    bool complete = true;   // false: `evaluate` cut the search short
};

class Lbfgs {
  public:
    explicit Lbfgs(index_t d, const LbfgsOptions& options = {});

    // Improves u in place. Coordinates with frozen[k] != 0 keep their value (empty: none).
    LocalResult minimize(double* u, const std::vector<char>& frozen, index_t maxfun,
                         const Evaluate& evaluate);

  private:
    bool gradient(const Evaluate& evaluate);
    void differ(double& u, index_t side) const;
    double projected_gradient() const;
    bool factor_middle();
    void cauchy_point();
    void subspace_step();
    bool line_search(index_t iteration, const Evaluate& evaluate);
    bool remember();
    void forget();

    index_t d_, m_, rows_, k_ = 0; // dimension, memory, rows of a batch, pairs held
    LbfgsOptions o_;
    double f_ = 0, theta_ = 1, step_ = 0, slope_ = 0;
    index_t nfev_ = 0;
    bool converged_ = false, complete_ = true;
    std::vector<index_t> free_;           // coordinates that are searched
    std::vector<double> x_, g_, x0_, g0_; // iterate and the one before
    std::vector<double> direction_, cauchy_, breakpoints_, reduced_;
    std::vector<double> s_, y_, ss_, sy_; // pairs as rows; their products, m x m
    std::vector<double> middle_, inner_;  // 2k x 2k systems, factored
    std::vector<index_t> middle_pivot_, inner_pivot_, order_;
    std::vector<double> p_, c_, w_, v_, wf_;
    std::vector<double> batch_, values_;
};

} // namespace fastopt

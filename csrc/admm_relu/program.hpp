// The convex program of a two-layer ReLU network (Pilanci and Ergen, 2020):
//     min  L(F v) + beta sum_b ||v_b||   s.t.  E_i X v_b >= 0 for every block b of gate i,
// its value, its dual and what stops a solver. Blocks are (sign, output, gate); without the cone it
// is the gated network's, and with single columns as blocks the lasso over fixed hidden units.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "admm_relu/cone_projection.hpp"
#include "admm_relu/design.hpp"
#include "admm_relu/losses.hpp"
#include "admm_relu/robust.hpp"
#include "core/interfaces.hpp"
#include "core/status.hpp"

namespace fastopt {

struct ProgramShape {
    index_t n = 0, d = 0, n_gates = 0, c = 1;
    bool cone = true;            // E_i X v >= 0
    int signs = 2;               // v and w, or v alone
    bool single_columns = false; // blocks of one column each (then n_gates = 1)
    bool robust = false;         // against perturbed samples: predictions are slopes (robust.hpp)
    index_t all_n = 0, all_gates = 0; // of all ranks, where n or n_gates is a rank's share; else 0

    index_t samples() const { return all_n > 0 ? all_n : n; }
    index_t width() const { return single_columns ? 1 : d; }
    index_t outputs() const { return robust ? d : c; }
    index_t predictions() const { return outputs() * n; }
    index_t dual_size() const { return predictions() + (robust ? 2 * n : 0); }
    index_t half() const { return c * n_gates * d; }
    index_t all_half() const { return c * (all_gates > 0 ? all_gates : n_gates) * d; }
    index_t size() const { return signs * half(); }
    index_t blocks() const { return size() / width(); }
};

class Program {
  public:
    // Keeps the host's pointers: X (n x d), gates D (P x n). `radius` (d): of a robust program,
    // else empty. It lives in the queue of its loss, and is shared by its ranks.
    Program(const ProgramShape& shape, const double* x, const double* gates, Loss loss, int threads,
            const std::vector<double>& radius = {});

    // Arrays are where the kernels run: of the rank's gates and samples. Numbers that are returned
    // are those of the whole program, the same on all ranks.
    double value(const double* z) const;             // L(z)
    void gradient(const double* z, double* t) const; // a dual point in dL(z)
    double conjugate(const double* t) const;         // L*(t)
    // z = F v; L(z) + beta sum ||v_b||.
    double objective(const double* v, double beta, double* z);
    // Weights of a robust program (signs, P, d) as its design takes them, (signs, d, P), and back.
    template <class T> void to_design(index_t signs, const T* weights, T* turned) {
        steps.transpose(signs, shape.n_gates, shape.d, weights, turned);
    }
    template <class T> void from_design(index_t signs, const T* turned, T* weights) {
        steps.transpose(signs, shape.d, shape.n_gates, turned, weights);
    }
    void predict(const double* v, double* z);   // z = F v
    void pull_back(const double* t, double* g); // g = F't
    double penalty(const double* v);            // sum ||v_b||
    // max_b ||Proj_K(-F't)_b||: at most beta exactly when t is dual feasible.
    double dual_norm(const double* t, double level);
    // The same without the cones: no less, and cheap in many columns.
    double gated_dual_norm(const double* t);
    // The smallest beta at which the zero network is optimal: the dual norm of L'(0), which is a
    // bound from above for a robust program, whose loss has a kink there. Kept.
    double beta_max();
    // The best value -L*(tau t) over the multiples of t that are feasible, by the norm or by the
    // gated one (a bound too, if a lower one), or by the norm that the caller knows.
    double dual(const double* t, double beta, bool gated = false);
    double dual_of_norm(const double* t, double beta, double norm);
    double violation(const double* v);
    // w <- Proj_K(w) block by block.
    void make_feasible(double* w);

    const ProgramShape shape;
    const Loss loss;
    AdmmSteps steps;
    const Input<double> kernel_x, kernel_gates;
    const std::unique_ptr<const RobustLoss> robust; // null: no perturbations
    const Array<double> ones;                       // the design of a robust program
    Design<double> design;
    ConeProjector& cones(); // made when first asked for
    // The active rows of the last dual norm, one set for each block: where the next one starts.
    ActiveSets& dual_sets() { return dual_sets_; }
    int threads() const { return threads_; }
    const Sharing& sharing() const { return steps.sharing(); }
    const double* x() const { return x_; } // the host's
    const double* gates() const { return gates_; }

  private:
    const double *x_, *gates_;
    int threads_;
    std::vector<double> radius_;
    std::unique_ptr<ConeProjector> cones_;
    ActiveSets dual_sets_;
    Array<double> work_, projected_, turned_, norm_, scaled_;
    double beta_max_ = -1;
};

constexpr double unlimited = std::numeric_limits<double>::infinity();

struct AdmmOptions {
    double rho = -1, rho_cone = -1; // penalties; negative: by rule
    double rho_start = -1;          // where the rule starts; negative: by the data's scales
    double tol = 1e-4;              // paper: relative residuals
    double gap_tol = 1e-4;          // relative duality gap
    index_t maxiter = 1000;
    double maxtime = unlimited;
    double relaxation = 1.9;
    index_t memory = 20; // of Anderson acceleration; 0: none
    bool polish = true;  // semismooth Newton when the active set settles
    bool record_history = false;
    index_t max_dense = 20000; // largest order of a dense system
};

// A lower bound that rounding put above the value it bounds is that value. `zero` is the value of
// v = 0: terms of its size, times what is left of them, are what fun and dual were added from.
inline double rounded_bound(double dual, double fun, double zero) {
    const double slack = 1e-12 * (fun < 0 ? -fun : fun) + 1e-14 * zero;
    return dual > fun && dual - fun <= slack ? fun : dual;
}

// What a solver tells its monitor once per iteration.
struct AdmmRecord {
    index_t nit = 0, size = 0;
    const double* weights = nullptr; // the best feasible v
    double fun = 0, dual = 0, primal_residual = 0, dual_residual = 0;
};

class AdmmMonitor {
  public:
    virtual ~AdmmMonitor() = default;
    virtual bool wanted() const { return false; }
    virtual bool stop(const AdmmRecord&) { return false; }
    virtual void poll() {}
};

struct AdmmHistory {
    std::vector<double> nit, time, fun, dual, primal_residual, dual_residual, rho;
};

struct AdmmResult {
    Status status = Status::running;
    std::vector<double> weights; // (signs, c, P, d)
    std::vector<double> theta;   // (c, n), or a robust program's: the dual point of the bound
    double fun = 0, dual = -unlimited, penalty = 0, violation = 0, beta_max = 0, rho = 0;
    double rho_cone = 0;
    double setup = 0; // seconds before the first iteration
    index_t nit = 0, newton_steps = 0, factorisations = 0, cg_iterations = 0;
    AdmmHistory history;
};

// Solves with cones in the prox, without cones, or the lasso: one loop for all (splitting.cpp).
template <class T> class SplittingSolver {
  public:
    SplittingSolver(Program& program, index_t max_dense);
    ~SplittingSolver();
    // `warm`: weights to start from, or null.
    AdmmResult solve(double beta, const AdmmOptions& options, const double* warm,
                     AdmmMonitor& monitor);

  private:
    struct State;
    Program& program_;
    Array<T> x_, gates_;
    std::unique_ptr<Design<T>> design_;
    std::unique_ptr<GraphProjection<T>> graph_;
    double last_rv_ = 0, last_rz_ = 0; // the penalties at the end of the last solve
    ActiveSets last_sets_;             // and the active rows of its last iterate
};

// The published splitting: a constraint variable for each cone row (paper_admm.cpp).
template <class T> class PaperSolver {
  public:
    PaperSolver(Program& program, index_t max_dense) : program_(program), max_dense_(max_dense) {}
    AdmmResult solve(double beta, const AdmmOptions& options, const double* warm,
                     AdmmMonitor& monitor);

  private:
    Program& program_;
    index_t max_dense_;
};

// Newton on the active face (newton.cpp): one step from v, accepted when the objective of the
// resulting r = prox argument decreases. `sets` are the active rows of each block (empty without
// cones); returns the direction's end point in `next`, false when there is no step.
bool newton_direction(Program& program, double beta, const double* v, const double* z,
                      const ActiveSets& sets, double* next);

} // namespace fastopt

// Newton's method for  min f(x)  subject to  c(x) = 0.
//
// Each step solves the KKT system of the Lagrangian L = f + l'c (kkt.hpp) and is judged by the
// exact augmented Lagrangian
//     M = f + l'c + (eta1/2) |c|^2 + (eta2/2) |g_L|^2,      g_L = grad f + J'l,
//     grad_x M = g_L + eta2 (Hess_xx L) g_L + eta1 J'c,     grad_l M = c + eta2 J g_L,
// or, where M fails, by a filter on (|c|_1, f).
//
// Sources: Hong, Na, Mahoney, Kolar, "Constrained Optimization via Exact Augmented Lagrangian and
// Randomized Iterative Sketching" (merit function, penalties, adaptive accuracy); Waechter,
// Biegler, "On the implementation of an interior-point filter line-search algorithm" (filter,
// inertia correction, second-order correction); Eisenstat, Walker (1996), forcing terms.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/interfaces.hpp"
#include "core/status.hpp"
#include "sketch_newton/kkt.hpp"

namespace fastopt {

enum class Globalisation { merit, filter, adasketch };

struct NewtonOptions {
    KktOptions kkt;
    Globalisation globalisation = Globalisation::merit;
    double tol = 1e-8; // KKT residual
    index_t maxiter = 1000;
    index_t maxfev = std::numeric_limits<index_t>::max();
    double maxtime = std::numeric_limits<double>::infinity(); // seconds
    bool scale = true;                                        // work on sf f and sc c
    bool record_history = false;
    bool fast_accept = true;      // full steps that cut the KKT residual pass without a line search
    bool corrections = true;      // second-order ones
    bool second_order = true;     // Hessians are good enough to tell a saddle from a minimum
    Communicator* comm = nullptr; // ranks that share f's rows; all take the same steps
};

// One iteration, as the monitor and the history see it.
struct NewtonRecord {
    index_t nit = 0, nfev = 0;
    double fun = 0, constr_violation = 0, optimality = 0, step = 0, seconds = 0, shift = 0;
    index_t inner_iterations = 0, sketch_rows = 0;
    const std::vector<double>* x = nullptr;
};

class NewtonMonitor {
  public:
    virtual ~NewtonMonitor() = default;
    virtual bool stop(const NewtonRecord&) { return false; }
    virtual void poll() {}
};

struct NewtonResult {
    Status status = Status::running;
    bool singular = false; // stalled because no shift made the KKT matrix regular
    std::vector<double> x, l, gradient, c, jacobian; // of the user's own functions, unscaled
    double fun = 0, optimality = 0, constr_violation = 0, kkt_residual = 0;
    index_t nit = 0, n_restorations = 0;
    double eta1 = 1, eta2 = 0.1, shift = 0;
    bool filter = false; // did the filter take over?
    std::string linear_solver, reason;
    index_t inner_iterations = 0, sketch_rows = 0, n_sketches = 0;
    std::vector<NewtonRecord> history;
};

NewtonResult solve_newton(NewtonFunctions& functions, NewtonMonitor& monitor,
                          const std::vector<double>& x0, index_t m, const NewtonOptions& options);

// ---- parts, open to tests ---------------------------------------------------------------------

// Values and derivatives at a point, scaled.
struct NewtonPoint {
    std::vector<double> x, g, c, j;
    double f = 0;
};

struct Merit {
    double eta1 = 1, eta2 = 0.1;
    double value(const NewtonPoint& p, const double* l) const;
    // grad M (n + m) with the Hessian W of the Lagrangian at p, l
    void gradient(const NewtonPoint& p, const double* l, const Curvature& w, double* out) const;
};

// g + J'l
void lagrangian_gradient(const NewtonPoint& p, const double* l, double* out);

// argmin_l |g + J'l|, of least norm
std::vector<double> least_squares_multipliers(const NewtonPoint& p);

} // namespace fastopt

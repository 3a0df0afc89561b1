// The rooms of the outer method (newton.cpp): scaled functions, the filter, restoration.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/clock.hpp"
#include "sketch_newton/newton.hpp"

namespace fastopt {

struct Stop { // thrown by an evaluation that the budget or a NaN forbids; caught by the loop
    Status status;
};

double norm(const std::vector<double>& v);
double norm_inf(const std::vector<double>& v);
double norm_one(const std::vector<double>& v);
double dot(const std::vector<double>& a, const std::vector<double>& b);
bool finite(const std::vector<double>& v);

// KKT residuals of the user's own problem.
struct Residual {
    double dual_abs = 0; // |g + J'l|_inf
    double dual = 0;     // |g + J'l|_inf / max(1, |g|_inf)
    double primal = 0;   // |c|_inf
    double worst() const { return std::fmax(dual, primal); }
    double absolute() const { return std::fmax(dual_abs, primal); }
};

// The user's functions on sf f and sc c, with budgets and Ctrl-C looked at before each value.
class ScaledFunctions {
  public:
    ScaledFunctions(NewtonFunctions& functions, NewtonMonitor& monitor, index_t n, index_t m,
                    const NewtonOptions& options);

    void choose_scale(NewtonPoint& start); // sf = min(1, 100 / |g|_inf), sc likewise by row of J
    void poll() const;                     // throws Stop after maxtime, and when interrupted
    bool values(NewtonPoint& p);           // f and c at p.x; false where one is not finite
    bool derivatives(NewtonPoint& p);      // g and J
    // sigma Hess f + sum l_i Hess c_i of the scaled functions; throws Stop where it is not finite
    std::shared_ptr<const Curvature> curvature(const NewtonPoint& p, double sigma,
                                               const std::vector<double>& l);
    Residual residual(const NewtonPoint& p, const std::vector<double>& l) const;
    std::vector<double> user_multipliers(const std::vector<double>& l) const;
    void unscale(NewtonPoint& p) const; // to the user's own values and derivatives
    double user_value(double f) const { return f / sf_; }
    double seconds() const { return clock_.seconds(); }
    NewtonFunctions& functions() { return functions_; }
    NewtonMonitor& monitor() { return monitor_; }
    index_t n() const { return n_; }
    index_t m() const { return m_; }
    int threads() const { return options_.kkt.threads; }

  private:
    NewtonFunctions& functions_;
    NewtonMonitor& monitor_;
    index_t n_, m_;
    const NewtonOptions& options_;
    double sf_ = 1;
    std::vector<double> sc_;
    Clock clock_;
};

// Pairs (theta, phi) that a new point must improve on in one of the two (Waechter, Biegler).
class Filter {
  public:
    void reset(double theta);
    bool accepts(double theta, double phi) const;
    void add(double theta, double phi);
    double theta_min() const { return 1e-4 * unit_; }

  private:
    double unit_ = 1; // max(1, theta at the start)
    std::vector<std::pair<double, double>> entries_;
};

enum class Restored { accepted, stationary, failed };

// Levenberg-Marquardt on |c|^2 / 2 from p until `accept` holds, or until p is a stationary point of
// the violation. p is at the end the last point.
Restored restore(ScaledFunctions& s, NewtonPoint& p,
                 const std::function<bool(const NewtonPoint&)>& accept);

// The least of v'Wv over |v| = 1 with J v = 0, as far as some Lanczos steps from a random start see
// it (all of it up to n = 100).
struct LeastCurvature {
    double value = 0;      // +inf where J v = 0 has no solution but 0
    double largest = 0;    // of |v'Wv|
    std::vector<double> v; // where `value` is finite
    bool negative() const { return value < -1e-6 * largest; } // by more than rounding
};
LeastCurvature least_curvature(index_t n, index_t m, const double* j,
                               const std::function<void(const double*, double*)>& multiply,
                               NewtonMonitor& monitor);

// The paper's algorithm to the letter; the loop of Globalisation::adasketch (adasketch.cpp). One
// step from p, l; false when the paper's method has nothing to offer (J nearly rank deficient).
struct AdaSketch {
    double delta = 0.1;
    index_t draws = 0; // rows of the KKT system drawn so far
    bool step(ScaledFunctions& s, NewtonPoint& p, std::vector<double>& l, Merit& merit,
              const KktOptions& o, double& alpha);
};

} // namespace fastopt

// Consensus-based optimisation: N particles x_i explore, and drift towards the consensus point
//     c = sum_i w_i x_i / sum_i w_i,   w_i = exp(-alpha (e_i - e_min)).
//
// Sources: Pinnau, Totzeck, Tse, Martin (2017); Carrillo, Jin, Li, Zhu (2021), anisotropic noise
// and batches; Grassi, Pareschi (2021) and Riedl (2022), memory and gradient drift; Carrillo,
// Hoffmann, Stuart, Vaes (2022), sampling; Bungert, Hoffmann, Kim, Roith (2025), polarisation;
// Borghi, Herty, Pareschi (2023), adaptive penalty; Fornasier, Richtarik, Riedl, Sun (2024),
// truncated noise; Riedl, Klock, Geldhauser, Fornasier, "Gradient is All You Need?", hopping.
#pragma once

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "core/buffer.hpp"
#include "core/communicator.hpp"
#include "core/interfaces.hpp"
#include "core/philox.hpp"
#include "core/snapshot.hpp"
#include "core/status.hpp"

namespace fastopt {

enum class Dynamics { hybrid, standard, memory, hopping, sampling, polarized };
enum class Noise { anisotropic, isotropic, covariance };

constexpr double unset = std::numeric_limits<double>::quiet_NaN(); // "choose for me"
constexpr double no_limit = std::numeric_limits<double>::infinity();

// The user's parameters; python/fastopt/_cbo.py documents each. Names and defaults are one list
// with the binding, and a test holds the Python signature equal to it.
struct CboOptions {
    Dynamics dynamics = Dynamics::hybrid;
    Noise noise = Noise::anisotropic;
    index_t n_particles = 0;         // 0: chosen by the caller (plain) or by the method (hybrid)
    double drift = unset;            // lambda dt
    double diffusion = unset;        // sigma sqrt(dt)
    double diffusion_factor = unset; // diffusion <- diffusion_factor * diffusion, each iteration
    double alpha = -1;               // negative: by effective sample size `ess`
    double alpha_factor = 1;         // alpha <- min(alpha_factor * alpha, alpha_max)
    double alpha_max = no_limit;
    std::vector<double> alpha_schedule; // alpha of iteration k; the last one stays
    double ess = unset;                 // (sum w)^2 / sum w^2 = ess N
    double truncation = no_limit;       // M
    double memory_drift = unset, memory_diffusion = unset;
    index_t batch_size = 0;  // 0: all particles
    bool batch_full = false; // move all particles with a batch's consensus
    double gradient_weight = 1;
    double kernel_width = 0.1; // polarised: in units of the box (of x where it is infinite)
    index_t n_minimizers = 0;  // polarised: clusters; 0: every particle its own consensus
    bool samples = false;      // sampling: draw from exp(-f) instead of minimising
    bool clip = false;         // at the walls: clip instead of reflect
    bool polish = true;        // hybrid: native L-BFGS-B
    index_t maxiter = std::numeric_limits<index_t>::max();
    index_t maxfev = std::numeric_limits<index_t>::max();
    double maxtime = no_limit; // seconds
    double f_target = -no_limit;
    double tol = 1e-8, atol = 0;
    Key key;
    int threads = 0; // 0: default_threads()
    bool record_history = false;
};

// The nearest T inside [lo, hi]: bounds in single precision are rounded inwards.
template <class T> T round_up(double lo) {
    const T t = static_cast<T>(lo);
    return static_cast<double>(t) < lo ? std::nextafter(t, std::numeric_limits<T>::infinity()) : t;
}
template <class T> T round_down(double hi) { return -round_up<T>(-hi); }

// A caller's local search: improves x with at most about maxfun evaluations, sets f and violation
// there, returns what it spent.
using UserSearch =
    std::function<index_t(std::vector<double>& x, index_t maxfun, double& f, double& violation)>;

template <class T> struct CboProblem {
    Objective<T>* objective = nullptr;
    Gradient<T>* gradient = nullptr; // or nullptr
    Monitor* monitor = nullptr;
    const UserSearch* local_search = nullptr; // hybrid, in place of L-BFGS-B; or nullptr
    std::vector<double> lower, upper;         // one per coordinate, perhaps infinite
    std::vector<char> integer;                // empty: none
    const T* init = nullptr;                  // n_particles rows, or nullptr for Latin hypercube
    bool random_init = false;                 // uniform instead of Latin hypercube
    std::vector<double> x0;                   // empty, or the first particle
    Communicator* comm = nullptr; // the other ranks, which solve the same problem; or nullptr

    index_t dim() const { return static_cast<index_t>(lower.size()); }
};

// One number per iteration under each name, and the consensus path.
struct History {
    std::vector<double> nfev, fun, spread, alpha, step_size, consensus;
    void add(const Record& r);

    template <class Archive> void visit(Archive& a) {
        a("history_nfev", nfev), a("history_fun", fun), a("history_spread", spread);
        a("history_alpha", alpha), a("history_step_size", step_size);
        a("history_consensus", consensus);
    }
};

template <class T> struct CboResult {
    Status status = Status::running;
    std::vector<double> x;
    double fun = no_limit, violation = 0;
    index_t nit = 0, nfev = 0;
    Buffer<T> population; // N x d, or the rows from first_row on that this rank holds
    index_t first_row = 0;
    Buffer<double> energies;
    Buffer<double> weights;
    std::vector<double> consensus;
    History history;
};

// Runs until a stopping rule holds. `resume` continues a run that was interrupted with the same
// problem and options, with the same bits, on any number of ranks. With `comm` the ranks must give
// the same problem and options, and monitors that answer the same; results are the same but for
// the population's rows. All ranks ask for a snapshot together, and rank 0 gets it.
template <class T>
CboResult<T> solve_cbo(const CboProblem<T>& problem, const CboOptions& options,
                       const Snapshot* resume = nullptr);

} // namespace fastopt

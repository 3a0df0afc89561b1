// Linear solvers for the KKT system
//     [ W + dw I   J'   ] [dx]       [r_x]
//     [ J        -dc I  ] [dl]  =  - [r_c].
// They know nothing of where W and r come from.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/philox.hpp"
#include "sketch_newton/functions.hpp"
#include "sketch_newton/sketch.hpp"

namespace fastopt {

struct KktSystem {
    index_t n = 0, m = 0;
    const Curvature* w = nullptr;
    const double* j = nullptr; // m x n
    double dw = 0, dc = 0;

    void multiply(const double* d, double* out) const; // K d, n + m numbers
    index_t size() const { return n + m; }
};

// Is the matrix what a descent step needs: n positive, m negative and no zero eigenvalues?
enum class Shape {
    right,
    singular,   // zero eigenvalues, or too few negative ones: raise dc, then dw
    indefinite, // too many negative eigenvalues: raise dw
    not_finite, // K has entries that are no numbers
    inaccurate, // the solver gave up before the tolerance was met
};

class KktSolver {
  public:
    virtual ~KktSolver() = default;
    virtual const char* name() const = 0;
    virtual bool exact() const { return false; } // solves to working accuracy whatever rtol
    virtual bool checks_curvature() const { return false; } // indefinite along the way is found
    // Prepares for K; `same` tells that W and J are those of the last call.
    virtual Shape factor(const KktSystem& k, bool same) = 0;
    // d with |K d + r| <= rtol |r|.
    virtual Shape solve(const double* r, double rtol, double* d) = 0;

    std::function<void()> poll = [] {}; // called now and then inside long solves; may throw
    index_t iterations = 0;             // of the inner method so far, products with W
    index_t sketch_rows = 0;            // of the sketch in use
    index_t n_sketches = 0;             // made so far
};

enum class LinearSolver {
    automatic,
    ldl,
    sketch_pcg,
    nystrom_pcg,
    minres,
    kaczmarz,
    gaussian,
    countsketch,
    block,
};

struct KktOptions {
    LinearSolver linear_solver = LinearSolver::automatic;
    SketchKind sketch = SketchKind::sjlt;
    index_t sketch_size = 0; // 0: chosen
    Key key;
    int threads = 0;
    std::shared_ptr<Queue> queue = nullptr; // of the whole solve; nullptr: a new one
};

struct Choice {
    LinearSolver solver;
    std::string reason;
};

// The cost model: the method with the fewest estimated seconds for a solve of a Newton run.
Choice choose_solver(const Curvature& w, index_t n, index_t m);

std::unique_ptr<KktSolver> make_solver(LinearSolver solver, const KktOptions& options);

} // namespace fastopt

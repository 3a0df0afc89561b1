// What the core asks of its caller: numbers in, numbers out, no Python.
#pragma once

#include <functional>
#include <memory>

#include "core/types.hpp"

namespace fastopt {

struct Snapshot; // core/snapshot.hpp
class Queue;     // backend/queue.hpp

// f : R^d -> R, evaluated for many points at once.
template <class T> class Objective {
  public:
    virtual ~Objective() = default;

    // f[i] = f(x_i) for n points stored row by row; NaN counts as +inf. When constrained(), also
    // violation[i] >= 0, zero where x_i is feasible. May overwrite x unless preserves_points().
    virtual void evaluate(T* x, index_t n, double* f, double* violation) = 0;
    // The same for x and f where the kernels run (backend/queue.hpp); false if this objective
    // cannot: the caller then uses evaluate(). Never changes x, never constrained.
    virtual bool evaluate_resident(const std::shared_ptr<Queue>&, const T* /*x*/, index_t /*n*/,
                                   double* /*f*/) {
        return false;
    }
    virtual bool constrained() const { return false; }
    virtual bool preserves_points() const { return false; }
};

// g_i = grad f(x_i), row by row.
template <class T> class Gradient {
  public:
    virtual ~Gradient() = default;
    virtual void evaluate(T* x, index_t n, T* g) = 0;
};

// What a solver tells its monitor once per iteration. Pointers live until the next iteration.
struct Record {
    index_t nit = 0, nfev = 0;
    index_t dim = 0;
    const double* x = nullptr; // best point so far
    double fun = 0;            // its value
    double violation = 0;
    double spread = 0;    // standard deviation of the particles' values
    double alpha = 0;     // inverse temperature of the weights
    double step_size = 0; // diffusion in force
    const double* consensus = nullptr;
    const std::function<Snapshot()>* snapshot = nullptr; // the state after this iteration
};

class Monitor {
  public:
    virtual ~Monitor() = default;
    virtual bool wanted() const { return false; }      // does anyone listen to stop()?
    virtual bool stop(const Record&) { return false; } // once per iteration; true ends the run
    virtual void poll() {}                             // cheap; throws when the user interrupts
};

} // namespace fastopt

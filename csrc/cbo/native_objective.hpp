// Objectives that run without Python, on all threads: the named functions and C function pointers.
#pragma once

#include <memory>
#include <vector>

#include "backend/queue.hpp"
#include "cbo/objectives.hpp"
#include "core/interfaces.hpp"

namespace fastopt {

// f(R (x - shift)) for a named f; shift and rotation (row-major d x d) may be empty.
template <class T> class NativeObjective final : public Objective<T> {
  public:
    NativeObjective(ObjectiveId id, index_t d, const std::vector<double>& shift,
                    const std::vector<double>& rotation, int threads);
    void evaluate(T* x, index_t n, double* f, double* violation) override;
    bool evaluate_resident(const std::shared_ptr<Queue>& queue, const T* x, index_t n,
                           double* f) override;
    bool preserves_points() const override { return true; }

  private:
    ObjectiveId id_;
    index_t d_;
    std::vector<T> shift_, rotation_;
    int threads_;
    struct Resident { // copies where the kernels of one queue run
        std::shared_ptr<Queue> queue;
        Array<T> shift, rotation, scratch;
    };
    Resident resident_;
};

// double f(int d, double* x) or double f(int d, double* x, void* user_data), called from several
// threads at once; x is a copy.
struct CFunction {
    double (*plain)(int, double*) = nullptr;
    double (*with_data)(int, double*, void*) = nullptr;
    void* user_data = nullptr;
};

template <class T> class CFunctionObjective final : public Objective<T> {
  public:
    CFunctionObjective(CFunction function, index_t d, int threads)
        : function_(function), d_(d), threads_(threads) {}
    void evaluate(T* x, index_t n, double* f, double* violation) override;
    bool preserves_points() const override { return true; }

  private:
    void evaluate_rows(const T* x, index_t r0, index_t r1, double* f) const;

    CFunction function_;
    index_t d_;
    int threads_;
    double seconds_per_point_ = 0; // decides whether waking threads pays; never changes a result
};

} // namespace fastopt

// Small runs of every plain dynamics, for comparing backends.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "cbo/cbo.hpp"
#include "cbo/native_objective.hpp"

namespace runs {

using namespace fastopt;

// An objective that only the host can evaluate; with a constraint if asked, and rude to its points.
template <class T> class HostObjective final : public Objective<T> {
  public:
    HostObjective(index_t d, bool constrained) : d_(d), constrained_(constrained) {}
    void evaluate(T* x, index_t n, double* f, double* violation) override {
        for (index_t i = 0; i < n; ++i) {
            double sum = 0;
            for (index_t k = 0; k < d_; ++k) {
                const double t = static_cast<double>(x[i * d_ + k]) - 0.3;
                sum += t * t;
            }
            f[i] = i % 13 == 5 ? std::nan("") : sum;
            if (constrained_) violation[i] = std::max(0.0, 0.5 - static_cast<double>(x[i * d_]));
            for (index_t k = 0; k < d_; ++k) x[i * d_ + k] = T(99);
        }
    }
    bool constrained() const override { return constrained_; }

  private:
    index_t d_;
    bool constrained_;
};

template <class T> class LinearGradient final : public Gradient<T> {
  public:
    explicit LinearGradient(index_t d) : d_(d) {}
    void evaluate(T* x, index_t n, T* g) override {
        for (index_t i = 0; i < n * d_; ++i) g[i] = T(2) * x[i], x[i] = T(99);
    }

  private:
    index_t d_;
};

struct Run {
    std::string name;
    bool exact; // the same bits on every backend; else within rounding
    CboOptions options;
    bool native = true, constrained = false, gradient = false, integers = false, moved = false;
};

inline std::vector<Run> all() {
    CboOptions o;
    o.n_particles = 150;
    o.maxiter = 8;
    o.key = {7, 9};
    o.threads = 1;
    std::vector<Run> list;
    const auto add = [&](const char* name, bool exact,
                         const std::function<void(CboOptions&)>& change) {
        list.push_back({name, exact, o});
        change(list.back().options);
        return &list.back();
    };
    add("anisotropic", true, [](CboOptions& c) { c.dynamics = Dynamics::standard; });
    add("isotropic", true, [](CboOptions& c) {
        c.dynamics = Dynamics::standard, c.noise = Noise::isotropic, c.truncation = 2;
    });
    add("scheduled alpha, clip", true, [](CboOptions& c) {
        c.dynamics = Dynamics::standard, c.clip = true, c.diffusion = 3;
        c.alpha_schedule = {1, 10, 100};
    });
    add("memory", true, [](CboOptions& c) {
        c.dynamics = Dynamics::memory, c.memory_drift = 0.1, c.memory_diffusion = 0.2;
    });
    add("memory, isotropic, batches", true, [](CboOptions& c) {
        c.dynamics = Dynamics::memory, c.noise = Noise::isotropic, c.memory_diffusion = 0.2;
        c.batch_size = 40;
    });
    add("full batches", true, [](CboOptions& c) {
        c.dynamics = Dynamics::standard, c.batch_size = 40, c.batch_full = true;
    });
    add("batches that stand still are kicked", true, [](CboOptions& c) {
        c.dynamics = Dynamics::standard, c.batch_size = 150, c.drift = 0, c.diffusion = 0;
        c.maxiter = 104;
    });
    add("hopping", true, [](CboOptions& c) { c.dynamics = Dynamics::hopping; });
    add("polarized", true, [](CboOptions& c) { c.dynamics = Dynamics::polarized; });
    add("polarized, clusters", true,
        [](CboOptions& c) { c.dynamics = Dynamics::polarized, c.n_minimizers = 3; });
    add("shifted and rotated", true, [](CboOptions& c) {
        c.dynamics = Dynamics::standard;
    })->moved = true;
    add("integers", true, [](CboOptions& c) { c.dynamics = Dynamics::memory; })->integers = true;
    add("on the host", true, [](CboOptions& c) { c.dynamics = Dynamics::standard; })->native =
        false;
    auto* run = add("constrained", true, [](CboOptions& c) { c.dynamics = Dynamics::standard; });
    run->native = false, run->constrained = true;
    run = add("constrained memory in batches", true,
              [](CboOptions& c) { c.dynamics = Dynamics::memory, c.batch_size = 40; });
    run->native = false, run->constrained = true;
    add("gradient drift", true, [](CboOptions& c) {
        c.dynamics = Dynamics::standard, c.gradient_weight = 0.01;
    })->gradient = true;
    add("covariance noise", false,
        [](CboOptions& c) { c.dynamics = Dynamics::standard, c.noise = Noise::covariance; });
    add("sampling", false,
        [](CboOptions& c) { c.dynamics = Dynamics::sampling, c.samples = true, c.alpha = 0.5; });
    return list;
}

template <class T>
CboResult<T> solve(const Run& run, const Snapshot* resume = nullptr, Monitor* monitor = nullptr) {
    const index_t d = 7;
    std::vector<double> shift, rotation;
    if (run.moved) {
        shift.assign(d, 0.5);
        for (index_t i = 0; i < d * d; ++i) rotation.push_back(std::cos(static_cast<double>(i)));
    }
    NativeObjective<T> native(ObjectiveId::rastrigin, d, shift, rotation, 1);
    HostObjective<T> host(d, run.constrained);
    LinearGradient<T> gradient(d);
    Monitor quiet;
    CboProblem<T> p;
    p.objective = run.native ? static_cast<Objective<T>*>(&native) : &host;
    p.monitor = monitor ? monitor : &quiet;
    if (run.gradient) p.gradient = &gradient;
    p.lower.assign(d, -5.0), p.upper.assign(d, 5.5);
    if (run.integers) p.integer = {1, 0, 1, 0, 0, 0, 1};
    return solve_cbo(p, run.options, resume);
}

} // namespace runs

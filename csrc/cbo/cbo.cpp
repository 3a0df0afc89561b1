#include "cbo/cbo.hpp"

#include <algorithm>
#include <cmath>

#include "cbo/box_evaluator.hpp"
#include "cbo/ensemble.hpp"
#include "cbo/hybrid.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

template <class T> CboResult<T> finish(Status status, index_t nit, CboResult<T> result) {
    const bool keep = status == Status::stopped_by_callback || status == Status::unbounded;
    if (!keep && result.violation > 0) status = Status::infeasible;
    if (!keep && !std::isfinite(result.fun)) status = Status::not_finite;
    result.status = status;
    result.nit = nit;
    return result;
}

// A state of another dimension must not come as far as the arrays.
void check_dimension(Load& load, index_t d) {
    index_t stored = 0;
    load("dim", stored);
    FASTOPT_REQUIRE(stored == d, "the saved state has " + std::to_string(stored) +
                                     " coordinates, but bounds has " + std::to_string(d));
}

// The number of iterations done less one: the file's.
void load_iteration(Load& load, index_t& k) {
    load("nit", k);
    Load::require(Load::counts(k), "its number of iterations is out of range");
}

// The plain dynamics. One iteration reads the particles twice (evaluate, consensus) and reads and
// writes them once (move): 4 N d numbers of memory traffic, N evaluations, N d normals (2 N d with
// memory, which also reads and writes the personal bests).
template <class T>
CboResult<T> run_ensemble(const CboProblem<T>& problem, const CboOptions& o,
                          const Snapshot* resume) {
    const Clock clock(o.maxtime, problem.comm);
    Ensemble<T> s(problem, o); // every buffer
    History history;
    index_t k = 0;
    const std::function<Snapshot()> snapshot = [&] {
        Snapshot saved;
        Save save(saved);
        save("dim", problem.dim()), save("nit", k);
        s.visit(save);
        history.visit(save);
        return saved;
    };
    const auto end = [&](Status status, index_t nit) {
        CboResult<T> result;
        s.finish(result);
        result.history = std::move(history);
        return finish(status, nit, std::move(result));
    };

    const auto limit = [&] { // that forbids another iteration
        if (k + 1 >= o.maxiter) return o.samples ? Status::sampled : Status::maxiter;
        if (s.nfev() + s.n_batch() > o.maxfev) return Status::maxfev;
        return clock.over() ? Status::maxtime : Status::running;
    };

    if (resume) {
        Load load(*resume);
        check_dimension(load, problem.dim());
        load_iteration(load, k);
        s.visit(load);
        history.visit(load);
        if (const Status l = limit(); l != Status::running) return end(l, k + 1);
        s.move(k++);
    } else {
        s.initialise();
    }
    for (;; ++k) {
        s.evaluate();   // f_i = f(x_i)
        s.consensus(k); // c = sum_i w_i x_i / sum_i w_i,  w_i = exp(-alpha (e_i - e_min))

        Record r = s.record(k);
        r.snapshot = &snapshot;
        if (o.record_history) history.add(r);
        if (r.fun == -no_limit) return end(Status::unbounded, k + 1);
        if (s.all_infinite()) return end(Status::not_finite, k + 1);
        if (problem.monitor->stop(r)) return end(Status::stopped_by_callback, k + 1);
        problem.monitor->poll();
        if (s.feasible() && r.fun <= o.f_target) return end(Status::f_target, k + 1);
        if (!o.samples && s.agrees()) return end(Status::converged, k + 1);
        if (s.stands_still()) return end(Status::stalled, k + 1);
        if (const Status l = limit(); l != Status::running) return end(l, k + 1);
        s.move(k); // x_i -= drift (x_i - c) - diffusion |x_i - c| xi_i
    }
}

// The default. Each step is one generation of a particle regime or one local search (hybrid.hpp);
// the evaluator below it knows the user's box, values, budget and best point.
template <class T>
CboResult<T> run_hybrid(const CboProblem<T>& problem, const CboOptions& o, const Snapshot* resume) {
    const Clock clock(o.maxtime, problem.comm);
    BoxEvaluator<T> box(problem, o);
    Hybrid hybrid(box.free_dim(), box.hybrid_options());
    History history;
    index_t k = 0;
    const std::function<Snapshot()> snapshot = [&] {
        Snapshot saved;
        Save save(saved), save_box(saved, "box."), save_hybrid(saved, "hybrid.");
        save("dim", problem.dim()), save("nit", k);
        box.visit(save_box);
        hybrid.visit(save_hybrid);
        history.visit(save);
        return saved;
    };
    const auto end = [&](Status status, index_t nit) {
        CboResult<T> result;
        box.finish(hybrid, result);
        result.history = std::move(history);
        return finish(status, nit, std::move(result));
    };

    const auto limit = [&] { // that forbids another step
        if (clock.over()) return Status::maxtime;
        if (box.nfev() >= o.maxfev) return Status::maxfev;
        return k + 1 >= o.maxiter ? Status::maxiter : Status::running;
    };

    if (resume) {
        Load load(*resume), load_box(*resume, "box."), load_hybrid(*resume, "hybrid.");
        check_dimension(load, problem.dim());
        load_iteration(load, k);
        box.visit(load_box);
        hybrid.visit(load_hybrid);
        history.visit(load);
        if (const Status l = limit(); l != Status::running) return end(l, k + 1);
        ++k;
    }
    const Evaluate evaluate = [&](const double* u, index_t n, double* f) {
        if (clock.over()) return index_t{0};
        const index_t done = box.evaluate(u, n, f);
        problem.monitor->poll();
        return done;
    };
    for (;; ++k) {
        const Status status = hybrid.step(evaluate);

        Record r = box.record(hybrid, k);
        r.snapshot = &snapshot;
        if (o.record_history) history.add(r);
        if (r.fun == -no_limit) return end(Status::unbounded, k + 1);
        if (problem.monitor->stop(r)) return end(Status::stopped_by_callback, k + 1);
        problem.monitor->poll();
        if (box.target_reached()) return end(Status::f_target, k + 1);
        if (status == Status::agreement) return end(status, k + 1);
        if (const Status l = limit(); l != Status::running) return end(l, k + 1);
    }
}

template <class T> void check(const CboProblem<T>& problem, const CboOptions& o) {
    const index_t d = problem.dim();
    FASTOPT_REQUIRE(problem.objective && problem.monitor, "objective and monitor are required");
    FASTOPT_REQUIRE(d >= 1, "bounds must have at least one coordinate, got none");
    FASTOPT_REQUIRE(static_cast<index_t>(problem.upper.size()) == d,
                    "lower and upper must have the same length");
    FASTOPT_REQUIRE(problem.x0.empty() || static_cast<index_t>(problem.x0.size()) == d,
                    "x0 must have one value per coordinate");
    FASTOPT_REQUIRE(problem.integer.empty() || static_cast<index_t>(problem.integer.size()) == d,
                    "integrality must have one value per coordinate");
    bool finite = true;
    for (index_t k = 0; k < d; ++k) {
        FASTOPT_REQUIRE(problem.lower[k] <= problem.upper[k],
                        "An upper bound is less than the corresponding lower bound.");
        finite = finite && std::isfinite(problem.lower[k]) && std::isfinite(problem.upper[k]);
    }
    FASTOPT_REQUIRE(o.maxfev >= 1 && o.maxiter >= 1, "maxfev and maxiter must be at least 1");
    if (o.dynamics == Dynamics::hybrid) {
        FASTOPT_REQUIRE(finite, "dynamics='hybrid' needs finite bounds");
        return;
    }
    FASTOPT_REQUIRE(finite || problem.init, "infinite bounds need an array of particles as init");
    FASTOPT_REQUIRE(o.n_particles >= 2 && o.n_particles < (index_t{1} << 31),
                    "n_particles must be between 2 and 2^31 - 1, got " +
                        std::to_string(o.n_particles));
    FASTOPT_REQUIRE(o.batch_size >= 0 && o.batch_size <= o.n_particles,
                    "batch_size must be between 1 and n_particles, got " +
                        std::to_string(o.batch_size));
    FASTOPT_REQUIRE((o.batch_size > 0 ? o.batch_size : o.n_particles) <= o.maxfev,
                    "maxfev must allow for one iteration: " + std::to_string(o.n_particles) +
                        " particles, got " + std::to_string(o.maxfev));
    FASTOPT_REQUIRE(std::isnan(o.ess) || (o.ess > 0 && o.ess <= 1),
                    "ess must be in (0, 1], got " + std::to_string(o.ess));
    FASTOPT_REQUIRE(o.kernel_width > 0, "kernel_width must be positive");
    const bool whole = o.dynamics == Dynamics::polarized || o.noise == Noise::covariance ||
                       o.dynamics == Dynamics::sampling;
    FASTOPT_REQUIRE(!whole || o.batch_size == 0,
                    "batch_size is not available for polarized and covariance dynamics: every "
                    "particle counts there");
}

} // namespace

void History::add(const Record& r) {
    nfev.push_back(static_cast<double>(r.nfev));
    fun.push_back(r.fun);
    spread.push_back(r.spread);
    alpha.push_back(r.alpha);
    step_size.push_back(r.step_size);
    consensus.insert(consensus.end(), r.consensus, r.consensus + r.dim);
}

template <class T>
CboResult<T> solve_cbo(const CboProblem<T>& problem, const CboOptions& options,
                       const Snapshot* resume) {
    check(problem, options);
    Monitor* monitor = problem.monitor;
    const ScopedPoll poll([monitor] { monitor->poll(); });
    return options.dynamics == Dynamics::hybrid ? run_hybrid(problem, options, resume)
                                                : run_ensemble(problem, options, resume);
}

template CboResult<double> solve_cbo(const CboProblem<double>&, const CboOptions&, const Snapshot*);
template CboResult<float> solve_cbo(const CboProblem<float>&, const CboOptions&, const Snapshot*);

} // namespace fastopt

// The loop: every way to stop, the budget, the box, saved runs, the same bits.
#include "cbo/cbo.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cbo/native_objective.hpp"
#include "hash.hpp"

using namespace fastopt;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

using Function = double (*)(const double* x, index_t d);

double bowl(const double* x, index_t d) {
    double s = 1;
    for (index_t k = 0; k < d; ++k) s += (x[k] - 0.3) * (x[k] - 0.3);
    return s;
}
double waves(const double* x, index_t d) {
    double s = 0;
    for (index_t k = 0; k < d; ++k) {
        const double t = x[k] - 0.4;
        s += t * t + 1 - std::cos(9 * t);
    }
    return s;
}
// Values that are multiples of 2^-20 below 2^20: adding another such number is exact.
double grained(const double* x, index_t d) {
    return std::floor(std::min(waves(x, d), 1e5) * 1048576.0) / 1048576.0;
}
double grained_and_lifted(const double* x, index_t d) { return grained(x, d) + 65536.0; }
double flat(const double*, index_t) { return 2; }
double restless(const double*, index_t) { // values without end, whatever the point
    static std::atomic<int> calls{0};
    return 1 + calls++ % 7;
}
double nowhere(const double*, index_t) { return undefined; }
double abyss(const double* x, index_t) { return x[0] > 0.5 ? -inf : x[0]; }
double partly(const double* x, index_t d) {
    return x[0] < 0 ? undefined : (x[0] > 0.9 ? inf : bowl(x, d));
}
// Sum of the coordinates at most -1: met in a part of the box only; or never met.
double excess(const double* x, index_t d) {
    double s = 1;
    for (index_t k = 0; k < d; ++k) s += x[k];
    return std::max(s, 0.0);
}
double never(const double* x, index_t) { return 1 + x[0] * x[0]; }

// Checks what the core owes to every objective: points inside the box, whole integers, no more
// evaluations than allowed.
template <class T> class Watched final : public Objective<T> {
  public:
    Watched(Function f, const CboProblem<T>& p, Function violation = nullptr)
        : f_(f), violation_(violation), problem_(p) {}

    void evaluate(T* x, index_t n, double* f, double* violation) override {
        const index_t d = problem_.dim();
        spent += n;
        if (throw_at > 0 && spent >= throw_at) throw std::domain_error("from the objective");
        for (index_t i = 0; i < n; ++i) {
            std::vector<double> point(x + i * d, x + (i + 1) * d);
            for (index_t k = 0; k < d; ++k) {
                const std::size_t kk = static_cast<std::size_t>(k);
                inside &= point[kk] >= problem_.lower[kk] && point[kk] <= problem_.upper[kk];
                if (!problem_.integer.empty() && problem_.integer[kk])
                    whole &= point[kk] == std::floor(point[kk]);
            }
            f[i] = f_(point.data(), d);
            if (violation_) violation[i] = violation_(point.data(), d);
            if (!(violation_ && violation[i] > 0) && f[i] < least) least = f[i];
            std::fill(x + i * d, x + (i + 1) * d, T(12345)); // as a careless user's function
        }
        if (pause.count() > 0) std::this_thread::sleep_for(pause);
    }
    bool constrained() const override { return violation_ != nullptr; }

    index_t spent = 0, throw_at = 0;
    bool inside = true, whole = true;
    double least = inf;
    std::chrono::milliseconds pause{0};

  private:
    Function f_, violation_;
    const CboProblem<T>& problem_;
};

// Takes a snapshot at iteration `keep`, stops after iteration `last`.
class Watcher final : public Monitor {
  public:
    bool wanted() const override { return true; }
    bool stop(const Record& r) override {
        monotone &= r.nit == calls + 1 || resumed;
        if (r.violation == best_violation) monotone &= r.fun <= best;
        monotone &= r.violation <= best_violation;
        best = r.fun, best_violation = r.violation;
        ++calls;
        if (keep_all) kept.push_back((*r.snapshot)());
        return r.nit >= last;
    }
    void poll() override {
        if (++polls == throw_at) throw std::length_error("interrupted");
    }

    std::vector<Snapshot> kept;
    index_t last = std::numeric_limits<index_t>::max(), calls = 0;
    int polls = 0, throw_at = -1;
    bool keep_all = false, monotone = true, resumed = false;
    double best = inf, best_violation = inf;
};

template <class T> CboProblem<T> box(index_t d, double lo = -1, double hi = 2) {
    CboProblem<T> p;
    p.lower.assign(static_cast<std::size_t>(d), lo);
    p.upper.assign(static_cast<std::size_t>(d), hi);
    return p;
}

CboOptions plain(Dynamics dynamics = Dynamics::standard) {
    CboOptions o;
    o.dynamics = dynamics;
    o.n_particles = 30;
    o.maxiter = 200;
    o.key = {1, 2};
    return o;
}
CboOptions hybrid(index_t maxfev = 3000) {
    CboOptions o;
    o.maxfev = maxfev;
    o.key = {3, 4};
    return o;
}

template <class T> struct Run {
    CboResult<T> result;
    index_t spent;
    double least;
};

// One solve with all that must always hold checked.
template <class T>
Run<T> solved(Function f, CboProblem<T> p, const CboOptions& o, Function violation = nullptr,
              Watcher* watcher = nullptr, const Snapshot* resume = nullptr,
              std::chrono::milliseconds pause = std::chrono::milliseconds(0)) {
    Watched<T> objective(f, p, violation);
    objective.pause = pause;
    Watcher silent;
    Watcher& monitor = watcher ? *watcher : silent;
    p.objective = &objective;
    p.monitor = &monitor;
    monitor.resumed = resume != nullptr;
    CboResult<T> r = solve_cbo(p, o, resume);
    CHECK(objective.inside);
    CHECK(objective.whole);
    CHECK(monitor.monotone);
    CHECK(r.nfev <= o.maxfev);
    CHECK(r.nit <= o.maxiter);
    if (!resume) CHECK(objective.spent == r.nfev);
    CHECK(static_cast<index_t>(r.x.size()) == p.dim());
    return {std::move(r), objective.spent, objective.least};
}

template <class T> bool same(const Buffer<T>& a, const Buffer<T>& b) {
    return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
}
template <class T> bool same_population(const CboResult<T>& a, const CboResult<T>& b) {
    return a.x == b.x && a.consensus == b.consensus && same(a.population, b.population) &&
           a.nit == b.nit && a.nfev == b.nfev && a.status == b.status;
}
template <class T> bool same_run(const CboResult<T>& a, const CboResult<T>& b) {
    return same_population(a, b) && a.fun == b.fun && a.violation == b.violation &&
           same(a.energies, b.energies);
}

struct Case {
    std::string name;
    CboOptions options;
    Function violation = nullptr;
    bool integer = false;
};

// Every dynamics, and every option that has a state of its own.
std::vector<Case> cases() {
    std::vector<Case> all;
    const auto add = [&](const char* name, CboOptions o, Function v = nullptr,
                         bool integer = false) {
        o.maxiter = o.dynamics == Dynamics::hybrid ? 60 : 14;
        all.push_back({name, o, v, integer});
    };
    add("standard", plain());
    CboOptions o = plain();
    o.noise = Noise::isotropic, o.truncation = 0.5;
    add("isotropic, truncated", o);
    o = plain(), o.noise = Noise::covariance;
    add("covariance", o);
    o = plain(), o.alpha = 3, o.alpha_factor = 1.2, o.alpha_max = 20, o.diffusion_factor = 0.97;
    add("annealed", o);
    o = plain(), o.alpha_schedule = {1, 5, 10, 50}, o.clip = true;
    add("schedule, clip", o);
    o = plain(Dynamics::memory), o.memory_drift = 0.1, o.memory_diffusion = 0.2;
    o.diffusion_factor = 0.99;
    add("memory", o);
    o = plain(), o.batch_size = 7;
    add("batches", o);
    o.batch_full = true;
    add("batches, all move", o);
    o = plain(Dynamics::memory), o.batch_size = 11;
    add("memory, batches", o);
    o = plain(Dynamics::hopping), o.diffusion_factor = 0.9;
    add("hopping", o);
    o = plain(Dynamics::sampling);
    add("sampling, optimise", o);
    o.samples = true, o.alpha = 2;
    add("sampling", o);
    o = plain(Dynamics::polarized);
    add("polarized", o);
    o.n_minimizers = 3;
    add("polarized, clusters", o);
    add("constrained", plain(), excess);
    o = plain(Dynamics::memory);
    add("memory, constrained", o, excess);
    add("integer", plain(), nullptr, true);
    add("hybrid", hybrid(100000));
    o = hybrid(100000), o.polish = false;
    add("hybrid without polish, constrained", o, excess);
    add("hybrid, integer", hybrid(100000), nullptr, true);
    for (Case& c : all) c.options.record_history = true;
    return all;
}

template <class T> CboProblem<T> problem_of(const Case& c) {
    CboProblem<T> p = box<T>(3);
    if (c.integer) p.upper[1] = 5, p.integer = {0, 1, 0};
    return p;
}

} // namespace

// ---- every way to stop -----------------------------------------------------------------------

TEST_CASE_TEMPLATE("converged: the particles agree", T, double, float) {
    CboOptions o = plain();
    o.diffusion = 0.7, o.drift = 1, o.tol = 1e-6, o.maxiter = 5000;
    const auto run = solved<T>(bowl, box<T>(4), o);
    CHECK(run.result.status == Status::converged);
    CHECK(run.result.fun < 1.01);
    CHECK(run.result.fun == run.least);
}

TEST_CASE("agreement: hybrid restarts agree") {
    const auto run = solved<double>(bowl, box<double>(4), hybrid(100000));
    CHECK(run.result.status == Status::agreement);
    CHECK(run.result.nfev < 10000);
    CHECK(run.result.fun == doctest::Approx(1.0).epsilon(1e-9));
}

TEST_CASE_TEMPLATE("f_target ends the run at a value that is not above it", T, double, float) {
    for (CboOptions o : {plain(), hybrid()}) {
        o.f_target = 1.5;
        const auto run = solved<T>(bowl, box<T>(3), o);
        CHECK(run.result.status == Status::f_target);
        CHECK(run.result.fun <= 1.5);
    }
}

TEST_CASE_TEMPLATE("maxiter is kept", T, double, float) {
    for (CboOptions o : {plain(), plain(Dynamics::memory), hybrid(100000)})
        for (const index_t limit : {1, 2, 17}) {
            o.maxiter = limit;
            const auto run = solved<T>(waves, box<T>(3), o);
            CHECK(run.result.status == Status::maxiter);
            CHECK(run.result.nit == limit);
        }
}

TEST_CASE_TEMPLATE("sampled: maxiter iterations are the aim", T, double, float) {
    CboOptions o = plain(Dynamics::sampling);
    o.samples = true, o.alpha = 1, o.maxiter = 20;
    const auto run = solved<T>(bowl, box<T>(2), o);
    CHECK(run.result.status == Status::sampled);
    CHECK(run.result.nit == 20);
    CHECK(run.result.weights.size() == 30);
}

TEST_CASE_TEMPLATE("maxfev is never exceeded", T, double, float) {
    std::vector<CboOptions> all = {plain(), plain(Dynamics::hopping), hybrid(1), hybrid(1)};
    all[0].batch_size = 7;
    all[3].polish = false;
    for (CboOptions o : all) {
        o.maxiter = std::numeric_limits<index_t>::max();
        const index_t least = o.dynamics == Dynamics::hybrid ? 1 : (o.batch_size ? 7 : 30);
        for (index_t limit = least; limit < 400; limit += 13) {
            o.maxfev = limit;
            CAPTURE(limit);
            const auto run = solved<T>(waves, box<T>(3), o); // checks nfev <= maxfev
            CHECK(run.result.status == Status::maxfev);
            CHECK(run.result.nfev > 0);
            if (o.dynamics == Dynamics::hybrid) CHECK(run.result.nfev == limit);
        }
    }
}

TEST_CASE_TEMPLATE("maxtime: no new iteration begins after it", T, double, float) {
    for (CboOptions o : {plain(), hybrid(100000)}) {
        o.maxtime = 0.03;
        o.maxiter = 100000, o.tol = 0;
        const auto run =
            solved<T>(waves, box<T>(3), o, nullptr, nullptr, nullptr, std::chrono::milliseconds(5));
        CHECK(run.result.status == Status::maxtime);
        CHECK(run.result.nit >= 1);
        CHECK(run.result.nit <= 7);
        CHECK(run.result.fun == run.least);
    }
}

TEST_CASE_TEMPLATE("stalled: the consensus stands still", T, double, float) {
    CboOptions o = plain();
    o.alpha = inf, o.drift = 1, o.diffusion = 0, o.tol = 0, o.maxiter = 10000;
    const auto run = solved<T>(restless, box<T>(2), o);
    CHECK(run.result.status == Status::stalled);
    CHECK(run.result.nit < 200);
}

TEST_CASE_TEMPLATE("not_finite: nowhere a finite value", T, double, float) {
    for (const CboOptions& o : {plain(), plain(Dynamics::memory), plain(Dynamics::polarized),
                                plain(Dynamics::sampling), hybrid(500)}) {
        const auto run = solved<T>(nowhere, box<T>(2), o);
        CHECK(run.result.status == Status::not_finite);
        CHECK_FALSE(std::isfinite(run.result.fun));
    }
}

TEST_CASE_TEMPLATE("unbounded: -inf ends the run at that point", T, double, float) {
    for (const CboOptions& o : {plain(), plain(Dynamics::hopping), hybrid(500)}) {
        const auto run = solved<T>(abyss, box<T>(2), o);
        CHECK(run.result.status == Status::unbounded);
        CHECK(run.result.fun == -inf);
        CHECK(run.result.x[0] > 0.5);
    }
}

TEST_CASE_TEMPLATE("infeasible: no point satisfies the constraints", T, double, float) {
    CboOptions unpolished = hybrid(500);
    unpolished.polish = false;
    for (const CboOptions& o : {plain(), plain(Dynamics::memory), unpolished}) {
        const auto run = solved<T>(bowl, box<T>(2), o, never);
        CHECK(run.result.status == Status::infeasible);
        CHECK(run.result.violation >= 1);
    }
}

TEST_CASE_TEMPLATE("stopped_by_callback: no evaluation follows", T, double, float) {
    for (const CboOptions& base : {plain(), plain(Dynamics::memory), hybrid(100000)}) {
        Watcher watcher;
        watcher.last = 9;
        const auto stopped = solved<T>(waves, box<T>(3), base, nullptr, &watcher);
        CHECK(stopped.result.status == Status::stopped_by_callback);
        CHECK(stopped.result.nit == 9);
        CboOptions limited = base;
        limited.maxiter = 9;
        auto until = solved<T>(waves, box<T>(3), limited);
        CHECK(until.result.status == Status::maxiter);
        until.result.status = Status::stopped_by_callback;
        CHECK(stopped.result.nfev == until.result.nfev);
        CHECK(stopped.result.x == until.result.x);
        CHECK(stopped.result.fun == until.result.fun);
    }
}

TEST_CASE("every status has a code and a message") {
    for (int s = 0; s <= static_cast<int>(Status::stopped_by_callback); ++s) {
        const Status status = static_cast<Status>(s);
        CHECK(std::string(message(status)).size() > 20);
        CHECK(success(status) == (code(status) == 0));
    }
    CHECK(code(Status::maxiter) == 1);
    CHECK(code(Status::maxfev) == 1);
    CHECK(code(Status::maxtime) == 1);
    CHECK(code(Status::stalled) == 2);
    CHECK(code(Status::not_finite) == 3);
    CHECK(code(Status::unbounded) == 3);
    CHECK(code(Status::infeasible) == 4);
    CHECK(code(Status::stopped_by_callback) == 99);
}

// ---- exceptions ------------------------------------------------------------------------------

TEST_CASE("an exception of the objective comes back, at the first call and later") {
    for (const CboOptions& o : {plain(), plain(Dynamics::polarized), hybrid()})
        for (const index_t at : {1, 200}) {
            CboProblem<double> p = box<double>(3);
            Watched<double> objective(waves, p);
            Watcher monitor;
            objective.throw_at = at;
            p.objective = &objective, p.monitor = &monitor;
            CHECK_THROWS_AS(solve_cbo(p, o), std::domain_error);
            objective.throw_at = 0;
            CHECK_NOTHROW(solve_cbo(p, o));
        }
}

TEST_CASE("an exception of the poll comes back") {
    for (const CboOptions& o : {plain(), hybrid()})
        for (const int at : {1, 3}) {
            CboProblem<double> p = box<double>(3);
            Watched<double> objective(waves, p);
            Watcher monitor;
            monitor.throw_at = at;
            p.objective = &objective, p.monitor = &monitor;
            CHECK_THROWS_AS(solve_cbo(p, o), std::length_error);
        }
}

TEST_CASE("arguments that make no sense are refused") {
    const auto refused = [](const CboProblem<double>& given, const CboOptions& o,
                            const char* words) {
        CboProblem<double> p = given;
        Watched<double> objective(waves, p);
        Watcher monitor;
        p.objective = &objective, p.monitor = &monitor;
        std::string message = "accepted";
        try {
            solve_cbo(p, o);
        } catch (const std::invalid_argument& error) {
            message = error.what();
        }
        CAPTURE(message);
        CHECK(message.find(words) != std::string::npos);
    };
    CboProblem<double> p = box<double>(3);
    CboOptions o = plain();
    refused(box<double>(0), o, "at least one coordinate");
    p.upper[1] = -5;
    refused(p, o, "An upper bound is less than the corresponding lower bound.");
    p.upper[1] = undefined;
    refused(p, o, "An upper bound is less");
    p.upper.pop_back();
    refused(p, o, "same length");
    p = box<double>(3), p.x0 = {1, 2};
    refused(p, o, "x0");
    p = box<double>(3), p.integer = {1};
    refused(p, o, "integrality");
    p = box<double>(3), p.upper[0] = inf;
    refused(p, o, "infinite bounds need");
    refused(p, hybrid(), "finite bounds");
    p = box<double>(3);
    o.n_particles = 1;
    refused(p, o, "n_particles");
    o = plain(), o.batch_size = 31;
    refused(p, o, "batch_size");
    o = plain(Dynamics::sampling), o.batch_size = 5;
    refused(p, o, "batch_size");
    o = plain(), o.ess = 0;
    refused(p, o, "ess");
    o = plain(), o.kernel_width = 0;
    refused(p, o, "kernel_width");
    o = plain(), o.maxfev = 0;
    refused(p, o, "maxfev");
    o = plain(), o.maxfev = 29; // not one generation
    refused(p, o, "maxfev must allow for one iteration");
}

// ---- the box ---------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("points stay inside awkward boxes", T, double, float) {
    // Watched checks every point. 0.1 and 0.7 are no floats: bounds are rounded inwards.
    for (const auto& range : {std::pair<double, double>{0.1, 0.7},
                              {-1e-300, 1e-300},
                              {1e30, 2e30},
                              {0.1, 0.1000001},
                              {-0.7, -0.1}})
        for (CboOptions o : {plain(), plain(Dynamics::memory), plain(Dynamics::hopping),
                             plain(Dynamics::sampling), plain(Dynamics::polarized), hybrid(600)})
            for (const bool clip : {false, true}) {
                o.maxiter = std::min<index_t>(o.maxiter, 300), o.clip = clip, o.tol = 0;
                if (o.dynamics == Dynamics::standard) o.diffusion = 3;
                CAPTURE(range.first);
                solved<T>(bowl, box<T>(3, range.first, range.second), o);
            }
}

TEST_CASE_TEMPLATE("a fixed coordinate keeps its value", T, double, float) {
    for (const CboOptions& o : {plain(), plain(Dynamics::hopping), hybrid(500)}) {
        CboProblem<T> p = box<T>(3);
        p.lower[1] = p.upper[1] = 0.25;
        const auto run = solved<T>(waves, p, o);
        CHECK(run.result.x[1] == 0.25);
        for (index_t i = 0; i < run.result.population.size() / 3; ++i)
            CHECK(run.result.population[3 * i + 1] == T(0.25));
    }
}

TEST_CASE("all coordinates fixed") {
    for (const CboOptions& o : {plain(), hybrid(50)}) {
        const auto run = solved<double>(bowl, box<double>(2, 0.3, 0.3), o);
        CHECK(run.result.x == std::vector<double>{0.3, 0.3});
        CHECK(run.result.fun == 1.0);
    }
}

TEST_CASE("infinite bounds with an array of particles") {
    CboProblem<double> p = box<double>(2, -inf, inf);
    std::vector<double> init;
    for (int i = 0; i < 60; ++i) init.push_back(0.1 * (i % 13) - 0.7);
    p.init = init.data();
    CboOptions o = plain();
    o.drift = 1, o.diffusion = 0.7, o.maxiter = 3000;
    const auto run = solved<double>(bowl, p, o);
    CHECK(run.result.status == Status::converged);
    CHECK(run.result.fun < 1.05);
}

TEST_CASE_TEMPLATE("x0 is evaluated first", T, double, float) {
    for (CboOptions o : {plain(), hybrid(100)}) {
        o.maxiter = 1;
        CboProblem<T> p = box<T>(3);
        p.x0 = {T(0.3), T(0.3), T(0.3)};
        const auto run = solved<T>(bowl, p, o);
        CHECK(run.result.fun == doctest::Approx(1.0).epsilon(1e-12));
    }
}

TEST_CASE_TEMPLATE("NaN and inf in parts of the box do no harm", T, double, float) {
    for (CboOptions o : {plain(), plain(Dynamics::memory), plain(Dynamics::hopping),
                         plain(Dynamics::polarized), hybrid(2000)}) {
        o.drift = 1, o.diffusion = 0.7;
        const auto run = solved<T>(partly, box<T>(3), o);
        CHECK(run.result.fun < 1.6);
        CHECK(std::isfinite(run.result.fun));
        for (const double c : run.result.consensus) CHECK(std::isfinite(c));
        for (index_t i = 0; i < run.result.population.size(); ++i)
            CHECK(std::isfinite(run.result.population[i]));
    }
}

TEST_CASE("a flat function ends in success, not in a division by zero") {
    for (const CboOptions& o : {plain(), plain(Dynamics::sampling), plain(Dynamics::polarized)}) {
        const auto run = solved<double>(flat, box<double>(3), o);
        CHECK(run.result.status == Status::converged);
        CHECK(run.result.fun == 2);
    }
}

TEST_CASE_TEMPLATE("feasible beats infeasible", T, double, float) {
    CboOptions unpolished = hybrid(3000);
    unpolished.polish = false;
    CboOptions free = plain();
    free.drift = 1, free.diffusion = 0.7;
    for (const CboOptions& o : {free, unpolished}) {
        const auto run = solved<T>(bowl, box<T>(2), o, excess);
        CHECK(run.result.violation == 0);
        CHECK(run.result.x[0] + run.result.x[1] <= -1 + 1e-6);
        CHECK(run.result.fun == run.least);
    }
}

// ---- the same bits ---------------------------------------------------------------------------

TEST_CASE("f + constant gives the same iterates") {
    for (Case& c : cases()) {
        c.options.polish = false; // its line search measures f against |f|
        c.options.tol = 0, c.options.atol = 0;
        if (c.violation) continue; // the penalty weighs f against violations
        CAPTURE(c.name);
        const auto a = solved<double>(grained, problem_of<double>(c), c.options);
        const auto b = solved<double>(grained_and_lifted, problem_of<double>(c), c.options);
        CHECK(same_population(a.result, b.result));
        CHECK(b.result.fun == a.result.fun + 65536.0);
    }
}

TEST_CASE_TEMPLATE("a run saved after any iteration goes on with the same bits", T, double, float) {
    for (const Case& c : cases()) {
        CAPTURE(c.name);
        Watcher watcher;
        watcher.keep_all = true;
        const CboProblem<T> p = problem_of<T>(c);
        const auto whole = solved<T>(waves, p, c.options, c.violation, &watcher);
        REQUIRE(watcher.kept.size() == static_cast<std::size_t>(whole.result.nit));
        CHECK(whole.result.nit > 10);
        for (std::size_t k = 0; k < watcher.kept.size(); ++k) {
            CAPTURE(k);
            const auto rest =
                solved<T>(waves, p, c.options, c.violation, nullptr, &watcher.kept[k]);
            CHECK(same_run(rest.result, whole.result));
            CHECK(rest.result.history.fun == whole.result.history.fun);
            CHECK(rest.result.history.consensus == whole.result.history.consensus);
            CHECK(rest.spent < whole.spent);
        }
    }
}

TEST_CASE("a snapshot of another problem is refused") {
    Watcher watcher;
    watcher.keep_all = true, watcher.last = 3;
    for (CboOptions o : {plain(), hybrid(100000)}) {
        watcher.kept.clear(), watcher.calls = 0, watcher.best = watcher.best_violation = inf;
        solved<double>(waves, box<double>(3), o, nullptr, &watcher);
        const Snapshot snapshot = watcher.kept.back();
        CboProblem<double> other = box<double>(4);
        Watched<double> objective(waves, other);
        Watcher silent;
        other.objective = &objective, other.monitor = &silent;
        CHECK_THROWS_AS(solve_cbo(other, o, &snapshot), std::invalid_argument);
        const Snapshot empty;
        CHECK_THROWS_AS(solve_cbo(other, o, &empty), std::invalid_argument);
    }
}

namespace {

template <class T>
CboResult<T> native(ObjectiveId id, index_t d, index_t n, CboOptions o,
                    Watcher* watcher = nullptr) {
    CboProblem<T> p = box<T>(d, -3, 4);
    NativeObjective<T> objective(id, d, {}, {}, o.threads);
    Watcher silent;
    p.objective = &objective;
    p.monitor = watcher ? watcher : &silent;
    o.n_particles = n;
    return solve_cbo(p, o);
}

} // namespace

TEST_CASE_TEMPLATE("results do not depend on threads, monitor or history", T, double, float) {
    for (Case& c : cases()) {
        if (c.violation || c.integer) continue;
        const bool quadratic = c.options.dynamics == Dynamics::polarized;
        const index_t n = c.options.dynamics == Dynamics::hybrid ? 0 : (quadratic ? 400 : 1500);
        c.options.batch_size = c.options.batch_size ? n / 2 : 0;
        c.options.maxiter = 5;
        c.options.threads = 1;
        const CboResult<T> one = native<T>(ObjectiveId::rastrigin, 40, n, c.options);
        CAPTURE(c.name);
        for (const int threads : {2, 4}) {
            c.options.threads = threads;
            CHECK(same_run(native<T>(ObjectiveId::rastrigin, 40, n, c.options), one));
        }
        Watcher watcher;
        watcher.keep_all = true;
        c.options.record_history = false;
        CHECK(same_run(native<T>(ObjectiveId::rastrigin, 40, n, c.options, &watcher), one));
    }
}

TEST_CASE("history has a row for each iteration") {
    CboOptions o = plain();
    o.record_history = true, o.maxiter = 12;
    const auto run = solved<double>(waves, box<double>(3), o);
    const History& h = run.result.history;
    CHECK(h.fun.size() == 12);
    CHECK(h.spread.size() == 12);
    CHECK(h.alpha.size() == 12);
    CHECK(h.step_size.size() == 12);
    CHECK(h.consensus.size() == 36);
    for (std::size_t k = 0; k < 12; ++k) CHECK(h.nfev[k] == 30.0 * static_cast<double>(k + 1));
    CHECK(std::is_sorted(h.fun.rbegin(), h.fun.rend()));
    CHECK(h.fun.back() == run.result.fun);
}

// Runs without BLAS (whose kernels differ between CPUs) are the same on every machine.
TEST_CASE("golden hashes of whole runs") {
    CboOptions o = plain();
    o.maxiter = 30;
    const auto hash = [](const auto& r) {
        return hash_of(r.x) ^
               hash_of(r.population.data(), static_cast<std::size_t>(r.population.size()));
    };
    CHECK(hash(native<double>(ObjectiveId::rastrigin, 20, 200, o)) == 0xf1fe87991ed998f7u);
    CHECK(hash(native<float>(ObjectiveId::rastrigin, 20, 200, o)) == 0xccab34206e794040u);
    o.dynamics = Dynamics::memory, o.memory_diffusion = 0.3;
    CHECK(hash(native<double>(ObjectiveId::ackley, 20, 200, o)) == 0xb9bc9335db5343e4u);
    o = hybrid(5000);
    CHECK(hash(native<double>(ObjectiveId::rastrigin, 6, 0, o)) == 0xad347165a7eb12c8u);
    CHECK(hash(native<double>(ObjectiveId::levy, 6, 0, o)) == 0x33822033c9cf04a0u);
}

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "cbo/hybrid.hpp"
#include "cbo/line_search.hpp"

using namespace fastopt;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
using Function = double (*)(const double* u, index_t d);

double bowl(const double* u, index_t d) {
    double sum = 7;
    for (index_t k = 0; k < d; ++k) {
        const double x = u[k] - 0.3 - 0.05 * static_cast<double>(k % 5);
        sum += (1 + static_cast<double>(k)) * x * x;
    }
    return sum;
}

double canyon(const double* u, index_t d) { // Rosenbrock on [-2, 2]^d
    double sum = 0;
    for (index_t k = 0; k + 1 < d; ++k) {
        const double a = 4 * u[k] - 2, b = 4 * u[k + 1] - 2;
        sum += 100 * (b - a * a) * (b - a * a) + (1 - a) * (1 - a);
    }
    return sum;
}

double rastrigin(const double* u, index_t d) { // on [-5.12, 5.12]^d, minimum off the centre
    double sum = 0;
    for (index_t k = 0; k < d; ++k) {
        const double x = 10.24 * (u[k] - 0.37);
        sum += x * x + 10 * (1 - std::cos(6.283185307179586 * x));
    }
    return sum;
}

double flat(const double*, index_t) { return 2; }
double wall(const double*, index_t) { return infinity; }
double cliff(const double* u, index_t d) { return u[0] > 0.6 ? infinity : bowl(u, d); }
double vast(const double* u, index_t d) { return 1e300 * (bowl(u, d) - 7); }
double stairs(const double* u, index_t d) {
    double sum = 0;
    for (index_t k = 0; k < d; ++k) sum += std::abs(std::floor(20 * u[k]) - 13);
    return sum;
}

// Counts, keeps to the budget, and checks that no point leaves the box.
struct Counter {
    Function f;
    index_t d, budget;
    index_t spent = 0;
    double least = infinity;
    bool inside = true;
    Counter(Function f_, index_t d_, index_t budget_) : f(f_), d(d_), budget(budget_) {}
    ~Counter() { CHECK(inside); }
    Evaluate callable() {
        return [this](const double* u, index_t n, double* values) {
            index_t i = 0;
            for (; i < n && spent < budget; ++i, ++spent) {
                for (index_t k = 0; k < d; ++k) inside &= u[i * d + k] >= 0 && u[i * d + k] <= 1;
                values[i] = f(u + i * d, d);
                least = std::min(least, values[i]);
            }
            return i;
        };
    }
};

HybridOptions seeded(std::uint32_t seed, index_t maxfev) {
    HybridOptions o;
    o.key = {seed, 17};
    o.maxfev = maxfev;
    return o;
}

Status run(Hybrid& h, const Evaluate& evaluate) {
    Status status = Status::running;
    while (status == Status::running) status = h.step(evaluate);
    return status;
}

// The least archives: everything becomes a vector of doubles by name.
struct Writer {
    std::map<std::string, std::vector<double>> fields;
    void operator()(const std::string& name, const std::vector<double>& v) {
        CHECK(fields.count(name) == 0);
        fields[name] = v;
    }
    template <class T> void operator()(const std::string& name, const T& v) {
        CHECK(fields.count(name) == 0);
        fields[name] = {static_cast<double>(v)};
    }
};

struct Reader {
    std::map<std::string, std::vector<double>> fields;
    void operator()(const std::string& name, std::vector<double>& v) { v = fields.at(name); }
    template <class T> void operator()(const std::string& name, T& v) {
        v = static_cast<T>(fields.at(name)[0]);
    }
};

} // namespace

TEST_CASE("L-BFGS-B finds interior and boundary minima") {
    const index_t d = 8;
    Lbfgs search(d);
    std::vector<double> u(d, 0.9);
    Counter bowl_count(bowl, d, 1000);
    const LocalResult inside = search.minimize(u.data(), {}, 400, bowl_count.callable());
    CHECK(inside.converged);
    CHECK(inside.f == doctest::Approx(7).epsilon(1e-9));
    CHECK(inside.nfev == bowl_count.spent);

    // Minimum of a linear function in a corner, of a bowl about a point outside on two faces.
    const Evaluate outside = [d](const double* x, index_t n, double* f) {
        for (index_t i = 0; i < n; ++i) {
            f[i] = x[i * d + 2];
            for (index_t k = 0; k < d; ++k) {
                const double target = k == 0 ? 1.5 : k == 1 ? -0.5 : 0.25;
                f[i] += (x[i * d + k] - target) * (x[i * d + k] - target);
            }
        }
        return n;
    };
    std::fill(u.begin(), u.end(), 0.5);
    CHECK(search.minimize(u.data(), {}, 2000, outside).converged);
    CHECK(u[0] == 1);
    CHECK(u[1] == 0);
    CHECK(u[2] == 0);
    CHECK(u[3] == doctest::Approx(0.25).epsilon(1e-4));
}

TEST_CASE("L-BFGS-B follows a curved valley and spends about what SciPy spends") {
    const index_t d = 10; // SciPy 1.17.1 from the same point: 5.1e-10, 462 evaluations
    Lbfgs search(d);
    std::vector<double> u(d, 0.4);
    Counter count(canyon, d, 10000);
    const LocalResult r = search.minimize(u.data(), {}, 10000, count.callable());
    CHECK(r.converged);
    CHECK(r.f < 1e-8);
    CHECK(r.nfev < 600);
}

TEST_CASE("a local search keeps frozen coordinates and its budget") {
    const index_t d = 5;
    Lbfgs search(d);
    std::vector<double> u(d, 0.9);
    Counter count(bowl, d, 1000);
    search.minimize(u.data(), {0, 1, 0, 1, 0}, 500, count.callable());
    CHECK(u[1] == 0.9);
    CHECK(u[3] == 0.9);
    CHECK(u[0] == doctest::Approx(0.3).epsilon(1e-4));

    Counter poor(canyon, d, 20);
    std::fill(u.begin(), u.end(), 0.4);
    const LocalResult cut = search.minimize(u.data(), {}, 500, poor.callable());
    CHECK_FALSE(cut.complete);
    CHECK(cut.nfev == 20);
}

TEST_CASE("the line search meets the strong Wolfe conditions") {
    const auto phi = [](double t) { return std::pow(t - 3, 4) + t; };
    const auto slope = [](double t) { return 4 * std::pow(t - 3, 3) + 1; };
    for (double first : {1e-3, 0.1, 1.0, 10.0, 100.0}) {
        WolfeSearch search(phi(0), slope(0), first, 1e4);
        bool done = false;
        for (int trial = 0; trial < 30 && !done && !search.failed(); ++trial)
            done = search.advance(phi(search.step()), slope(search.step()));
        CHECK(done);
        CHECK(phi(search.step()) <= phi(0) + 1e-3 * search.step() * slope(0));
        CHECK(std::abs(slope(search.step())) <= 0.9 * std::abs(slope(0)));
    }
}

TEST_CASE("hybrid solves smooth, curved and multimodal functions") {
    struct Case {
        Function f;
        index_t d;
        double minimum, within;
    };
    for (const Case& c : {Case{bowl, 1, 7, 1e-9}, Case{bowl, 10, 7, 1e-9}, Case{canyon, 2, 0, 1e-8},
                          Case{canyon, 10, 0, 1e-8}, Case{rastrigin, 5, 0, 1e-8},
                          Case{rastrigin, 20, 0, 1e-8}, Case{cliff, 6, 7, 1e-9}}) {
        Counter count(c.f, c.d, 5000 * c.d);
        Hybrid h(c.d, seeded(3, count.budget));
        run(h, count.callable());
        CAPTURE(c.d);
        CHECK(h.best() - c.minimum < c.within);
        CHECK(h.best() == count.least);
        CHECK(h.nfev() == count.spent);
        CHECK(c.f(h.best_point().data(), c.d) == h.best());
    }
}

TEST_CASE("hybrid ends by agreement on a smooth bowl, not on a function without agreement") {
    Counter easy(bowl, 10, 50000);
    Hybrid h(10, seeded(1, easy.budget));
    CHECK(run(h, easy.callable()) == Status::agreement);
    CHECK(easy.spent < 10000);

    Counter hard(rastrigin, 10, 20000);
    Hybrid g(10, seeded(1, hard.budget));
    CHECK(run(g, hard.callable()) == Status::maxfev);
    CHECK(hard.spent == hard.budget);
}

TEST_CASE("hybrid survives flat, infinite and huge functions in any dimension") {
    for (Function f : {flat, wall, vast, cliff, stairs})
        for (index_t d : {1, 2, 7, 40}) {
            Counter count(f, d, 300 * d);
            Hybrid h(d, seeded(5, count.budget));
            const Status status = run(h, count.callable());
            CHECK((status == Status::agreement || status == Status::maxfev));
            CHECK(h.best() == count.least);
            for (double x : h.consensus()) CHECK((x >= 0 && x <= 1));
        }
}

TEST_CASE("hybrid uses a diagonal covariance in many dimensions") {
    const index_t d = Hopping::full_limit + 100;
    Counter count(bowl, d, 80 * d);
    HybridOptions o = seeded(2, count.budget);
    o.polish = false;
    Hybrid h(d, o);
    run(h, count.callable());
    CHECK(h.best() < 7 + 1e-3 * (bowl(std::vector<double>(d, 0.5).data(), d) - 7));
}

TEST_CASE("hybrid saved after any step goes on with the same bits") {
    const index_t d = 4;
    std::vector<double> trace;
    std::vector<std::map<std::string, std::vector<double>>> saved;
    const auto evaluate = [&](std::vector<double>& out) -> Evaluate {
        return [&out, d](const double* u, index_t n, double* f) {
            for (index_t i = 0; i < n; ++i) f[i] = rastrigin(u + i * d, d);
            out.insert(out.end(), u, u + n * d);
            return n;
        };
    };
    Hybrid whole(d, seeded(9, 0));
    std::vector<index_t> lengths;
    bool seen[4] = {};
    while (whole.nfev() < 9000) {
        Writer w;
        whole.visit(w);
        saved.push_back(w.fields);
        lengths.push_back(static_cast<index_t>(trace.size()));
        whole.step(evaluate(trace));
        seen[static_cast<int>(whole.regime())] = true;
    }
    for (bool s : seen) CHECK(s);
    for (std::size_t at = 0; at < saved.size(); at += 37) {
        Hybrid resumed(d, seeded(9, 0));
        Reader r{saved[at]};
        resumed.visit(r);
        std::vector<double> rest;
        for (int step = 0; step < 60 && at + step < saved.size(); ++step)
            resumed.step(evaluate(rest));
        const auto from = trace.begin() + lengths[at];
        CHECK(std::equal(rest.begin(), rest.end(), from));
    }
}

TEST_CASE("hybrid starts at x0 and without polish calls no local search") {
    const index_t d = 6;
    HybridOptions o = seeded(4, 600);
    o.x0.assign(d, 0.8);
    std::vector<double> first;
    const Evaluate keep = [&](const double* u, index_t n, double* f) {
        if (first.empty()) first.assign(u, u + d);
        for (index_t i = 0; i < n; ++i) f[i] = bowl(u + i * d, d);
        return n;
    };
    Hybrid polished(d, o);
    polished.step(keep);
    CHECK(first == o.x0);
    CHECK(polished.regime() == Regime::start);

    o.polish = false;
    Counter count(rastrigin, d, 12000);
    Hybrid plain(d, o);
    run(plain, count.callable());
    CHECK(plain.nfev(Regime::start) == 0);
    CHECK(plain.nfev(Regime::local) == 0);
    CHECK(plain.nfev(Regime::swarm) > 0);
}

TEST_CASE("hybrid handles integer coordinates") {
    const index_t d = 6; // two integers of 21 values with the best in cell 13, four reals
    HybridOptions o = seeded(6, 20000);
    o.cells = {21, 0, 0, 21, 0, 0};
    index_t spent = 0;
    const Evaluate mixed = [&](const double* u, index_t n, double* f) {
        index_t i = 0;
        for (; i < n && spent < o.maxfev; ++i, ++spent) {
            const double* x = u + i * d;
            f[i] = 0;
            for (index_t k = 0; k < d; ++k) {
                if (o.cells[k] > 0) {
                    const double cell = x[k] * 21 - 0.5;
                    REQUIRE(cell == doctest::Approx(std::round(cell)).epsilon(1e-12));
                    f[i] += 3 * std::abs(std::round(cell) - 13);
                } else {
                    f[i] += (x[k] - 0.4) * (x[k] - 0.4);
                }
            }
        }
        return i;
    };
    Hybrid h(d, o);
    run(h, mixed);
    CHECK(h.best() < 1e-8);
}

TEST_CASE("a custom local search replaces L-BFGS-B") {
    const index_t d = 3;
    HybridOptions o = seeded(8, 4000);
    index_t calls = 0;
    o.local_search = [&](double* u, index_t maxfun) {
        ++calls;
        CHECK(maxfun <= (calls == 1 ? 100 : 50) * d);
        std::fill(u, u + d, 0.123);
        return LocalResult{-1, 5, false, true};
    };
    Counter count(bowl, d, 4000);
    Hybrid h(d, o);
    for (int step = 0; step < 50; ++step) h.step(count.callable());
    CHECK(calls >= 1);
    CHECK(h.best() == -1);
    CHECK(h.best_point() == std::vector<double>(d, 0.123));
    CHECK(h.nfev() == count.spent + 5 * calls);
}

TEST_CASE("hopping refines a point that another regime found") {
    const index_t d = 6; // a wide bowl of minimum 1 and a hole of radius .02 about .8
    const Evaluate bowl_with_hole = [](const double* u, index_t n, double* f) {
        for (index_t i = 0; i < n; ++i) {
            double wide = 1, hole = 0;
            for (index_t k = 0; k < d; ++k) {
                const double x = u[i * d + k];
                wide += (x - 0.3) * (x - 0.3);
                hole += 2500 * (1 + static_cast<double>(k)) * (x - 0.8) * (x - 0.8);
            }
            f[i] = std::min(wide, hole);
        }
        return n;
    };
    HybridOptions o = seeded(11, 30000);
    o.local_search = [&](double* u, index_t) { // ends in the hole, far from its bottom
        std::fill(u, u + d, 0.802);
        LocalResult r{0, 1, false, true};
        bowl_with_hole(u, 1, &r.f);
        return r;
    };
    Hybrid h(d, o);
    while (h.nfev() < o.maxfev && h.best() > 1e-12) h.step(bowl_with_hole);
    CHECK(h.best() <= 1e-12);
    CHECK(h.nfev() < o.maxfev);
}

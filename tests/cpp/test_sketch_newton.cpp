#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include "core/random.hpp"
#include "sketch_newton/kkt_solvers.hpp"
#include "sketch_newton/newton_parts.hpp"
#include "sketch_newton/precondition.hpp"

using namespace fastopt;

namespace {

std::vector<double> normals(index_t n, std::uint32_t key) {
    std::vector<double> out(static_cast<std::size_t>(n));
    fill_normal(out.data(), 0, n, {{key, 0}, 0, 0});
    return out;
}

Buffer<double> buffer(const std::vector<double>& v) {
    Buffer<double> out(static_cast<index_t>(v.size()));
    std::copy(v.begin(), v.end(), out.data());
    return out;
}

// HS7: min log(1 + x0^2) - x1  subject to  (1 + x0^2)^2 + x1^2 = 4; minimum -sqrt(3) at (0, sqrt 3)
class Hs7 final : public NewtonFunctions {
  public:
    double value(const double* x) override {
        ++calls;
        return std::log(1 + x[0] * x[0]) - x[1];
    }
    void gradient(const double* x, double* g) override {
        g[0] = 2 * x[0] / (1 + x[0] * x[0]), g[1] = -1;
    }
    void constraints(const double* x, double* c) override {
        const double a = 1 + x[0] * x[0];
        c[0] = a * a + x[1] * x[1] - 4;
    }
    void jacobian(const double* x, double* j) override {
        j[0] = 4 * x[0] * (1 + x[0] * x[0]), j[1] = 2 * x[1];
    }
    std::shared_ptr<const Curvature> curvature(const double* x, double sigma,
                                               const double* l) override {
        const double a = 1 + x[0] * x[0];
        return std::make_shared<DenseCurvature>(
            2, buffer({sigma * 2 * (1 - x[0] * x[0]) / (a * a) + l[0] * (4 + 12 * x[0] * x[0]), 0,
                       0, l[0] * 2}));
    }
    index_t evaluations() const override { return calls; }
    index_t calls = 0;
};

NewtonPoint at(Hs7& f, double x0, double x1) {
    NewtonPoint p;
    p.x = {x0, x1}, p.g.resize(2), p.c.resize(1), p.j.resize(2);
    p.f = f.value(p.x.data());
    f.gradient(p.x.data(), p.g.data());
    f.constraints(p.x.data(), p.c.data());
    f.jacobian(p.x.data(), p.j.data());
    return p;
}

// A random saddle-point system: W = A'A / rows + I, J (m x n).
struct System {
    index_t n = 30, m = 6, rows = 400;
    std::vector<double> a = normals(rows * n, 1), w, j = normals(m * n, 2), r = normals(n + m, 3);
    std::unique_ptr<GramCurvature> curvature;
    KktSystem k;
    System() : w(static_cast<std::size_t>(rows), 1.0 / 400) {
        Gram q;
        q.a = {rows, n, a.data(), nullptr, nullptr};
        q.w = w.data(), q.scalar = 1;
        curvature = std::make_unique<GramCurvature>(q, 1);
        k = {n, m, curvature.get(), j.data(), 0, 0};
    }
    double residual(const std::vector<double>& d) const {
        std::vector<double> kd(d.size());
        k.multiply(d.data(), kd.data());
        for (std::size_t i = 0; i < kd.size(); ++i) kd[i] += r[i];
        return euclid(kd.data(), k.size()) / euclid(r.data(), k.size());
    }
};

} // namespace

TEST_CASE("the gradient of the merit function, by differences, with a nonlinear constraint") {
    Hs7 f;
    const Merit merit{2.0, 0.3};
    const double z[3] = {0.7, 1.3, -0.9}, h = 1e-6;
    const NewtonPoint p = at(f, z[0], z[1]);
    double gradient[3];
    merit.gradient(p, &z[2], *f.curvature(z, 1.0, &z[2]), gradient);
    for (int i = 0; i < 3; ++i) {
        double up[3] = {z[0], z[1], z[2]}, down[3] = {z[0], z[1], z[2]};
        up[i] += h, down[i] -= h;
        const double slope = (merit.value(at(f, up[0], up[1]), &up[2]) -
                              merit.value(at(f, down[0], down[1]), &down[2])) /
                             (2 * h);
        CHECK(gradient[i] == doctest::Approx(slope).epsilon(1e-7));
    }
}

TEST_CASE("HS7 from its usual start") {
    for (const Globalisation g : {Globalisation::merit, Globalisation::filter}) {
        Hs7 f;
        NewtonMonitor monitor;
        NewtonOptions o;
        o.globalisation = g;
        const NewtonResult r = solve_newton(f, monitor, {2, 2}, 1, o);
        CHECK(r.status == Status::converged);
        CHECK(r.kkt_residual <= o.tol);
        CHECK(r.x[0] == doctest::Approx(0).epsilon(1e-7));
        CHECK(r.x[1] == doctest::Approx(std::sqrt(3.0)));
        CHECK(r.fun == f.value(r.x.data()));
    }
}

// Maratos: min 2(|x|^2 - 1) - x0 on the unit circle. From (cos a, sin a) the full step lands near
// (1, 0), where both f and |c| are larger.
class Maratos final : public NewtonFunctions {
  public:
    double value(const double* x) override {
        ++calls;
        return 2 * (x[0] * x[0] + x[1] * x[1] - 1) - x[0];
    }
    void gradient(const double* x, double* g) override { g[0] = 4 * x[0] - 1, g[1] = 4 * x[1]; }
    void constraints(const double* x, double* c) override { c[0] = x[0] * x[0] + x[1] * x[1] - 1; }
    void jacobian(const double* x, double* j) override { j[0] = 2 * x[0], j[1] = 2 * x[1]; }
    std::shared_ptr<const Curvature> curvature(const double*, double sigma,
                                               const double* l) override {
        const double w = 4 * sigma + 2 * l[0];
        return std::make_shared<DenseCurvature>(2, buffer({w, 0, 0, w}));
    }
    index_t evaluations() const override { return calls; }
    index_t calls = 0;
};

TEST_CASE("Maratos: the second-order correction keeps the steps at one") {
    const auto run = [](double angle, bool corrections) {
        Maratos f;
        NewtonMonitor monitor;
        NewtonOptions o;
        o.globalisation = Globalisation::filter;
        o.fast_accept = false; // it would hide the effect
        o.corrections = corrections;
        o.record_history = true;
        NewtonResult r = solve_newton(f, monitor, {std::cos(angle), std::sin(angle)}, 1, o);
        CHECK(r.status == Status::converged);
        CHECK(r.x[0] == doctest::Approx(1));
        double shortest = 1;
        for (const NewtonRecord& one : r.history) shortest = std::min(shortest, one.step);
        return std::pair(shortest, r.nit);
    };
    for (const double angle : {0.05, 0.1, 0.3}) {
        CAPTURE(angle);
        const auto with = run(angle, true), without = run(angle, false);
        CHECK(with.first == 1.0);
        CHECK(without.first < 1.0);
        CHECK(with.second < without.second);
    }
}

// x^2 + 1 = 0: no solution, the least violation is 1 at 0.
class NoRoot final : public NewtonFunctions {
  public:
    double value(const double* x) override {
        ++calls;
        return x[0];
    }
    void gradient(const double*, double* g) override { g[0] = 1; }
    void constraints(const double* x, double* c) override { c[0] = x[0] * x[0] + 1; }
    void jacobian(const double* x, double* j) override { j[0] = 2 * x[0]; }
    std::shared_ptr<const Curvature> curvature(const double*, double, const double* l) override {
        return std::make_shared<DenseCurvature>(1, buffer({2 * l[0]}));
    }
    index_t evaluations() const override { return calls; }
    index_t calls = 0;
};

TEST_CASE("restoration ends where the violation is stationary, and reports it") {
    for (const double x0 : {3.0, -0.2, 0.0}) {
        NoRoot f;
        NewtonMonitor monitor;
        const NewtonResult r = solve_newton(f, monitor, {x0}, 1, NewtonOptions());
        CHECK(r.status == Status::infeasible);
        CHECK(r.constr_violation == doctest::Approx(1));
        CHECK(std::fabs(r.x[0]) < 1e-4);
    }
}

TEST_CASE("curvature on the null space of J") {
    const index_t n = 5;
    NewtonMonitor monitor;
    Buffer<double> w(n * n);
    for (index_t i = 0; i < n; ++i) w[i * n + i] = static_cast<double>(i) - 1.5; // -1.5 ... 2.5
    const auto multiply = [&](const double* v, double* out) {
        gemv<double>(false, n, n, 1.0, w.data(), n, v, 0.0, out);
    };
    const LeastCurvature all = least_curvature(n, 0, nullptr, multiply, monitor);
    CHECK(all.value == doctest::Approx(-1.5));
    CHECK(std::fabs(all.v[0]) == doctest::Approx(1));
    CHECK(all.largest == doctest::Approx(2.5));
    const std::vector<double> j = {1, 0, 0, 0, 0, 2, 0, 0, 0, 0}; // rank one: e_0 is barred
    const LeastCurvature rest = least_curvature(n, 2, j.data(), multiply, monitor);
    CHECK(rest.value == doctest::Approx(-0.5));
    CHECK(std::fabs(rest.v[0]) < 1e-12);
    CHECK(std::fabs(rest.v[1]) == doctest::Approx(1));
}

TEST_CASE("a full step that leads nowhere ends the run") {
    // |x|^2 with a gradient that is off: steps of rounding size pass until patience ends
    class Stuck final : public NewtonFunctions {
      public:
        double value(const double*) override { return ++calls, 1.0; }
        void gradient(const double*, double* g) override {
            g[0] = 1.0 / static_cast<double>(calls);
        }
        void constraints(const double*, double*) override {}
        void jacobian(const double*, double*) override {}
        std::shared_ptr<const Curvature> curvature(const double*, double, const double*) override {
            return std::make_shared<DenseCurvature>(1, buffer({1e30}));
        }
        index_t evaluations() const override { return calls; }
        index_t calls = 0;
    } f;
    NewtonMonitor monitor;
    NewtonOptions o;
    o.maxiter = 50;
    const NewtonResult r = solve_newton(f, monitor, {1.0}, 0, o);
    CHECK(r.status == Status::stalled);
}

TEST_CASE("linear solvers meet their tolerance") {
    const System s;
    KktOptions o;
    for (const LinearSolver kind :
         {LinearSolver::ldl, LinearSolver::sketch_pcg, LinearSolver::nystrom_pcg,
          LinearSolver::minres, LinearSolver::gaussian, LinearSolver::countsketch,
          LinearSolver::block, LinearSolver::kaczmarz}) {
        const auto solver = make_solver(kind, o);
        CAPTURE(solver->name());
        const bool slow = kind == LinearSolver::kaczmarz || kind == LinearSolver::block ||
                          kind == LinearSolver::gaussian || kind == LinearSolver::countsketch;
        const double rtol = slow ? 1e-2 : 1e-9;
        std::vector<double> d(static_cast<std::size_t>(s.k.size()));
        REQUIRE(solver->factor(s.k, false) == Shape::right);
        CHECK(solver->solve(s.r.data(), rtol, d.data()) == Shape::right);
        CHECK(s.residual(d) <= 1.01 * rtol);
    }
}

TEST_CASE("the inertia of the KKT matrix") {
    const index_t n = 4, m = 1;
    const std::vector<double> j = {1, 0, 0, 0};
    const auto shape = [&](std::vector<double> diagonal, std::vector<double> row, double dc) {
        Buffer<double> w(n * n);
        for (index_t i = 0; i < n; ++i) w[i * n + i] = diagonal[i];
        const DenseCurvature curvature(n, w);
        LdlSolver solver{KktOptions()};
        return solver.factor({n, m, &curvature, row.data(), 0, dc}, false);
    };
    CHECK(shape({1, 2, 3, 4}, j, 0) == Shape::right);
    CHECK(shape({-1, 2, 3, 4}, j, 0) == Shape::right); // the negative direction is not feasible
    CHECK(shape({1, -2, 3, 4}, j, 0) == Shape::indefinite);
    CHECK(shape({1, 0, 3, 4}, j, 0) == Shape::singular);
    CHECK(shape({1, 2, 3, 4}, {0, 0, 0, 0}, 0) == Shape::singular);
    CHECK(shape({1, 2, 3, 4}, {0, 0, 0, 0}, 1e-8) == Shape::right);
}

TEST_CASE("dependent rows of J: singular without dc, solved with it") {
    System s;
    std::copy_n(s.j.data(), s.n, s.j.data() + s.n); // row 1 = row 0
    s.r[s.n + 1] = s.r[s.n];
    for (const LinearSolver kind : {LinearSolver::ldl, LinearSolver::sketch_pcg}) {
        const auto solver = make_solver(kind, KktOptions());
        s.k.dc = 0;
        CHECK(solver->factor(s.k, false) == Shape::singular);
        s.k.dc = 1e-8;
        REQUIRE(solver->factor(s.k, true) == Shape::right);
        std::vector<double> d(static_cast<std::size_t>(s.k.size()));
        CHECK(solver->solve(s.r.data(), 1e-8, d.data()) == Shape::right);
        CHECK(s.residual(d) <= 1e-6);
    }
}

TEST_CASE("a sketch preconditions coherent data as the theory says") {
    const index_t rows = 4000, n = 20;
    std::vector<double> a = normals(rows * n, 4);
    for (index_t i = 0; i < n; ++i) a[i] *= 1e4; // one heavy row
    const DataMatrix<double> data{rows, n, a.data(), nullptr, nullptr};
    const std::vector<double> b = normals(rows, 5);
    LeastSquaresOptions o;
    o.sketch.size = 4 * n;
    const LeastSquares r = LeastSquaresSolver(data, o).solve(b.data());
    CHECK(r.converged);
    CHECK(r.iterations < 2 * 60); // half a decimal or more for each in two rounds
    CHECK(r.gradient <= 1e-9 * r.residual * 1e4);
}

TEST_CASE("sketches do not depend on threads, and S'S is the identity in the mean") {
    const index_t rows = 300, n = 5;
    const std::vector<double> a = normals(rows * n, 6);
    const DataMatrix<double> data{rows, n, a.data(), nullptr, nullptr};
    for (const SketchKind kind : {SketchKind::sjlt, SketchKind::countsketch, SketchKind::srht,
                                  SketchKind::gaussian, SketchKind::uniform}) {
        SketchOptions o;
        o.kind = kind, o.size = 40;
        std::vector<double> one(static_cast<std::size_t>(o.size * n)), two(one);
        o.threads = 1;
        sketch<double>(data, nullptr, o, one.data());
        o.threads = 3;
        sketch<double>(data, nullptr, o, two.data());
        CHECK(one == two);
        double exact = 0, mean = 0;
        for (double x : a) exact += x * x;
        for (std::uint64_t k = 0; k < 200; ++k) {
            o.iteration = k;
            sketch<double>(data, nullptr, o, one.data());
            for (double x : one) mean += x * x / 200;
        }
        CHECK(mean == doctest::Approx(exact).epsilon(0.05));
    }
}

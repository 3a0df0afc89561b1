// The linear solvers of sketch_newton and its generalised linear models on the emulated device,
// against the host's algebra, for ten orders of the threads; and solves whose every call fails
// once.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "core/vmath.hpp"
#include "sketch_newton/glm.hpp"
#include "sketch_newton/newton.hpp"

#include "cuda_emu.hpp"
#include "failing_calls.hpp"
#include "kkt_problem.hpp"

using namespace fastopt;
using namespace kkt_problem;

namespace {

#include "sketch_newton/glm_functors.inl"

void check_products(const Problem& p) {
    const Numbers v = numbers(p.n, 4);
    Numbers expected(v.size()), got(v.size());
    gemv<double>(false, p.n, p.n, 1.0, p.full.data(), p.n, v.data(), 0.0, expected.data());
    p.curvature->multiply(v.data(), got.data());
    CHECK(close(got.data(), expected.data(), p.n, 1e-12));
    const Array<double> w(p.options.queue, p.n * p.n);
    p.curvature->gram()->steps->form(w.data());
    CHECK(close(w.fetch(), p.full.data(), p.n * p.n, 1e-12));
}

void check_ldl(const Problem& p) {
    LdlSolver solver(p.options);
    const Shape shape = solver.factor(p.system, false);
    CHECK(shape == p.shape());
    if (shape == Shape::singular) return;
    const Numbers r = numbers(p.n + p.m, 6);
    Numbers d(r.size());
    CHECK(solver.solve(r.data(), 0, d.data()) == Shape::right);
    CHECK(p.relative_residual(r, d) < 1e-11);
}

void check_pcg(const Problem& p, index_t size) {
    KktOptions o = p.options;
    o.sketch_size = size;
    SketchPcg solver(o);
    REQUIRE(solver.factor(p.system, false) == Shape::right);
    for (unsigned seed = 7; seed < 9; ++seed) { // the second with the same preconditioner
        const Numbers r = numbers(p.n + p.m, seed);
        Numbers d(r.size());
        const Shape shape = solver.solve(r.data(), 1e-11, d.data());
        // Where n - m iterations exhaust the space, dx is exact and dl may lag behind, on the CPU
        // too.
        CHECK((shape == Shape::right || p.n <= 20));
        if (shape == Shape::right) CHECK(p.relative_residual(r, d) < 1e-9);
        CHECK(close(d.data(), p.exact_step(r).data(), p.n, 1e-7));
        REQUIRE(solver.factor(p.system, true) == Shape::right);
    }
    CHECK(solver.n_sketches >= 1);
}

void check_solvers(index_t rows, index_t n, index_t m, Rest rest) {
    CAPTURE(rows);
    CAPTURE(n);
    CAPTURE(m);
    CAPTURE(static_cast<int>(rest));
    Problem p(rows, n, m, rest, false);
    check_products(p);
    check_ldl(p);
    check_pcg(p, 4 * n + 4);
    p.system.dw = 0.3, p.system.dc = 1e-3;
    check_ldl(p);
    check_pcg(p, 4 * n + 4);
    Problem indefinite(rows, n, m, rest, true);
    check_products(indefinite);
    check_ldl(indefinite);
}

template <Family family> void check_glm(index_t rows, index_t n, bool weighted) {
    CAPTURE(static_cast<int>(family));
    CAPTURE(rows);
    const Numbers values = numbers(rows * n, 11), x = numbers(n, 12);
    Numbers y = numbers(rows, 13), s = numbers(weighted ? rows : 0, 14);
    for (double& v : y) v = family == Family::gaussian ? v : v > 0 ? 1.0 : -1.0;
    if (family == Family::poisson || family == Family::gamma)
        for (double& v : y) v = 2 + v;
    for (double& v : s) v = std::fabs(v);
    DataMatrix<double> a;
    a.rows = rows, a.cols = n, a.values = values.data();
    Numbers z(static_cast<std::size_t>(rows)), w(z.size()), gradient(x.size());
    gemv<double>(false, rows, n, 1.0, values.data(), n, x.data(), 0.0, z.data());
    const WeighedLoss<family> loss{0.01, y.data(), weighted ? s.data() : nullptr, z.data(),
                                   w.data()};
    double value = 0;
    for (index_t i = 0; i < rows; ++i) value += loss(i);
    gemv<double>(true, rows, n, 1.0, values.data(), n, z.data(), 0.0, gradient.data());
    for (index_t j = 0; j < n; ++j) gradient[j] += 0.2 * x[j], value += 0.1 * x[j] * x[j];
    a.place(make_queue());
    Glm glm(a, y, s, family, 0.2, 0.01, 1);
    const double got = glm.value(x.data());
    CHECK(close(&got, &value, 1, 1e-12));
    Numbers g(x.size());
    glm.gradient(x.data(), g.data());
    CHECK(close(g.data(), gradient.data(), n, 1e-11));
    CHECK(close(glm.weights(x.data()), w.data(), rows, 1e-11));
}

template <Family family> void check_glm() {
    check_glm<family>(1, 1, false);
    check_glm<family>(31, 3, true);
    check_glm<family>(500, 40, false);
}

} // namespace

TEST_CASE("the linear solvers agree with the host's algebra in ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        CAPTURE(seed);
        check_solvers(40, 1, 0, Rest::scalar);
        check_solvers(120, 5, 1, Rest::diagonal);
        check_solvers(200, 33, 3, Rest::dense);
        check_solvers(300, 20, 2, Rest::scalar);
        CHECK(cuda_emu_live() == 0);
    }
}

TEST_CASE("generalised linear models agree with the host's sums in ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        CAPTURE(seed);
        check_glm<Family::gaussian>();
        check_glm<Family::logistic>();
        check_glm<Family::poisson>();
        check_glm<Family::gamma>();
        CHECK(cuda_emu_live() == 0);
    }
}

TEST_CASE("sketch_newton: more items than threads") {
    cuda_emu_seed(3);
    check_glm<Family::logistic>(270000, 1, true);
    const Problem tall(270000, 2, 1, Rest::scalar, true);
    check_products(tall);
    const Problem wide(700, 520, 3, Rest::dense, false);
    check_ldl(wide);
    check_pcg(wide, 1100);
}

TEST_CASE("what has no descent step is told apart as on the CPU") {
    Problem dependent(60, 4, 2, Rest::scalar, false);
    for (index_t i = 0; i < 4; ++i) dependent.j[4 + i] = dependent.j[i];
    LdlSolver ldl(dependent.options);
    CHECK(ldl.factor(dependent.system, false) == Shape::singular);
    SketchPcg pcg(dependent.options);
    CHECK(pcg.factor(dependent.system, false) == Shape::singular);
    dependent.system.dc = 1e-8;
    CHECK(ldl.factor(dependent.system, true) == Shape::right);
    CHECK(pcg.factor(dependent.system, true) == Shape::right);
    dependent.j[0] = std::numeric_limits<double>::quiet_NaN();
    CHECK(ldl.factor(dependent.system, false) == Shape::not_finite);

    Problem flat(60, 4, 0, Rest::scalar, false); // a column of zeros, and R = 0: a ridge holds P
    for (index_t i = 0; i < 60; ++i) flat.a[i * 4 + 3] = 0;
    flat.q.scalar = 0, flat.q.a.place(flat.options.queue);
    const GramCurvature without(flat.q, 1);
    flat.system.w = &without;
    SketchPcg of_flat(flat.options);
    CHECK(of_flat.factor(flat.system, false) == Shape::right);

    Problem bent(60, 4, 0, Rest::scalar, false); // R = -100 I
    bent.q.scalar = -100;
    const GramCurvature negative(bent.q, 1);
    bent.system.w = &negative;
    SketchPcg of_bent(bent.options);
    CHECK(of_bent.factor(bent.system, false) == Shape::indefinite);
}

namespace {

// A logistic model on the plane sum x = 1.
class Model final : public NewtonFunctions {
  public:
    explicit Model(LinearSolver solver) {
        options_.kkt.linear_solver = solver, options_.kkt.queue = make_queue();
        options_.kkt.threads = 1, options_.kkt.sketch_size = 12, options_.maxiter = 2;
        for (double& v : y_) v = v > 0 ? 1 : -1;
        a_.rows = rows, a_.cols = n, a_.values = values_.data();
        a_.place(options_.kkt.queue);
        glm_ = std::make_unique<Glm>(a_, y_, Numbers(), Family::logistic, 0.1, 1.0, 1);
    }
    NewtonResult solve() {
        NewtonMonitor monitor;
        return solve_newton(*this, monitor, Numbers(n, 0.1), 1, options_);
    }
    double value(const double* x) override { return ++calls_, glm_->value(x); }
    void gradient(const double* x, double* g) override { glm_->gradient(x, g); }
    void constraints(const double* x, double* c) override { c[0] = x[0] + x[1] + x[2] - 1; }
    void jacobian(const double*, double* j) override { j[0] = j[1] = j[2] = 1; }
    std::shared_ptr<const Curvature> curvature(const double* x, double sigma,
                                               const double*) override {
        const double* w = glm_->weights(x);
        weights_.assign(w, w + rows);
        for (double& v : weights_) v *= sigma;
        Gram q;
        q.a = a_, q.w = weights_.data(), q.scalar = 0.1 * sigma;
        return std::make_shared<GramCurvature>(q, 1);
    }
    index_t evaluations() const override { return calls_; }

  private:
    static constexpr index_t rows = 20, n = 3;
    Numbers values_ = numbers(rows * n, 21), y_ = numbers(rows, 22), weights_;
    NewtonOptions options_;
    DataMatrix<double> a_;
    std::unique_ptr<Glm> glm_;
    index_t calls_ = 0;
};

} // namespace

TEST_CASE("sketch_newton: every failing call gives an exception, no leak, the next solve works") {
    for (const LinearSolver solver : {LinearSolver::sketch_pcg, LinearSolver::ldl}) {
        const NewtonResult whole = fail_every_call(
            100, 16, [solver] { return Model(solver).solve(); },
            [](const NewtonResult& a, const NewtonResult& b) { return a.x == b.x; });
        CHECK(whole.nit == 2);
    }
}

TEST_CASE("sketch_newton: without memory a solve throws bad_alloc, and leaks nothing") {
    int failed = 0;
    for (std::size_t limit = 64; limit < 64 * 1024; limit = limit * 3 / 2) {
        cuda_emu_memory_limit(limit);
        try {
            Model(LinearSolver::sketch_pcg).solve();
        } catch (const std::bad_alloc&) {
            ++failed;
        }
        CHECK(cuda_emu_live() == 0);
    }
    cuda_emu_memory_limit(0);
    CHECK(failed > 5);
}

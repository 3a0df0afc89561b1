// The linear solvers that know W by products only, or project on the KKT matrix, on the emulated
// device: their kernels against the functors that the CPU's loops call, their solutions against the
// host's algebra, for ten orders of the threads; and solves whose every call fails once.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "sketch_newton/newton.hpp"

#include "cuda_emu.hpp"
#include "kkt_problem.hpp"

using namespace fastopt;
using namespace kkt_problem;

namespace {

#include "sketch_newton/kkt_functors.inl"

Array<double> placed(const std::shared_ptr<Queue>& queue, const Numbers& v) {
    const Array<double> a(queue, static_cast<index_t>(v.size()));
    std::copy(v.begin(), v.end(), a.mirror());
    a.send();
    return a;
}
bool equal(const Array<double>& a, const Numbers& v) {
    return std::equal(v.begin(), v.end(), a.fetch());
}

// What is done to vectors and rows, a number of the one or the other left as it is.
void check_vectors(index_t rows, index_t n) {
    CAPTURE(rows);
    CAPTURE(n);
    const auto queue = make_queue();
    const Numbers x = numbers(rows * n, 1), y = numbers(rows * n, 2);
    Numbers by = numbers(rows, 3), expected = x;
    if (rows > 1) by[1] = 0;
    const auto a = placed(queue, x), b = placed(queue, y), factors = placed(queue, by);
    const auto each = [&](const auto& f) {
        for (index_t i = 0; i < rows * n; ++i) f(i);
    };
    add(*queue, rows * n, -0.3, b.data(), a.data());
    each([&](index_t i) { expected[i] += -0.3 * y[i]; });
    CHECK(equal(a, expected));
    divide(*queue, rows * n, 0.7, a.data());
    each(Divided{0.7, expected.data()});
    CHECK(equal(a, expected));
    divide_rows(*queue, rows, n, factors.data(), a.data());
    each(DividedRows{n, by.data(), expected.data()});
    CHECK(equal(a, expected));
    times_rows(*queue, rows, n, factors.data(), a.data());
    each(TimesRows{n, by.data(), expected.data()});
    CHECK(equal(a, expected));
    const Numbers lengths = row_lengths(queue, rows, n, b.data());
    for (index_t i = 0; i < rows; ++i) {
        const double length = euclid(y.data() + i * n, n);
        CHECK(close(&lengths[i], &length, 1, 1e-13));
    }
}

// W by products of the host, or as a matrix of its own.
class Products final : public Curvature {
  public:
    Products(const Numbers& w, index_t n, bool dense) : w_(w), n_(n), dense_(dense) {}
    void multiply(const double* v, double* out) const override {
        gemv<double>(false, n_, n_, 1.0, w_.data(), n_, v, 0.0, out);
    }
    const double* dense() const override { return dense_ ? w_.data() : nullptr; }

  private:
    const Numbers& w_;
    index_t n_;
    bool dense_;
};

// A few iterations of MINRES beside the same with the functors on the host. The sums are added in
// another order, so that the Lanczos vectors agree within rounding only.
void check_minres_steps(const Problem& p) {
    const index_t size = p.n + p.m;
    const Numbers r = numbers(size, 6), k = p.kkt();
    MinresSteps steps(p.options);
    steps.set(p.system, false);
    const double first = steps.start(r.data());
    CHECK(first == euclid(r.data(), size));
    Numbers v(r), v_old(r.size()), q(r.size()), p_old(r.size()), p_older(r.size()), d(r.size());
    for (double& x : v) x /= -first;
    double beta = 0;
    for (int iteration = 0; iteration < std::min<int>(3, static_cast<int>(size)); ++iteration) {
        const auto [alpha, beta_next] = steps.lanczos(beta);
        gemv<double>(false, size, size, 1.0, k.data(), size, v.data(), 0.0, q.data());
        double expected = 0, sum = 0;
        for (index_t i = 0; i < size; ++i) expected += v[i] * q[i];
        CHECK(close(&alpha, &expected, 1, 1e-10));
        const LanczosRest rest{&alpha, beta, v.data(), v_old.data(), q.data()};
        for (index_t i = 0; i < size; ++i) sum += rest(i);
        const double scale = std::fmax(1.0, std::fabs(alpha));
        CHECK(std::fabs(beta_next - std::sqrt(sum)) <= 1e-10 * scale);
        steps.advance(2, 0.25, -0.5, 0.75, beta_next);
        const MinresStep step{2,         0.25,     -0.5,         0.75,
                              beta_next, q.data(), p_old.data(), p_older.data(),
                              d.data(),  v.data(), v_old.data()};
        for (index_t i = 0; i < size; ++i) step(i);
        p_old.swap(p_older);
        beta = beta_next;
    }
    Numbers got(r.size());
    steps.finish(got.data());
    CHECK(close(got.data(), d.data(), size, 1e-9));
}

void check_solution(const Problem& p, LinearSolver kind, double rtol, bool same = false) {
    CAPTURE(static_cast<int>(kind));
    const auto solver = make_solver(kind, p.options);
    REQUIRE(solver->factor(p.system, same) == Shape::right);
    const Numbers r = numbers(p.n + p.m, 7);
    Numbers d(r.size());
    REQUIRE(solver->solve(r.data(), rtol, d.data()) == Shape::right);
    CHECK(p.relative_residual(r, d) < 10 * rtol);
    CHECK(solver->iterations > 0);
    const Numbers zeros(r.size());
    CHECK(solver->solve(zeros.data(), rtol, d.data()) == Shape::right);
    CHECK(d == zeros);
}

void check_krylov(index_t rows, index_t n, index_t m, Rest rest) {
    CAPTURE(n);
    CAPTURE(m);
    for (const double shift : {0.0, 0.3}) {
        Problem p(rows, n, m, rest, false);
        p.system.dw = shift, p.system.dc = m > 0 ? 0.01 * shift : 0.0;
        const Products dense(p.full, n, true), products(p.full, n, false);
        const Curvature* forms[] = {p.curvature.get(), &dense, &products};
        for (const Curvature* w : forms) {
            p.system.w = w;
            check_minres_steps(p);
            check_solution(p, LinearSolver::minres, 1e-9);
            check_solution(p, LinearSolver::nystrom_pcg, 1e-9);
        }
    }
}

// Well conditioned: K is near a multiple of an orthogonal matrix.
void check_projections(index_t n, index_t m) {
    Problem p(4 * n, n, m, Rest::scalar, false);
    for (double& w : p.w) w *= 1e-3;
    p.q.scalar = 1;
    const GramCurvature near_one(p.q, 1);
    p.system.w = &near_one;
    form(near_one, n, 1, p.full.data());
    for (index_t i = 0; i < m * n; ++i) p.j[i] = i / n == i % n ? 1 : 0;
    for (const LinearSolver kind : {LinearSolver::kaczmarz, LinearSolver::gaussian,
                                    LinearSolver::countsketch, LinearSolver::block})
        check_solution(p, kind, 1e-3);
}

} // namespace

TEST_CASE("krylov: vectors and rows have the CPU's bits in ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        CAPTURE(seed);
        check_vectors(1, 1);
        check_vectors(1, 31);
        check_vectors(3, 33);
        check_vectors(5, 600);
        CHECK(cuda_emu_live() == 0);
    }
}

TEST_CASE("krylov: solutions agree with the host's algebra in ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        CAPTURE(seed);
        check_krylov(40, 1, 0, Rest::scalar);
        check_krylov(120, 5, 1, Rest::diagonal);
        check_krylov(200, 33, 3, Rest::dense);
        check_projections(1, 0);
        check_projections(9, 2);
        CHECK(cuda_emu_live() == 0);
    }
}

TEST_CASE("krylov: more items than threads") {
    cuda_emu_seed(3);
    check_vectors(2, 140000);
    const Problem wide(700, 520, 3, Rest::diagonal, false);
    check_minres_steps(wide);
    check_solution(wide, LinearSolver::nystrom_pcg, 1e-6);
}

TEST_CASE("krylov: what has no descent step is told apart as on the CPU") {
    Problem bent(60, 4, 0, Rest::scalar, false); // R = -100 I
    bent.q.scalar = -100;
    const GramCurvature negative(bent.q, 1);
    bent.system.w = &negative;
    CHECK(make_solver(LinearSolver::nystrom_pcg, bent.options)->factor(bent.system, false) ==
          Shape::indefinite);
    Problem dependent(60, 4, 2, Rest::scalar, false);
    for (index_t i = 0; i < 4; ++i) dependent.j[4 + i] = dependent.j[i];
    CHECK(make_solver(LinearSolver::nystrom_pcg, dependent.options)
              ->factor(dependent.system, false) == Shape::singular);
    const auto minres = make_solver(LinearSolver::minres, dependent.options);
    const Numbers r(6, std::numeric_limits<double>::quiet_NaN());
    Numbers d(6);
    CHECK(minres->factor(dependent.system, false) == Shape::right);
    CHECK(minres->solve(r.data(), 1e-6, d.data()) == Shape::singular);

    // Another W and J: nothing of the last is kept.
    Problem first(60, 4, 1, Rest::scalar, false), second(60, 4, 1, Rest::dense, false);
    for (double& x : second.j) x += 1;
    const Products w_first(first.full, 4, true), w_second(second.full, 4, true);
    first.system.w = &w_first, second.system.w = &w_second;
    const auto solver = make_solver(LinearSolver::minres, first.options);
    const Numbers right = numbers(5, 4);
    Numbers step(5);
    for (const Problem* p : {&first, &second}) {
        CHECK(solver->factor(p->system, false) == Shape::right);
        CHECK(solver->solve(right.data(), 1e-10, step.data()) == Shape::right);
        CHECK(p->relative_residual(right, step) < 1e-9);
    }
}

// The Jacobian of a step whose first P is not positive definite is that of this step, not the last.
TEST_CASE("krylov: a shift after an indefinite P uses the constraints of the step") {
    Problem p(60, 4, 1, Rest::scalar, false);
    SketchPcg solver(p.options);
    REQUIRE(solver.factor(p.system, false) == Shape::right);
    p.q.scalar = -100;
    const GramCurvature bent(p.q, 1);
    p.system.w = &bent;
    form(bent, p.n, 1, p.full.data());
    for (double& x : p.j) x = 1 + x * x;
    REQUIRE(solver.factor(p.system, false) == Shape::indefinite);
    p.system.dw = 200;
    REQUIRE(solver.factor(p.system, true) == Shape::right);
    const Numbers r = numbers(5, 9);
    Numbers d(r.size());
    solver.solve(r.data(), 1e-10, d.data());
    CHECK(close(d.data(), p.exact_step(r).data(), p.n, 1e-7));
}

namespace {

// x'W x / 2 - sum x on the plane sum x = 1.
class Quadratic final : public NewtonFunctions {
  public:
    Quadratic(LinearSolver solver, Globalisation globalisation) {
        options_.kkt.linear_solver = solver, options_.kkt.queue = make_queue();
        options_.kkt.threads = 1, options_.maxiter = 2, options_.globalisation = globalisation;
        options_.scale = globalisation != Globalisation::adasketch;
        options_.second_order = false;
        for (index_t i = 0; i < n * n; ++i) w_[i] = i / n == i % n ? 2.0 : 0.25;
    }
    NewtonResult solve() {
        NewtonMonitor monitor;
        return solve_newton(*this, monitor, {0.5, -0.1, 0.2}, 1, options_);
    }
    double value(const double* x) override {
        double g[n], f = 0;
        gradient(x, g);
        for (index_t i = 0; i < n; ++i) f += 0.5 * x[i] * (g[i] - 1);
        return ++calls_, f;
    }
    void gradient(const double* x, double* g) override {
        for (index_t i = 0; i < n; ++i) g[i] = -1;
        gemv<double>(false, n, n, 1.0, w_.data(), n, x, 1.0, g);
    }
    void constraints(const double* x, double* c) override { c[0] = x[0] + x[1] + x[2] - 1; }
    void jacobian(const double*, double* j) override { j[0] = j[1] = j[2] = 1; }
    std::shared_ptr<const Curvature> curvature(const double*, double sigma,
                                               const double*) override {
        scaled_ = w_;
        for (double& x : scaled_) x *= sigma;
        return std::make_shared<Products>(scaled_, n, false);
    }
    index_t evaluations() const override { return calls_; }

  private:
    static constexpr index_t n = 3;
    Numbers w_ = Numbers(n * n), scaled_;
    NewtonOptions options_;
    index_t calls_ = 0;
};

} // namespace

TEST_CASE("krylov: every failing call gives an exception, no leak, the next solve works") {
    for (const LinearSolver kind :
         {LinearSolver::minres, LinearSolver::nystrom_pcg, LinearSolver::gaussian,
          LinearSolver::automatic}) { // the last: the paper's method
        const auto solve = [kind] {
            const bool paper = kind == LinearSolver::automatic;
            return Quadratic(kind, paper ? Globalisation::adasketch : Globalisation::merit).solve();
        };
        CAPTURE(static_cast<int>(kind));
        const long start = cuda_emu_calls(), released = cuda_emu_releases();
        const NewtonResult whole = solve();
        const long calls = cuda_emu_calls() - start, releases = cuda_emu_releases() - released;
        REQUIRE(calls > 60);
        CHECK(whole.nit > 0);
        CHECK(cuda_emu_live() == 0);
        const long step = calls / 400 + 1; // all, or where they repeat themselves some
        long quiet = 0, tried = 0;
        for (long n = 1; n <= calls; n += step) {
            ++tried;
            cuda_emu_fail_call(n);
            try {
                const NewtonResult result = solve();
                CHECK(result.x == whole.x);
                ++quiet;
            } catch (const BackendError& error) {
                const std::string words = error.what();
                const bool clear = words.find("failed") != std::string::npos ||
                                   words.find("needs a CUDA device") != std::string::npos;
                CHECK(clear);
            }
            cuda_emu_fail_call(0);
            CHECK(cuda_emu_live() == 0);
            if (tried % 16 == 0) CHECK(solve().x == whole.x);
        }
        if (step == 1) CHECK(quiet == releases);
        CHECK(quiet <= releases);
    }
}

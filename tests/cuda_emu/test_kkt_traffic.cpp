// The bytes that the kernels of sketch_newton's linear solvers and models read and write, counted,
// are those that the comment above each states, and their sums those in docs/cuda.md.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sketch_newton/glm.hpp"
#include "sketch_newton/kkt_solvers.hpp"
#include "sketch_newton/newton.hpp"
#include "sketch_newton/sketch_steps.hpp"
#include "sketch_traffic.hpp"

using namespace sketch_traffic;
using bytes::Count;
using bytes::reduced;
using bytes::operator+=;

namespace {

using Numbers = std::vector<double>;

bytes::KernelTraffic& traffic() {
    static bytes::KernelTraffic t({"sketch_newton/kkt_cuda.cuh", "sketch_newton/kkt_functors.inl",
                                   "sketch_newton/glm_functors.inl"},
                                  {"sketch_newton/sketch_cuda.cuh"});
    return t;
}

Moved of_start(const Names& names) { // of a solve
    Moved sum = bytes::total(of_newton(), names, "a start");
    for (const char* part : {"W v", "K d", "C^-1", "C^-1"})
        sum += bytes::total(of_newton(), names, part);
    return sum;
}
Moved of_iteration(const Names& names) {
    Moved sum = bytes::total(of_newton(), names, "an iteration");
    for (const char* part : {"W v", "K d", "C^-1"}) sum += bytes::total(of_newton(), names, part);
    return sum;
}
enum class Rest { scalar, diagonal, dense };

struct System {
    System(index_t rows, index_t n, index_t m, Rest rest, bool negative = false)
        : a(numbers(rows * n, 1)), w(numbers(rows, 2)), j(numbers(m * n, 3)),
          diagonal(static_cast<std::size_t>(n), 0.5), dense(static_cast<std::size_t>(n * n)) {
        for (double& x : w) x = negative ? x : std::fabs(x);
        for (index_t i = 0; i < n; ++i) dense[static_cast<std::size_t>(i * n + i)] = 2;
        options.queue = make_queue(), options.threads = 1, options.key = {5, 0xf0000007u};
        q.a.rows = rows, q.a.cols = n, q.a.values = a.data(), q.a.place(options.queue);
        q.w = w.data(), q.scalar = 0.5;
        if (rest == Rest::diagonal) q.diagonal = diagonal.data();
        if (rest == Rest::dense) q.dense = dense.data();
        curvature = std::make_unique<GramCurvature>(q, 1);
        kkt = {n, m, curvature.get(), j.data(), 0.125, m > 0 ? 1e-3 : 0};
        names = {{"N", rows}, {"n", n}, {"m", m}, {"S", n + m}, {"lower", n * (n + 1) / 2}};
        names["diagonal"] = rest == Rest::diagonal, names["dense"] = rest == Rest::dense;
        names["constrained"] = m > 0, names["negative"] = negative;
        names["size"] = n + m, names["g"] = 1, names["restart"] = 0;
    }
    const Gram& gram() const { return *curvature->gram(); }
    Kernels product() const { // W v
        Kernels list{of("TimesEach", q.a.rows)};
        if (!q.dense) list.push_back({"AddRest", names});
        return list;
    }
    Kernels kkt_product() const { // K d
        Kernels list = product();
        list.push_back(of("Add", kkt.n));
        if (kkt.m > 0) list.push_back(of("Add", kkt.m));
        return list;
    }
    static Kernel of(const std::string& name, index_t count) { return {name, {{"count", count}}}; }
    static Kernel inner_product(index_t count, bool distinct) {
        return reduced("InnerProduct", {{"count", count}, {"distinct", distinct}});
    }

    Numbers a, w, j, diagonal, dense;
    KktOptions options;
    Gram q;
    std::unique_ptr<GramCurvature> curvature;
    KktSystem kkt;
    Names names;
};

template <class Work> void for_systems(Work work) {
    work(System(40, 5, 1, Rest::scalar));
    work(System(60, 7, 3, Rest::diagonal));
    work(System(90, 20, 2, Rest::dense));
    work(System(33, 6, 0, Rest::dense));
    work(System(50, 4, 0, Rest::diagonal));
}

} // namespace

TEST_CASE("bytes of generalised linear models") {
    for (const index_t rows : {31, 500})
        for (const bool weighted : {false, true})
            for (const Family family :
                 {Family::gaussian, Family::logistic, Family::poisson, Family::gamma}) {
                const index_t n = 5, blocks = (rows + 255) / 256;
                const auto queue = make_queue();
                const Numbers values = numbers(rows * n, 11);
                DataMatrix<double> a;
                a.rows = rows, a.cols = n, a.values = values.data(), a.place(queue);
                const Numbers ones(static_cast<std::size_t>(rows), 1.0);
                Glm glm(a, ones, weighted ? ones : Numbers(), family, 0.2, 0.01, 1);
                glm.value(numbers(n, 12).data());
                const Numbers x = numbers(n, 13);
                const Count pass(queue);
                glm.value(x.data());
                CHECK(pass.finish() == 2);
                Names names{{"N", rows}, {"n", n}, {"count", rows}, {"g", blocks}};
                names["weighted"] = weighted;
                Kernels kernels{reduced("WeighedLoss", names, 8, blocks)};
                Moved stated = bytes::total(of_newton(), names, "a GLM");
                if (blocks > 1) {
                    kernels.push_back({"fold_parts", kernels[0].names});
                    stated += {8 * blocks, 8};
                }
                INFO("rows ", rows, ", weighted ", weighted);
                check_total(traffic().expect(kernels), stated);
                const Count fetched(queue);
                glm.weights(x.data());
                CHECK(fetched.finish() == 1);
            }
}

TEST_CASE("bytes of products with W") {
    for_systems([](const System& s) {
        const Array<double> v(s.options.queue, s.kkt.n), out(s.options.queue, s.kkt.n);
        const Count count(s.options.queue);
        s.gram().steps->multiply(v.data(), out.data());
        CHECK(count.finish() == 0);
        check_total(traffic().expect(s.product()), bytes::total(of_newton(), s.names, "W v"));
    });
}

TEST_CASE("bytes of a preconditioner and of an iteration of 'sketch-pcg'") {
    for_systems([](const System& s) {
        const index_t n = s.kkt.n, m = s.kkt.m, size = n + m;
        INFO("n ", n, ", m ", m);
        SketchOptions o;
        o.size = 3 * n, o.key = {5, 0xf0000007u}, o.threads = 1;
        PcgSteps steps(s.options);
        const Numbers diagonal(static_cast<std::size_t>(n), 0.625), r = numbers(size, 4);
        const auto inverse = [&](double* b, index_t k) { steps.solve_gram(b, k); };
        const auto prepare = [&] {
            steps.sketch_gram(s.gram(), o);
            REQUIRE(steps.factor_gram(s.gram(), s.kkt.dw, diagonal));
            steps.set(s.kkt, false);
            REQUIRE(steps.precondition(inverse));
        };
        prepare(); // makes room

        Names names = s.names, sketched{{"T", 8}, {"n", s.q.a.rows}, {"d", n}, {"m", o.size}};
        sketched["scaled"] = 1, names["q"] = o.size;
        names["work"] = 8 * n; // what potrf asks for here
        Kernels kernels{{"RootsOfWeights", names}};
        kernels += sketch_kernels(o, sketched);
        kernels +=
            {reduced("DiagonalEntry", names), {"SketchedGram", names}, {"IdentityMatrix", names}};
        if (m > 0) kernels.push_back({"Transposed", names});
        const Count preconditioner(s.options.queue);
        prepare();
        CHECK(preconditioner.finish() == (m > 0 ? 5 : 2));
        Moved stated = bytes::total(of_newton(), names, "a preconditioner");
        stated += bytes::total(of_sketches(), sketched, "'sjlt'");
        check_total(traffic().expect(kernels), stated);

        const PcgSteps::Start start = steps.start(r.data());
        const Count first(s.options.queue); // whose memory is there already
        steps.start(r.data());
        CHECK(first.finish() == 2);
        kernels.clear();
        if (m > 0) kernels.push_back(s.of("Add", m));
        kernels += s.kkt_product();
        kernels += {s.of("Add", n), s.inner_product(n, false), s.inner_product(n, true),
                    s.inner_product(n, true)};
        check_total(traffic().expect(kernels), of_start(names));

        for (const bool restart : {true, false}) {
            names["restart"] = restart, names["count"] = size;
            const Count iteration(s.options.queue);
            steps.iterate(restart ? 0.0 : 0.5, start.rz);
            CHECK(iteration.finish() == 1);
            kernels = {{"Direction", names}};
            kernels += s.kkt_product();
            kernels += {s.inner_product(n, true),
                        {"StepAlong", names},
                        s.inner_product(n, false),
                        s.inner_product(n, true)};
            stated = of_iteration(names);
            if (restart) stated.read -= 8 * size; // the last direction
            const Moved moved = traffic().expect(kernels);
            check_total(moved, stated);
            CHECK(moved.works == (m > 0 ? 20 : 13));
        }
    });
}

TEST_CASE("bytes of an iteration of 'minres'") {
    for_systems([](const System& s) {
        const index_t size = s.kkt.size();
        const Numbers r = numbers(size, 4);
        MinresSteps steps(s.options);
        steps.set(s.kkt, false);
        steps.start(r.data());
        Names names = s.names;
        names["n"] = size;
        Kernels kernels = s.kkt_product();
        kernels += {s.inner_product(size, true), reduced("LanczosRest", names)};
        const Count lanczos(s.options.queue);
        const MinresSteps::Column column = steps.lanczos(0);
        CHECK(lanczos.finish() == 1);
        traffic().expect(kernels);
        const Count advance(s.options.queue);
        steps.advance(1, 0.5, 0.25, 0.125, column.beta);
        CHECK(advance.finish() == 0);
        traffic().expect({{"MinresStep", names}});
    });
}

TEST_CASE("bytes of rows times or divided by one number each") {
    for (const index_t rows : {1, 40}) {
        const index_t width = 9;
        const auto queue = make_queue();
        const Array<double> a(queue, rows * width), by(queue, rows);
        std::fill_n(by.mirror(), rows, 2.0), by.send();
        const Names names{{"n", rows * width}, {"rows", rows}};
        const auto expect = [&](const std::string& kernel, auto work) {
            const Count count(queue);
            work();
            CHECK(count.finish() == 0);
            traffic().expect({{kernel, names}});
        };
        expect("TimesRows", [&] { times_rows(*queue, rows, width, by.data(), a.data()); });
        expect("DividedRows", [&] { divide_rows(*queue, rows, width, by.data(), a.data()); });
        expect("Divided", [&] { divide(*queue, rows * width, 3, a.data()); });
    }
}

namespace {

// How often rows are looked at before they are of one size.
index_t scalings(const System& s) {
    const index_t n = s.kkt.n, size = s.kkt.size();
    Numbers w(static_cast<std::size_t>(n * n)), k(static_cast<std::size_t>(size * size)),
        by(static_cast<std::size_t>(size));
    form(*s.curvature, n, 1, w.data());
    full_kkt(s.kkt, w.data(), k.data());
    for (index_t times = 1;; ++times) {
        for (std::size_t i = 0; i < by.size(); ++i) {
            double largest = 0;
            for (std::size_t c = 0; c < by.size(); ++c)
                largest = std::fmax(largest, std::fabs(k[i * by.size() + c]));
            by[i] = balance(largest);
        }
        if (times == 4 || std::all_of(by.begin(), by.end(), [](double x) { return x == 1; }))
            return times;
        for (std::size_t i = 0; i < k.size(); ++i) k[i] *= by[i / by.size()] * by[i % by.size()];
    }
}

void check_ldl(const System& s) {
    const index_t size = s.kkt.size();
    INFO("n ", s.kkt.n, ", m ", s.kkt.m);
    LdlSteps steps(s.options);
    REQUIRE(steps.factor(s.kkt, false)); // makes room
    Names names = s.names;
    names["tries"] = scalings(s);
    names["work"] = 16 * size; // what sytrf asks for here
    Kernels kernels = with_names({"WeighedRows", "AddRestAndMirror", "KktMatrix"}, names);
    for (index_t k = 0; k < names["tries"]; ++k) {
        if (k > 0) kernels.push_back({"ScaleBoth", names});
        kernels.push_back({"row_largest", names});
    }
    kernels += {s.of("Widened", size), {"BlocksOfD", names}};
    const Count factor(s.options.queue);
    steps.factor(s.kkt, false);
    CHECK(factor.finish() == 2 * names["tries"] + 3 + (s.kkt.m > 0));
    check_total(traffic().expect(kernels), bytes::total(of_newton(), names, "'ldl', its factors"));

    const Numbers r = numbers(size, 6);
    Numbers d(r.size());
    steps.solve(r.data(), d.data());
    const Count solve(s.options.queue);
    steps.solve(r.data(), d.data());
    // Four copies, and in a pass one wait for sytrs and one for the residual, which the third
    // pass lacks.
    const index_t waits = solve.finish() - 4;
    names["residuals"] = waits / 2, names["solves"] = waits - waits / 2;
    CHECK(waits >= 2);
    CHECK(waits <= 5);
    names["work"] = 8 * size; // what sytrs asks for here
    kernels.clear();
    for (index_t pass = 0; pass < names["solves"]; ++pass) {
        kernels += {s.of("TimesEach", size), s.of("AddTimes", size)};
        if (pass < names["residuals"])
            kernels += {s.of("KktResidual", size), s.inner_product(size, false)};
    }
    check_total(traffic().expect(kernels), bytes::total(of_newton(), names, "'ldl', a solve"));
}

} // namespace

TEST_CASE("bytes of 'ldl'") {
    for_systems(check_ldl);
    check_ldl(System(40, 5, 1, Rest::scalar, true));
}

namespace {

// A logistic model on the plane sum x = 1.
class Model final : public NewtonFunctions {
  public:
    Model(LinearSolver solver, index_t maxiter) {
        options_.kkt.linear_solver = solver, options_.kkt.queue = make_queue();
        options_.kkt.threads = 1, options_.kkt.sketch_size = 3 * n, options_.maxiter = maxiter;
        for (double& v : y_) v = v > 0 ? 1 : -1;
        a_.rows = rows, a_.cols = n, a_.values = values_.data(), a_.place(options_.kkt.queue);
        glm_ = std::make_unique<Glm>(a_, y_, Numbers(), Family::logistic, 0.1, 1.0, 1);
    }
    NewtonResult solve() {
        NewtonMonitor monitor;
        return solve_newton(*this, monitor, Numbers(n, 0.1), 1, options_);
    }
    double value(const double* x) override { return ++values, glm_->value(x); }
    void gradient(const double* x, double* g) override { glm_->gradient(x, g); }
    void constraints(const double* x, double* c) override { c[0] = x[0] + x[1] + x[2] - 1; }
    void jacobian(const double*, double* j) override { std::fill_n(j, n, 1.0); }
    std::shared_ptr<const Curvature> curvature(const double* x, double sigma,
                                               const double*) override {
        ++hessians;
        const double* w = glm_->weights(x);
        weights_.assign(w, w + rows);
        for (double& v : weights_) v *= sigma;
        Gram q;
        q.a = a_, q.w = weights_.data(), q.scalar = 0.1 * sigma;
        return std::make_shared<GramCurvature>(q, 1);
    }
    index_t evaluations() const override { return values; }

    static constexpr index_t rows = 40, n = 3;
    index_t values = 0, hessians = 0;

  private:
    Numbers values_ = numbers(rows * n, 21), y_ = numbers(rows, 22), weights_;
    NewtonOptions options_;
    DataMatrix<double> a_;
    std::unique_ptr<Glm> glm_;
};

} // namespace

namespace {

struct Step {
    Moved moved;
    long waits;
    std::map<std::string, index_t> launches;
};
Step operator-(Step a, const Step& b) {
    a.moved.read -= b.moved.read, a.moved.written -= b.moved.written, a.waits -= b.waits;
    for (const auto& kernel : b.launches) a.launches[kernel.first] -= kernel.second;
    return a;
}

Step run(LinearSolver solver, index_t maxiter) {
    Model model(solver, maxiter);
    cuda_emu_traffic();
    const long waits = cuda_emu_waits();
    const NewtonResult result = model.solve();
    REQUIRE(result.nit == maxiter);
    REQUIRE(model.values == maxiter + 1); // no step was tried twice
    Step all{{}, cuda_emu_waits() - waits, {}};
    const std::vector<CudaEmuTraffic> done = cuda_emu_traffic();
    all.moved = bytes::sum_of(done);
    for (const char* name : {"ScaleBoth", "AddTimes", "KktResidual", "Direction", "SketchedGram"})
        for (const CudaEmuTraffic& one : done)
            all.launches[name] += bytes::has_type(one.kernel, name);
    return all;
}

} // namespace

TEST_CASE("bytes of an iteration of Newton, as docs/cuda.md adds them up") {
    const index_t n = Model::n, m = 1;
    Names names{{"N", Model::rows}, {"n", n}, {"m", m}, {"S", n + m}, {"constrained", 1}};
    names["diagonal"] = names["dense"] = names["negative"] = names["weighted"] = 0;
    names["g"] = 1;
    for (const LinearSolver solver : {LinearSolver::ldl, LinearSolver::sketch_pcg}) {
        Step third = run(solver, 3) - run(solver, 2);
        Moved stated = bytes::total(of_newton(), names, "a GLM");
        stated += bytes::total(of_newton(), names, "a Hessian");
        long waits = 2 + 1 + 1 + 1; // a point of the model, its weights; w and J for the solver
        if (solver == LinearSolver::ldl) {
            const index_t tries = third.launches["ScaleBoth"] + 1;
            const index_t solves = third.launches["AddTimes"];
            const index_t residuals = third.launches["KktResidual"];
            REQUIRE(residuals > 0);
            names["tries"] = tries, names["solves"] = solves, names["residuals"] = residuals;
            names["work"] = 16 * (n + m); // what sytrf asks for here
            stated += bytes::total(of_newton(), names, "'ldl', its factors");
            names["work"] = 8 * (n + m); // and sytrs
            stated += bytes::total(of_newton(), names, "'ldl', a solve");
            waits += 2 * tries + 3 + 4 + solves + residuals;
        } else {
            REQUIRE(third.launches["SketchedGram"] == 0); // the sketch is kept
            const index_t iterations = third.launches["Direction"];
            REQUIRE(iterations > 1);
            stated += bytes::total(of_newton(), names, "a preconditioner: V");
            stated += of_start(names);
            for (index_t k = 0; k < iterations; ++k) stated += of_iteration(names);
            stated.read -= 8 * (n + m); // the first has no last direction
            waits += 2 + 2 + iterations + 1;
        }
        INFO("solver ", static_cast<int>(solver));
        check_total(third.moved, stated);
        CHECK(third.waits == waits);
    }
}

TEST_CASE("every kernel was counted") { traffic().every_kernel_was_counted(); }

// Sketches of CSR data and products with them on the emulated device, against the CPU's, for ten
// orders of the threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "core/vmath.hpp"
#include "sketch_newton/glm.hpp"
#include "sketch_newton/newton.hpp"
#include "sketch_newton/sketch_steps.hpp"

#include "cuda_emu.hpp"
#include "failing_calls.hpp"
#include "kkt_problem.hpp"

using namespace fastopt;
using namespace kkt_problem;

namespace {

#include "sketch_newton/glm_functors.inl"

enum class Repeats { no, yes }; // of a column in a row

// Each row has some columns in any order; the first column has an entry in every row, the last
// none.
template <class T> struct Csr {
    Csr(index_t rows, index_t cols, Repeats repeats) {
        std::mt19937_64 engine(static_cast<unsigned>(rows + 7 * cols));
        std::normal_distribution<double> normal;
        std::vector<std::int32_t> order(static_cast<std::size_t>(std::max<index_t>(1, cols - 1)));
        for (std::size_t j = 0; j < order.size(); ++j) order[j] = static_cast<std::int32_t>(j);
        for (index_t i = 0; i < rows; ++i) {
            const auto count = static_cast<std::ptrdiff_t>(i % 3 == 0 ? order.size() / 2 : i % 5);
            std::shuffle(order.begin(), order.end(), engine);
            auto end = order.begin() + std::min(count, static_cast<std::ptrdiff_t>(order.size()));
            indices.insert(indices.end(), order.begin(), end);
            if (std::find(order.begin(), end, 0) == end) indices.push_back(0);
            if (repeats == Repeats::yes && i % 4 == 1) indices.push_back(indices.back());
            indptr.push_back(static_cast<std::int64_t>(indices.size()));
        }
        for (std::size_t e = 0; e < indices.size(); ++e)
            values.push_back(static_cast<T>(normal(engine)));
        a.rows = rows, a.cols = cols, a.values = values.data();
        a.indptr = indptr.data(), a.indices = indices.data();
    }
    Csr(const Csr&) = delete;
    Csr& operator=(const Csr&) = delete;
    std::vector<T> dense() const {
        std::vector<T> full(static_cast<std::size_t>(a.rows * a.cols));
        for (index_t i = 0; i < a.rows; ++i)
            for (index_t e = indptr[i]; e < indptr[i + 1]; ++e)
                full[i * a.cols + indices[e]] += values[e];
        return full;
    }
    std::vector<std::int64_t> indptr = {0};
    std::vector<std::int32_t> indices;
    std::vector<T> values;
    DataMatrix<T> a;
};

struct Case {
    SketchKind kind;
    index_t rows, cols, size, nonzeros = 0;
    bool scaled = true;
    Repeats repeats = Repeats::no;
};

// S diag(scale) A of both backends.
template <class T> void agree(const Case& c) {
    CAPTURE(static_cast<int>(c.kind));
    CAPTURE(c.rows);
    CAPTURE(c.cols);
    CAPTURE(c.size);
    Csr<T> csr(c.rows, c.cols, c.repeats);
    const Csr<T> factors(c.rows, 1, Repeats::no);
    const T* scale = c.scaled ? factors.values.data() : nullptr;
    SketchOptions o;
    o.kind = c.kind, o.size = c.size, o.nonzeros = c.nonzeros;
    o.key = {17, 0xf0000023u}, o.iteration = 5, o.threads = 1;
    std::vector<double> probabilities(static_cast<std::size_t>(c.rows));
    for (index_t i = 0; i < c.rows; ++i) probabilities[i] = static_cast<double>(i % 7 + 1);
    if (c.kind == SketchKind::leverage || c.kind == SketchKind::less)
        o.probabilities = probabilities.data();
    std::vector<T> expected(static_cast<std::size_t>(c.size * c.cols));
    sketch(csr.a, scale, o, expected.data());

    const auto queue = make_queue();
    csr.a.place(queue);
    const Input<T> scales(queue, scale, scale ? c.rows : 0);
    const Array<T> out(queue, c.size * c.cols);
    std::fill_n(out.mirror(), out.size(), T(7)); // what stood there before does not count
    out.send();
    sketch(queue, csr.a, scales.data(), o, out.data());
    const T* got = out.fetch();
    double largest = 0;
    for (const T x : expected) largest = std::max(largest, std::fabs(double(x)));
    const double allowed = sizeof(T) == 8 ? 1e-13 : 1e-5; // of sums in another order
    index_t wrong = 0;
    for (index_t i = 0; i < out.size(); ++i)
        wrong += c.kind == SketchKind::gaussian
                     ? !(std::fabs(double(got[i]) - double(expected[i])) <= allowed * largest)
                     : !(got[i] == expected[i]);
    CHECK(wrong == 0);
}

template <class T> void agree_on_small_inputs(Repeats repeats) {
    for (const index_t rows : {1, 31, 65, 600})
        for (const index_t cols : {1, 5, 33, 70}) {
            agree<T>({SketchKind::sjlt, rows, cols, 13, 0, true, repeats});
            agree<T>({SketchKind::countsketch, rows, cols, 7, 0, false, repeats});
            agree<T>({SketchKind::srht, rows, cols, 9, 0, true, repeats});
            agree<T>({SketchKind::uniform, rows, cols, 11, 0, false, repeats});
            agree<T>({SketchKind::leverage, rows, cols, 11, 0, true, repeats});
            agree<T>({SketchKind::less, rows, cols, 6, 3, true, repeats});
        }
    for (const index_t rows : {1, 33, 100})
        agree<T>({SketchKind::gaussian, rows, 5, 13, 0, true, repeats});
    agree<T>({SketchKind::srht, 64, 3, 5, 0, false, repeats});
}

// Value, gradient and weights of a model, W v and W, beside the same of dense rows on the host.
void check_model(index_t rows, index_t n, Repeats repeats) {
    CAPTURE(rows);
    CAPTURE(n);
    Csr<double> csr(rows, n, repeats);
    const Numbers dense = csr.dense(), x = numbers(n, 12);
    Numbers y = numbers(rows, 13), z(y.size()), w(y.size()), gradient(x.size());
    for (double& v : y) v = v > 0 ? 1 : -1;
    gemv<double>(false, rows, n, 1.0, dense.data(), n, x.data(), 0.0, z.data());
    const WeighedLoss<Family::logistic> loss{0.01, y.data(), nullptr, z.data(), w.data()};
    double value = 0;
    for (index_t i = 0; i < rows; ++i) value += loss(i);
    gemv<double>(true, rows, n, 1.0, dense.data(), n, z.data(), 0.0, gradient.data());
    const auto queue = make_queue();
    csr.a.place(queue);
    Glm glm(csr.a, y, Numbers(), Family::logistic, 0, 0.01, 1);
    const double got = glm.value(x.data());
    CHECK(close(&got, &value, 1, 1e-12));
    Numbers g(x.size());
    glm.gradient(x.data(), g.data());
    CHECK(close(g.data(), gradient.data(), n, 1e-11));
    CHECK(close(glm.weights(x.data()), w.data(), rows, 1e-11));

    for (const bool negative : {false, true}) {
        Numbers weights = numbers(rows, 14), full(static_cast<std::size_t>(n * n)), wv(x.size());
        for (double& v : weights) v = negative ? v : std::fabs(v);
        Gram q;
        q.a = csr.a, q.w = weights.data(), q.scalar = 0.5;
        const GramCurvature curvature(q, 1);
        form(curvature, n, 1, full.data()); // by the host
        const Array<double> formed(queue, n * n);
        curvature.gram()->steps->form(formed.data());
        CHECK(close(formed.fetch(), full.data(), n * n, 1e-12));
        curvature.multiply(x.data(), wv.data());
        gemv<double>(false, n, n, 1.0, full.data(), n, x.data(), 0.0, gradient.data());
        CHECK(close(wv.data(), gradient.data(), n, 1e-12));
    }
}

// W where its rows become dense in two parts: one entry a row, so that W is diagonal.
void check_parts_of_rows() {
    const index_t rows = 34000, n = 500;
    const Numbers values = numbers(rows, 1);
    Numbers weights = numbers(rows, 2), expected(static_cast<std::size_t>(n * n));
    std::vector<std::int64_t> indptr(static_cast<std::size_t>(rows) + 1);
    std::vector<std::int32_t> indices(static_cast<std::size_t>(rows));
    for (index_t i = 0; i < rows; ++i) {
        weights[i] = std::fabs(weights[i]);
        indptr[i + 1] = i + 1, indices[i] = static_cast<std::int32_t>(i % n);
        expected[i % n * (n + 1)] += weights[i] * values[i] * values[i];
    }
    Gram q;
    q.a.rows = rows, q.a.cols = n, q.a.values = values.data();
    q.a.indptr = indptr.data(), q.a.indices = indices.data();
    q.a.place(make_queue());
    q.w = weights.data();
    const GramCurvature curvature(q, 1);
    const Array<double> formed(q.a.queue, n * n);
    curvature.gram()->steps->form(formed.data());
    CHECK(close(formed.fetch(), expected.data(), n * n, 1e-12));
}

} // namespace

TEST_CASE("csr: every sketch has the bits of the CPU's in ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        CAPTURE(seed);
        agree_on_small_inputs<double>(seed % 2 ? Repeats::yes : Repeats::no);
        agree_on_small_inputs<float>(seed % 2 ? Repeats::no : Repeats::yes);
        CHECK(cuda_emu_live() == 0);
    }
}

TEST_CASE("csr: products agree with the host's in ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        CAPTURE(seed);
        for (const Repeats repeats : {Repeats::no, Repeats::yes}) {
            check_model(1, 1, repeats);
            check_model(31, 3, repeats);
            check_model(33, 40, repeats);
            check_model(2500, 7, repeats); // the first column has three parts
        }
        CHECK(cuda_emu_live() == 0);
    }
}

TEST_CASE("csr: more items than threads") {
    cuda_emu_seed(3);
    agree<float>({SketchKind::sjlt, 300, 6, 9000});
    agree<double>({SketchKind::uniform, 50, 4, 9000});
    agree<float>({SketchKind::gaussian, 1100, 450, 600}); // the first column has two parts
    check_model(9000, 3, Repeats::no);
    check_parts_of_rows();
    CHECK(cuda_emu_live() == 0);
}

TEST_CASE("csr: rows without entries, and a matrix without any") {
    const std::int64_t indptr[] = {0, 0, 2, 2};
    const std::int32_t indices[] = {1, 0};
    const double values[] = {2, -3}, y[] = {1, -1, 1};
    for (const index_t rows : {1, 3}) {
        DataMatrix<double> a;
        a.rows = rows, a.cols = 2, a.values = values, a.indptr = indptr, a.indices = indices;
        const auto queue = make_queue();
        a.place(queue);
        Glm glm(a, Numbers(y, y + rows), Numbers(), Family::gaussian, 0, 1, 1);
        const double x[] = {0.5, 0.25};
        double g[2];
        glm.gradient(x, g); // z = 0, -1, 0
        CHECK(g[0] == 0);
        CHECK(g[1] == 0);
        CHECK(glm.value(x) == (rows == 1 ? 0.5 : 1.0));
        SketchOptions o;
        o.size = 4, o.threads = 1;
        Numbers expected(8);
        sketch(a, static_cast<const double*>(nullptr), o, expected.data());
        const Array<double> out(queue, 8);
        sketch(queue, a, static_cast<const double*>(nullptr), o, out.data());
        CHECK(std::equal(expected.begin(), expected.end(), out.fetch()));
    }
}

namespace {

// A logistic model of CSR data on the plane sum x = 1.
class SparseModel final : public NewtonFunctions {
  public:
    explicit SparseModel(LinearSolver solver) {
        options_.kkt.linear_solver = solver, options_.kkt.queue = make_queue();
        options_.kkt.threads = 1, options_.kkt.sketch_size = 12, options_.maxiter = 2;
        for (double& v : y_) v = v > 0 ? 1 : -1;
        data_.a.place(options_.kkt.queue);
        glm_ = std::make_unique<Glm>(data_.a, y_, Numbers(), Family::logistic, 0.1, 1.0, 1);
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
        q.a = data_.a, q.w = weights_.data(), q.scalar = 0.1 * sigma;
        return std::make_shared<GramCurvature>(q, 1);
    }
    index_t evaluations() const override { return calls_; }

  private:
    static constexpr index_t rows = 20, n = 3;
    Csr<double> data_{rows, n, Repeats::no};
    Numbers y_ = numbers(rows, 22), weights_;
    NewtonOptions options_;
    std::unique_ptr<Glm> glm_;
    index_t calls_ = 0;
};

Numbers slope_of_two_parts() {
    Csr<double> data(1100, 3, Repeats::no);
    data.a.place(make_queue());
    Glm glm(data.a, Numbers(1100, 1.0), Numbers(), Family::logistic, 0.1, 1.0, 1);
    Numbers g(3);
    glm.gradient(numbers(3, 5).data(), g.data());
    return g;
}

} // namespace

TEST_CASE("csr: every failing call gives an exception, no leak, the next solve works") {
    const std::equal_to<Numbers> same;
    for (const LinearSolver solver : {LinearSolver::sketch_pcg, LinearSolver::ldl})
        fail_every_call(30, 16, [solver] { return SparseModel(solver).solve().x; }, same);
    fail_every_call(30, 16, slope_of_two_parts, same);
}

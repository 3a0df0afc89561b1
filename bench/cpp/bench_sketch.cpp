// Sketching operators, Gram products and KKT solvers. Counters: GB/s of the data read once, and how
// many times the plain read of the data (BM_read) an operator takes is the ratio of the two rows.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "core/random.hpp"
#include "sketch_newton/kkt_solvers.hpp"

using namespace fastopt;

namespace {

constexpr index_t rows = 100000, cols = 200, size = 1000;

template <class T> struct Dense {
    Buffer<T> values{rows * cols};
    Buffer<T> root{rows};
    DataMatrix<T> a;
    Dense() {
        fill_normal(values.data(), 0, rows * cols, {{1, 2}, 0, 0});
        for (index_t i = 0; i < rows; ++i) root[i] = T(0.5);
        a = {rows, cols, values.data(), nullptr, nullptr};
    }
};

struct Sparse { // ten entries a row
    std::vector<double> values;
    std::vector<std::int32_t> indices;
    std::vector<std::int64_t> indptr{0};
    std::vector<double> root;
    DataMatrix<double> a;
    Sparse() : values(rows * 10, 1.0), root(rows, 0.5) {
        for (index_t i = 0; i < rows; ++i) {
            for (index_t k = 0; k < 10; ++k)
                indices.push_back(static_cast<std::int32_t>((i * 7 + k * 19) % cols));
            indptr.push_back((i + 1) * 10);
        }
        a = {rows, cols, values.data(), indptr.data(), indices.data()};
    }
};

template <class T> const Dense<T>& dense() {
    static const Dense<T> data;
    return data;
}
const Sparse& sparse() {
    static const Sparse data;
    return data;
}

void read_rate(benchmark::State& state, double bytes) {
    state.counters["GB/s"] =
        benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

template <class T> void BM_read(benchmark::State& state) {
    const Dense<T>& d = dense<T>();
    for (auto _ : state) {
        T sum[16] = {};
        for (index_t i = 0; i < rows * cols; i += 16)
            for (int k = 0; k < 16; ++k) sum[k] += d.values[i + k];
        benchmark::DoNotOptimize(sum);
    }
    read_rate(state, static_cast<double>(rows * cols * static_cast<index_t>(sizeof(T))));
}

template <class T> void run_dense(benchmark::State& state, SketchKind kind, index_t nonzeros) {
    const Dense<T>& d = dense<T>();
    SketchOptions o;
    o.kind = kind, o.size = size, o.nonzeros = nonzeros, o.threads = 1;
    const Buffer<T> out(size * cols);
    for (auto _ : state) sketch<T>(d.a, d.root.data(), o, out.data());
    read_rate(state, static_cast<double>(rows * cols * static_cast<index_t>(sizeof(T))));
}

void BM_sketch_f64(benchmark::State& state, SketchKind kind, index_t nonzeros) {
    run_dense<double>(state, kind, nonzeros);
}
void BM_sketch_f32(benchmark::State& state, SketchKind kind, index_t nonzeros) {
    run_dense<float>(state, kind, nonzeros);
}

void BM_sketch_csr(benchmark::State& state, SketchKind kind) {
    const Sparse& d = sparse();
    SketchOptions o;
    o.kind = kind, o.size = size, o.threads = 1;
    const Buffer<double> out(size * cols);
    for (auto _ : state) sketch<double>(d.a, d.root.data(), o, out.data());
    read_rate(state, static_cast<double>(d.a.entries() * 12));
}

void BM_row_probabilities(benchmark::State& state) {
    const Dense<double>& d = dense<double>();
    SketchOptions o;
    o.threads = 1;
    for (auto _ : state) benchmark::DoNotOptimize(row_probabilities<double>(d.a, d.root.data(), o));
}

void BM_gram_product(benchmark::State& state) { // most of an iteration of sketch-pcg
    const Dense<double>& d = dense<double>();
    std::vector<double> v(cols, 1.0), out(cols);
    for (auto _ : state) multiply_gram(d.a, d.root.data(), v.data(), out.data(), 1);
    read_rate(state, static_cast<double>(rows * cols * 8));
}

// Ten equalities; the time is of one iteration, all solves begin with a sketch that is there.
void BM_pcg_iteration(benchmark::State& state) {
    const Dense<double>& d = dense<double>();
    const index_t m = 10;
    Buffer<double> j(m * cols), r(cols + m), step(cols + m);
    fill_normal(j.data(), 0, m * cols, {{3, 4}, 0, 0});
    fill_normal(r.data(), 0, cols + m, {{5, 6}, 0, 0});
    const GramCurvature curvature({d.a, d.root.data(), 1.0, nullptr, nullptr}, 1);
    KktOptions o;
    o.threads = 1;
    SketchPcg solver(o);
    benchmark::DoNotOptimize(solver.factor({cols, m, &curvature, j.data(), 0, 0}, false));
    const index_t before = solver.iterations;
    for (auto _ : state) benchmark::DoNotOptimize(solver.solve(r.data(), 1e-8, step.data()));
    using benchmark::Counter;
    state.counters["per_item"] = Counter(static_cast<double>(solver.iterations - before),
                                         Counter::kIsRate | Counter::kInvert);
}

void BM_gram(benchmark::State& state) {
    const Dense<double>& d = dense<double>();
    const Buffer<double> g(cols * cols);
    for (auto _ : state) weighted_gram(d.a, d.root.data(), g.data(), 1);
    state.counters["GF/s"] = benchmark::Counter(static_cast<double>(rows * cols * cols) * 1e-9,
                                                benchmark::Counter::kIsIterationInvariantRate);
}

void BM_ldl(benchmark::State& state) {
    const index_t n = state.range(0), m = 10;
    Buffer<double> w(n * n), j(m * n);
    for (index_t i = 0; i < n; ++i) w[i * n + i] = 2;
    fill_normal(j.data(), 0, m * n, {{3, 4}, 0, 0});
    const DenseCurvature curvature(n, w);
    LdlSolver solver{KktOptions()};
    for (auto _ : state)
        benchmark::DoNotOptimize(solver.factor({n, m, &curvature, j.data(), 0, 0}, false));
    const double flops = std::pow(static_cast<double>(n + m), 3) / 3;
    state.counters["GF/s"] =
        benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

} // namespace

BENCHMARK(BM_read<double>)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_read<float>)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_f64, countsketch, SketchKind::countsketch, 0)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_f64, sjlt_4, SketchKind::sjlt, 4)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_f64, sjlt_8, SketchKind::sjlt, 8)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_f32, sjlt_4, SketchKind::sjlt, 4)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_f64, uniform, SketchKind::uniform, 0)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_f64, less, SketchKind::less, 8)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_f64, srht, SketchKind::srht, 0)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_f64, gaussian, SketchKind::gaussian, 0)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);
BENCHMARK_CAPTURE(BM_sketch_csr, countsketch, SketchKind::countsketch)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_csr, sjlt, SketchKind::sjlt)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_sketch_csr, srht, SketchKind::srht)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_row_probabilities)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_gram_product)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_pcg_iteration)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_gram)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_ldl)->Arg(200)->Arg(1000)->Unit(benchmark::kMillisecond);

BENCHMARK_MAIN();

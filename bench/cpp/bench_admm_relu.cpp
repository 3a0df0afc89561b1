// Kernels of admm_relu: cone projection cold and warm, prox, the masked Gram matrix, the tiled
// Cholesky factor, products with F. Counters give GFLOP/s beside gemm's own rate.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "admm_relu/design.hpp"
#include "admm_relu/gates.hpp"
#include "admm_relu/losses.hpp"
#include "admm_relu/program.hpp"
#include "admm_relu/symmetric.hpp"

using namespace fastopt;

namespace {

std::vector<double> normals(index_t n, unsigned seed) {
    std::mt19937_64 source(seed);
    std::normal_distribution<double> normal;
    std::vector<double> x(static_cast<std::size_t>(n));
    for (double& value : x) value = normal(source);
    return x;
}

void rate(benchmark::State& state, double flops) {
    state.counters["GF/s"] =
        benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// One block; range: n, d; warm when the input moves by 1 % from call to call.
void cone_projection(benchmark::State& state, bool warm) {
    const index_t n = state.range(0), d = state.range(1);
    const auto x = normals(n * d, 1), h = normals(d, 2), first = normals(d, 3);
    const auto gates = gate_patterns(n, d, x.data(), h);
    ConeProjector cones(n, d, 1, x.data(), gates.data(), 1);
    ActiveSets sets(1);
    std::vector<double> r(first), v(static_cast<std::size_t>(d)), norm(1);
    std::mt19937_64 source(4);
    std::normal_distribution<double> normal(0, 0.01);
    for (auto _ : state) {
        if (!warm) sets[0] = ActiveSet();
        for (index_t k = 0; k < d; ++k) r[k] = first[k] + normal(source);
        cones.project(1, r.data(), 0.0, sets, v.data(), norm.data());
        benchmark::DoNotOptimize(v.data());
    }
}

void prox(benchmark::State& state, LossKind kind) {
    const index_t n = 1000;
    auto y = normals(n, 1), r = normals(n, 2);
    for (double& value : y) value = value > 0 ? 1 : -1;
    const Loss loss(kind, n, 1, y, {}, 1, 1);
    std::vector<double> z(y.size());
    for (auto _ : state) loss.prox(r.data(), 0.1, z.data());
    state.SetItemsProcessed(state.iterations() * n);
}

struct Data {
    std::vector<double> x, gates;
    Design<double> design;
    Data(index_t n, index_t d, index_t p)
        : x(normals(n * d, 1)), gates(gate_patterns(n, d, x.data(), normals(p * d, 2))),
          design(n, d, p, 1, x.data(), gates.data(), 1) {}
};

void masked_gram(benchmark::State& state) {
    const index_t n = 1000, d = 21, p = 50;
    const Data data(n, d, p);
    const Buffer<double> h(n * n), diagonal(n);
    for (auto _ : state) data.design.gram_rows(h.data(), diagonal.data());
    rate(state, static_cast<double>(n) * n * (d + p));
}

void forward_adjoint(benchmark::State& state) {
    const index_t n = 1000, d = 21, p = 50;
    Data data(n, d, p);
    const auto e = normals(p * d, 3);
    std::vector<double> z(n), g(e.size());
    for (auto _ : state) {
        data.design.forward(e.data(), z.data());
        data.design.adjoint(z.data(), g.data());
    }
    rate(state, 4.0 * n * p * d);
}

void tiled_cholesky(benchmark::State& state) {
    const index_t n = state.range(0);
    const Buffer<double> a(n * n), work(n * n);
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < n; ++j) a[i * n + j] = (i == j) * 2.0 + 1.0 / (1 + i + j);
    for (auto _ : state) {
        std::copy(a.data(), a.data() + n * n, work.data());
        tiled_potrf(n, work.data(), 1);
    }
    rate(state, static_cast<double>(n) * n * n / 3);
}

void symmetric_product(benchmark::State& state) {
    const index_t n = state.range(0);
    const Buffer<double> a(n * n);
    const auto x = normals(n, 1);
    std::vector<double> y(x.size());
    SymmetricProduct<double> product(n, 1);
    for (auto _ : state) product(a.data(), x.data(), y.data(), 1);
    rate(state, 2.0 * n * n);
}

template <class T> void plain_gemm(benchmark::State& state) { // a square tile
    const index_t n = state.range(0);
    const auto x = normals(n * n, 1), y = normals(n * n, 2);
    const std::vector<T> a(x.begin(), x.end()), b(y.begin(), y.end());
    std::vector<T> c(a.size());
    for (auto _ : state)
        gemm(false, false, n, n, n, T(1), a.data(), n, b.data(), n, T(0), c.data(), n);
    rate(state, 2.0 * n * n * n);
}

void sizes(benchmark::internal::Benchmark* b) {
    for (const auto& [n, d] :
         {std::pair{300, 10}, {1000, 20}, {1000, 60}, {1000, 120}, {1000, 200}})
        b->Args({n, d});
}

BENCHMARK_CAPTURE(cone_projection, cold, false)->Apply(sizes);
BENCHMARK_CAPTURE(cone_projection, warm, true)->Apply(sizes);
BENCHMARK_CAPTURE(prox, squared, LossKind::squared);
BENCHMARK_CAPTURE(prox, logistic, LossKind::logistic);
BENCHMARK_CAPTURE(prox, hinge, LossKind::hinge);
BENCHMARK(masked_gram);
BENCHMARK(forward_adjoint);
BENCHMARK(tiled_cholesky)->Arg(1000)->Arg(2000);
BENCHMARK(symmetric_product)->Arg(1000);
BENCHMARK(plain_gemm<double>)->RangeMultiplier(2)->Range(64, 1024);
BENCHMARK(plain_gemm<float>)->RangeMultiplier(2)->Range(64, 1024);

} // namespace

BENCHMARK_MAIN();

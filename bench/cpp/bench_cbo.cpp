// The kernels of one iteration, for one block of particles: small (100 x 20, in the cache) and
// large (10000 x 100, in memory).
#include <limits>
#include <vector>

#include "levels.hpp"

namespace fastopt {
namespace {

struct Size {
    index_t n, d;
    std::string text() const { return std::to_string(n) + "x" + std::to_string(d); }
};
constexpr Size small{100, 20}, large{10000, 100};

// Particles, bounds and weights like those of a run.
template <class T> struct Particles {
    explicit Particles(Size s)
        : x(s.n * s.d), y(s.n * s.d), g(s.n * s.d), c(s.d, T(0.1)), lower(s.d, T(-5.12)),
          upper(s.d, T(5.12)), e(s.n), w(s.n) {
        for (index_t k = 0; k < s.n * s.d; ++k) {
            x[k] = static_cast<T>(-4.0 + 8.0 * static_cast<double>(k % 1013) / 1013);
            y[k] = static_cast<T>(0.5) * x[k];
            g[k] = T(2) * x[k];
        }
        for (index_t i = 0; i < s.n; ++i) {
            e[i] = static_cast<double>(i % 37) + 1.0;
            w[i] = 1.0 / e[i];
        }
    }
    std::vector<T> x, y, g, c, lower, upper;
    std::vector<double> e, w;
};

enum Feature { none = 0, isotropic = 1, memory = 2, gradient = 4, clip = 8, batch = 16 };

template <class T>
void move(benchmark::State& state, const CboKernels<T>& table, Size s, int features) {
    Particles<T> p(s);
    std::vector<index_t> half;
    for (index_t i = 0; i < s.n; i += 2) half.push_back((i * 7) % s.n);
    Move<T> m;
    m.d = s.d;
    m.x = p.x.data();
    m.center = p.c.data();
    m.best = features & memory ? p.y.data() : nullptr;
    m.gradient = features & gradient ? p.g.data() : nullptr;
    m.rows = features & batch ? half.data() : nullptr;
    m.drift = T(0.1), m.diffusion = T(0.5), m.memory_drift = T(0.1), m.memory_diffusion = T(0.1);
    m.truncation = std::numeric_limits<T>::infinity();
    m.gradient_weight = T(1e-3);
    m.lower = p.lower.data(), m.upper = p.upper.data();
    m.isotropic = features & isotropic, m.clip = features & clip;
    m.draw = {{1, 2}, 0, 3};
    const index_t moved = features & batch ? static_cast<index_t>(half.size()) : s.n;
    for (auto _ : state) {
        table.move(m, 0, moved);
        ++m.draw.iteration;
        benchmark::ClobberMemory();
    }
    count_items(state, moved * s.d);
}

template <class T> void hop(benchmark::State& state, const CboKernels<T>& table, Size s) {
    Particles<T> p(s);
    std::vector<T> step(s.d, T(0.1));
    Move<T> m;
    m.d = s.d;
    m.x = p.x.data(), m.center = p.c.data(), m.lower = p.lower.data(), m.upper = p.upper.data();
    m.draw = {{1, 2}, 0, 3};
    for (auto _ : state) {
        table.hop(m, step.data(), 0, s.n);
        ++m.draw.iteration;
        benchmark::ClobberMemory();
    }
    count_items(state, s.n * s.d);
}

template <class T> void consensus(benchmark::State& state, const CboKernels<T>& table, Size s) {
    const Particles<T> p(s);
    std::vector<double> sums(s.d + 1);
    for (auto _ : state) {
        table.weighted_sum(p.w.data(), p.x.data(), nullptr, s.d, 0, s.n, sums.data());
        benchmark::DoNotOptimize(sums.data());
        benchmark::ClobberMemory();
    }
    count_items(state, s.n * s.d);
}

template <class T> void gibbs_weights(benchmark::State& state, const CboKernels<T>& table, Size s) {
    Particles<T> p(s);
    for (auto _ : state) {
        table.gibbs(p.e.data(), s.n, 0.2, 1.0, p.w.data());
        benchmark::ClobberMemory();
    }
    count_items(state, s.n);
}

// The effective sample size at one alpha; its bisection takes 10 to 20 of these.
template <class T>
void effective_size(benchmark::State& state, const CboKernels<T>& table, Size s) {
    const Particles<T> p(s);
    double sums[2];
    for (auto _ : state) {
        table.gibbs_sums(p.e.data(), s.n, 0.2, 1.0, sums);
        benchmark::DoNotOptimize(sums);
    }
    count_items(state, s.n);
}

template <class T> void polarize(benchmark::State& state, const CboKernels<T>& table, Size s) {
    const Particles<T> p(s);
    const std::vector<T> inverse_width(s.d, T(1));
    std::vector<T> centers(s.n * s.d);
    std::vector<double> scratch(s.n);
    for (auto _ : state) {
        table.polarize(p.x.data(), p.e.data(), s.n, s.d, 0.2, 1.0, inverse_width.data(), 0, s.n,
                       scratch.data(), centers.data());
        benchmark::ClobberMemory();
    }
    count_items(state, s.n * s.n * s.d);
}

template <class T> void add(const Kernels& kernels, const std::string& level) {
    const CboKernels<T>& table = cbo_table<T>(kernels);
    const auto one = [&](const std::string& what, Size s, auto run) {
        const std::string title = what + "_" + type_name<T>() + "_" + s.text() + "/" + level;
        benchmark::RegisterBenchmark(title.c_str(), run);
    };
    for (const Size s : {small, large}) {
        const auto moving = [&](const char* what, int features) {
            one(what, s, [=](benchmark::State& state) { move<T>(state, table, s, features); });
        };
        moving("move_anisotropic", none);
        moving("move_isotropic", isotropic);
        moving("move_memory", memory);
        moving("move_isotropic_memory", isotropic | memory);
        moving("move_gradient", gradient);
        moving("move_clip", clip);
        moving("move_batch", batch);
        one("hop", s, [=](benchmark::State& state) { hop<T>(state, table, s); });
        one("consensus", s, [=](benchmark::State& state) { consensus<T>(state, table, s); });
        one("gibbs", s, [=](benchmark::State& state) { gibbs_weights<T>(state, table, s); });
        one("effective_size", s,
            [=](benchmark::State& state) { effective_size<T>(state, table, s); });
    }
    const Size crowd{500, 20}; // quadratic in n
    one("polarize", crowd, [=](benchmark::State& state) { polarize<T>(state, table, crowd); });
}

const bool registered = [] {
    for_levels([](const Kernels& kernels, const std::string& level) {
        add<double>(kernels, level);
        add<float>(kernels, level);
    });
    return true;
}();

} // namespace
} // namespace fastopt

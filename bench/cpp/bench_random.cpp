// Philox words, uniforms and normals: 2048 at a time, as the move kernel draws them.
#include <vector>

#include "levels.hpp"

namespace fastopt {
namespace {

constexpr index_t count = 2048;

template <class T>
void fill(benchmark::State& state, void (*kernel)(T*, std::uint64_t, index_t, const Draw&)) {
    std::vector<T> out(count);
    Draw draw{{1, 2}, 0, 3};
    for (auto _ : state) {
        kernel(out.data(), 0, count, draw);
        ++draw.iteration;
        benchmark::DoNotOptimize(out.data());
        benchmark::ClobberMemory();
    }
    count_items(state, count);
}

const bool registered = [] {
    for_levels([](const Kernels& table, const std::string& level) {
        const RandomKernels& r = table.random;
        const auto add = [&](const std::string& what, auto kernel) {
            using T = typename std::remove_pointer<decltype(kernel)>::type;
            static_assert(std::is_function_v<T>);
            benchmark::RegisterBenchmark((what + "/" + level).c_str(),
                                         [kernel](benchmark::State& s) { fill(s, kernel); });
        };
        add("philox_words", r.words);
        add("uniform_f32", r.uniform_f32);
        add("uniform_f64", r.uniform_f64);
        add("normal_f32", r.normal_f32);
        add("normal_f64", r.normal_f64);
    });
    return true;
}();

} // namespace
} // namespace fastopt

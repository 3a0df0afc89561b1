// The elementary functions of core/vmath.hpp on 1024 numbers between 0.01 and 8.
#include <vector>

#include "levels.hpp"
#include "vmath_loops.hpp"

namespace fastopt {
namespace {

constexpr index_t count = 1024;

template <class T> void apply(benchmark::State& state, Loop<T> loop) {
    std::vector<T> x(count), y(count);
    for (index_t i = 0; i < count; ++i)
        x[i] = static_cast<T>(0.01 + 7.99 * static_cast<double>(i) / count);
    for (auto _ : state) {
        loop(x.data(), count, y.data());
        benchmark::DoNotOptimize(y.data());
        benchmark::ClobberMemory();
    }
    count_items(state, count);
}

template <class T> void add(const VmathLoops<T>& loops, const std::string& level) {
    const auto one = [&](const char* what, Loop<T> loop) {
        benchmark::RegisterBenchmark((what + ("_" + type_name<T>()) + "/" + level).c_str(),
                                     [loop](benchmark::State& s) { apply<T>(s, loop); });
    };
    one("vlog", loops.log);
    one("vexp", loops.exp);
    one("vsinpi", loops.sinpi);
    one("vcospi", loops.cospi);
    one("vsincospi", loops.sincospi);
    one("vsqrt", loops.sqrt);
}

void add(const VmathTables& tables, Isa level) {
    if (level > best_isa()) return;
    add(tables.f64, name(level));
    add(tables.f32, name(level));
}

const bool registered = [] {
    add(baseline::vmath_tables, Isa::baseline);
#if defined(__x86_64__)
    add(avx2::vmath_tables, Isa::avx2);
    add(avx512::vmath_tables, Isa::avx512);
#endif
    return true;
}();

} // namespace
} // namespace fastopt

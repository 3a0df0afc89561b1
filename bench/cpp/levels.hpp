// The kernel tables of every instruction set that this CPU has, and how a benchmark is registered
// for each of them.
#pragma once

#include <benchmark/benchmark.h>

#include <string>

#include "kernels.hpp"

namespace fastopt {

namespace baseline {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif

// f(table, level name) for each level, the lowest first.
template <class F> void for_levels(F f) {
    f(baseline::kernels, std::string(name(Isa::baseline)));
#if defined(__x86_64__)
    if (best_isa() >= Isa::avx2) f(avx2::kernels, std::string(name(Isa::avx2)));
    if (best_isa() >= Isa::avx512) f(avx512::kernels, std::string(name(Isa::avx512)));
#endif
}

// The column `per_item`: time of one number, coordinate or particle.
inline void count_items(benchmark::State& state, index_t items) {
    using benchmark::Counter;
    state.counters["per_item"] =
        Counter(static_cast<double>(items), Counter::kIsIterationInvariantRate | Counter::kInvert);
}

template <class T> const CboKernels<T>& cbo_table(const Kernels& table) {
    if constexpr (sizeof(T) == sizeof(double))
        return table.cbo_f64;
    else
        return table.cbo_f32;
}

template <class T> std::string type_name() { return sizeof(T) == sizeof(double) ? "f64" : "f32"; }

} // namespace fastopt

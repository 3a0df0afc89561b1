#include "core/isa.hpp"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace fastopt {

Isa best_isa() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return Isa::avx512;
    if (__builtin_cpu_supports("avx2")) return Isa::avx2;
#endif
    return Isa::baseline;
}

namespace {

Isa choose() {
    const Isa top = best_isa();
    if (const char* wanted = std::getenv("FASTOPT_ISA"))
        for (Isa level : {Isa::baseline, Isa::avx2, Isa::avx512})
            if (std::strcmp(wanted, name(level)) == 0) return level < top ? level : top;
    return top;
}

} // namespace

Isa isa() {
    static const Isa chosen = choose();
    return chosen;
}

const char* name(Isa level) {
    switch (level) {
    case Isa::avx2:
        return "avx2";
    case Isa::avx512:
        return "avx512";
    default:
        return "baseline";
    }
}

} // namespace fastopt

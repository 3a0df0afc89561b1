// Plain loops over the functions of core/vmath.hpp, compiled once per instruction set.
#pragma once

#include "core/types.hpp"

namespace fastopt {

template <class T> using Loop = void (*)(const T* x, index_t n, T* y);

template <class T> struct VmathLoops {
    Loop<T> log, exp, sinpi, cospi, sincospi, sqrt;
};

struct VmathTables {
    VmathLoops<double> f64;
    VmathLoops<float> f32;
};

namespace baseline {
extern const VmathTables vmath_tables;
}
#if defined(__x86_64__)
namespace avx2 {
extern const VmathTables vmath_tables;
}
namespace avx512 {
extern const VmathTables vmath_tables;
}
#endif

} // namespace fastopt

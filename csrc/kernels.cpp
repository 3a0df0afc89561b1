// Every kernel of the engine, compiled once per instruction set (FASTOPT_LEVEL = baseline, avx2,
// avx512 from CMake). The bodies live in .inl files; nothing here or there may allocate, throw or
// call out-of-line templates, because the linker could hand another level's copy to an older CPU.
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>

#include "core/vmath.hpp"
#include "kernels.hpp"

namespace fastopt {
namespace FASTOPT_LEVEL {

#include "core/random_functors.inl"

#include "core/random.inl"

#include "cbo/objective_functors.inl"

#include "cbo/objectives.inl"

#include "cbo/cbo_functors.inl"

#include "cbo/cbo_kernels.inl"

#include "sketch_newton/sketch_kernels.inl"

extern const Kernels kernels;
const Kernels kernels = {random_table, cbo_table<double>(), cbo_table<float>(),
                         sketch_table<double>(), sketch_table<float>()};

} // namespace FASTOPT_LEVEL
} // namespace fastopt

// The few types that every room of the house shares.
#pragma once

#include <cstddef>
#include <cstdint>

// FASTOPT_HD marks mathematics that is compiled once for the CPU (per instruction set) and once for
// a GPU. On the CPU it is forced inline: the kernel files are compiled several times with different
// instruction sets, and an out-of-line copy could be shared between them by the linker.
// FASTOPT_EITHER_SIDE stands before a FASTOPT_HD template that calls a functor of one side only.
#if defined(__CUDACC__)
#define FASTOPT_HD __host__ __device__ inline
#define FASTOPT_EITHER_SIDE _Pragma("nv_exec_check_disable")
#else
#define FASTOPT_HD [[gnu::always_inline]] inline
#define FASTOPT_EITHER_SIDE
#endif

#define FASTOPT_RESTRICT __restrict__

namespace fastopt {

using index_t = std::int64_t;

// A value of particle coordinates: `double` or `float`. Objective values are always double.
enum class DType { float64, float32 };

} // namespace fastopt

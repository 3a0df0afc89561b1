// One wheel for every CPU: kernels are compiled once per instruction set and chosen at load time.
// All levels give the same bits; the choice changes only the speed.
#pragma once

namespace fastopt {

enum class Isa { baseline, avx2, avx512 };

// The best level of this CPU, or the one named by the environment variable FASTOPT_ISA
// (baseline, avx2, avx512; a level that the CPU lacks falls back to the best that it has).
Isa isa();
Isa best_isa(); // of this CPU
const char* name(Isa level);

} // namespace fastopt

// Random arrays as pure functions of (key, iteration, stream, flat index).
//
// Element e of a draw comes from Philox blocks numbered from e alone, so any part of an array can
// be made by any thread, rank or device: draw(first = a, count = b - a) equals that part of draw(0,
// b). Words are used in groups of 16 blocks, so that 16 lanes work side by side without shuffling:
//   float : 64 elements a group; element 16 m + b uses word m of block b
//   double: 32 elements a group; element 16 h + b uses words 2h, 2h + 1 of block b
// Normals are Box-Muller pairs: (radius word, angle word) of a block give elements m and m + 1.
// A float normal spends one 32-bit word on each number: the radius has 31 bits and reaches 6.66
// sigma. A double normal spends two and reaches 8.57 sigma.
#pragma once

#include "core/philox.hpp"
#include "core/types.hpp"

namespace fastopt {

void fill_normal(float* out, std::uint64_t first, index_t count, const Draw& draw);
void fill_normal(double* out, std::uint64_t first, index_t count, const Draw& draw);

// Uniform on the open interval (0, 1): 23 bits in float, 52 in double.
void fill_uniform(float* out, std::uint64_t first, index_t count, const Draw& draw);
void fill_uniform(double* out, std::uint64_t first, index_t count, const Draw& draw);

// Integers in [0, n) without bias worth the name (n < 2^31), for shuffles and choices.
FASTOPT_HD std::uint32_t scale_word(std::uint32_t word, std::uint32_t n) {
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(word) * n) >> 32);
}
void fill_words(std::uint32_t* out, std::uint64_t first, index_t count, const Draw& draw);

// The same functions as compiled for one instruction set (core/isa.hpp chooses).
struct RandomKernels {
    void (*normal_f32)(float*, std::uint64_t, index_t, const Draw&);
    void (*normal_f64)(double*, std::uint64_t, index_t, const Draw&);
    void (*uniform_f32)(float*, std::uint64_t, index_t, const Draw&);
    void (*uniform_f64)(double*, std::uint64_t, index_t, const Draw&);
    void (*words)(std::uint32_t*, std::uint64_t, index_t, const Draw&);
};

} // namespace fastopt

// The random numbers behind the sketches of sketch.hpp, as every backend draws them.
#pragma once

#include <vector>

#include "core/random.hpp"
#include "sketch_newton/sketch.hpp"

namespace fastopt {

namespace sketch_streams { // of the generator
enum : std::uint32_t { hashes = 40, normals, signs, rows_drawn, mixing_signs, directions };
}

void check_sketch(index_t n, const SketchOptions& o); // of n rows of data
Draw draw_of(const SketchOptions& o, std::uint32_t stream);
index_t nonzeros_of(const SketchOptions& o);

// Where row block k of S begins; column i has one entry in each of the `nonzeros` row blocks.
FASTOPT_HD index_t row_block(index_t k, index_t size, index_t nonzeros) {
    return k * size / nonzeros;
}

// Column i of S has entry k at row target >> 1 with the sign of its lowest bit.
std::vector<std::uint32_t> sparse_targets(index_t first, index_t count, const SketchOptions& o);

index_t padded_length(index_t n); // of the Hadamard transform: a power of two

// The `size` rows of H that are kept: distinct while size <= 2^p.
std::vector<index_t> kept_rows(index_t length, const SketchOptions& o);

// Row sampling: each row of S holds `mixed` rows of the data.
struct Sampled {
    index_t mixed;
    std::vector<index_t> row; // size x mixed
    std::vector<double> factor;
};
Sampled sample_rows(index_t n, const SketchOptions& o);

} // namespace fastopt

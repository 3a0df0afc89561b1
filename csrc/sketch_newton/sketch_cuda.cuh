// Device kernels of the sketches. S A is gathered: the entries of S are sorted by rows once per
// draw, with integers only, and every number of S A is a sum of one thread over the rows of A in
// ascending order, as on the CPU: the same bits, without atomic operations. (The Gaussian sketch is
// a matrix product, which agrees within rounding.) n rows of A, d columns of T bytes each, m rows
// of S A.
//
// "Bytes" counts each byte of device memory once, as caches that hold the rest would; `scaled` is 1
// where the rows have a scale, else 0. tests/cuda_emu/test_sketch_traffic.cpp counts them.
#pragma once

#include "backend/launch.cuh"
#include "core/philox.hpp"
#include "core/vmath.hpp"
#include "sketch_newton/sketch_draws.hpp"

namespace fastopt {
namespace gpu {

#include "core/random_functors.inl"

// ---- random numbers, a thread a Philox block ---------------------------------------------------

struct PhiloxBlock {
    Key key;
    std::uint64_t iteration, stream;
    __device__ void operator()(std::uint64_t b, std::uint32_t w[4]) const {
        std::uint32_t counter[4];
        counter_of({key, iteration, static_cast<std::uint32_t>(stream)}, b, counter);
        philox4x32(counter, key, w);
    }
};

// fill_words(out, 0, count), four an item. Bytes: reads 0; writes 4 count.
struct Words {
    PhiloxBlock draw;
    index_t count;
    std::uint32_t* out;
    __device__ void operator()(index_t b) const {
        std::uint32_t w[4];
        draw(static_cast<std::uint64_t>(b), w);
        const index_t first = b / lanes * 4 * lanes + b % lanes;
        for (int m = 0; m < 4; ++m)
            if (first + m * lanes < count) out[first + m * lanes] = w[m];
    }
};

template <class T> FASTOPT_HD constexpr index_t normals_of_block() {
    return sizeof(T) == 8 ? 2 : 4;
}

// Rows of a Gaussian S, its elements first .. end - 1, times unit scale_i: an item two doubles or
// four floats. Bytes: reads scaled T n; writes T part n.
template <class T> struct GaussianRows {
    PhiloxBlock draw;
    index_t n, first, end;
    double unit;
    const T* scale;
    T* out;
    __device__ void operator()(index_t at) const {
        constexpr index_t count = normals_of_block<T>(), group = count * lanes;
        const index_t b = first / group * lanes + at, e = b / lanes * group + b % lanes;
        std::uint32_t w[4];
        T z[count];
        draw(static_cast<std::uint64_t>(b), w);
        if constexpr (count == 2) {
            normal_pair(w[0], w[1], w[2], w[3], z[0], z[1]);
        } else {
            normal_pair(w[0], w[1], z[0], z[1]);
            normal_pair(w[2], w[3], z[2], z[3]);
        }
        for (index_t m = 0; m < count; ++m) {
            const index_t to = e + m * lanes;
            if (to < first || to >= end) continue;
            const T by = static_cast<T>(unit);
            out[to - first] = z[m] * (scale ? by * scale[to % n] : by);
        }
    }
};

// ---- SJLT and CountSketch ----------------------------------------------------------------------

// A counting sort of the entries of S by rows that keeps the order of the columns. One thread has a
// piece of the columns and one row block of S, whose counters no other thread touches.
struct SparseEntries {
    index_t n, size, nonzeros, piece; // columns of a piece
    const std::uint32_t* words;       // n x nonzeros
    index_t* counts;                  // pieces x size
    template <class Visit> __device__ void visit(index_t at, Visit visit) const {
        const index_t p = at / nonzeros, k = at - p * nonzeros;
        const index_t end = (p + 1) * piece < n ? (p + 1) * piece : n;
        const index_t low = row_block(k, size, nonzeros);
        const auto width = static_cast<std::uint32_t>(row_block(k + 1, size, nonzeros) - low);
        FASTOPT_NOT_UNROLLED
        for (index_t i = p * piece; i < end; ++i) {
            const std::uint32_t word = words[i * nonzeros + k];
            const index_t row = low + static_cast<index_t>(scale_word(word, width));
            visit(i, row, word & 1u, counts[p * size + row]);
        }
    }
};
// Counters that are `hit` are no more than all of them, or than the entries of S.
// Bytes: reads 4 n s + 8 hit; writes 8 hit.
struct CountEntries {
    SparseEntries all;
    __device__ void operator()(index_t at) const {
        all.visit(at, [](index_t, index_t, std::uint32_t, index_t& count) { ++count; });
    }
};
// Counters become those of the pieces before; total_r is the length of a row.
// Bytes: reads 8 pieces m; writes 8 pieces m + 8 m.
struct SumPieces {
    index_t size, pieces;
    index_t* counts;
    index_t* total;
    __device__ void operator()(index_t row) const {
        index_t sum = 0;
        for (index_t p = 0; p < pieces; ++p) {
            const index_t count = counts[p * size + row];
            counts[p * size + row] = sum;
            sum += count;
        }
        total[row] = sum;
    }
};
// start_r = the sum of total_q, q < r; start_size that of all: one block. `dynamic_shared` holds a
// number a thread. Bytes: reads 8 m; writes 8 m + 8.
__global__ void __launch_bounds__(block_size)
    row_starts(const index_t* __restrict__ total, index_t size, index_t* __restrict__ start) {
    index_t* sums = dynamic_shared<index_t>();
    const index_t part = (size + threads() - 1) / threads(), first = thread() * part;
    const index_t end = first + part < size ? first + part : size;
    index_t sum = 0;
    for (index_t r = first; r < end; ++r) sum += total[r];
    sums[thread()] = sum;
    __syncthreads();
    index_t before = 0;
    for (int t = 0; t < thread(); ++t) before += sums[t];
    for (index_t r = first; r < end; ++r) {
        start[r] = before;
        before += total[r];
    }
    if (first < size && end == size) start[size] = before;
}
// entry: 2 i + (1 where the sign is negative). `filled` rows of S have entries.
// Bytes: reads 4 n s + 8 hit + 8 filled; writes 8 hit + 8 n s.
struct PlaceEntries {
    SparseEntries all;
    const index_t* start;
    index_t* entry;
    __device__ void operator()(index_t at) const {
        all.visit(at, [this](index_t i, index_t row, std::uint32_t negative, index_t& before) {
            entry[start[row] + before++] = 2 * i + static_cast<index_t>(negative);
        });
    }
};
// One number of S diag(scale) A. A is asked for s times.
// Bytes: reads T (n d + scaled n) + 8 (n s + m + 1); writes T m d.
template <class T> struct SparseGather {
    index_t d;
    double unit;
    const T* a;
    const T* scale;
    const index_t* start;
    const index_t* entry;
    T* out;
    __device__ void operator()(index_t at) const {
        const index_t r = at / d, j = at - r * d;
        T sum = 0;
        for (index_t q = start[r]; q < start[r + 1]; ++q) {
            const index_t i = entry[q] / 2;
            const T by = static_cast<T>(unit), size = scale ? by * scale[i] : by;
            sum += (entry[q] % 2 ? -size : size) * a[i * d + j];
        }
        out[at] = sum;
    }
};

// ---- SRHT --------------------------------------------------------------------------------------

// x (length x d) = +-unit diag(scale) A, zeros below; a word has the signs of 32 rows.
// Bytes: reads T (n d + scaled n) + 4 words; writes T length d.
template <class T> struct SignedRows {
    index_t n, d;
    double unit;
    const T* a;
    const T* scale;
    const std::uint32_t* sign; // a bit a row
    T* x;
    __device__ void operator()(index_t at) const {
        const index_t i = at / d;
        if (i >= n) {
            x[at] = 0;
            return;
        }
        const T by = static_cast<T>(unit), size = scale ? by * scale[i] : by;
        x[at] = (sign[i / 32] >> (i % 32) & 1u ? -size : size) * a[at];
    }
};
// `levels` levels of the Hadamard transform, from distance h on: an item 2^levels numbers.
// Bytes: reads T length d; writes T length d.
template <class T, int levels> struct Butterflies {
    index_t h, d;
    T* x;
    __device__ void operator()(index_t at) const {
        constexpr int count = 1 << levels;
        const index_t q = at / d, j = at - q * d, upper = q / h;
        T* first = x + (upper * h * count + (q - upper * h)) * d + j;
        T v[count];
        for (int r = 0; r < count; ++r) v[r] = first[r * h * d];
        for (int bit = 1; bit < count; bit *= 2)
            for (int r = 0; r < count; ++r) {
                if (r & bit) continue;
                const T sum = v[r] + v[r | bit];
                v[r | bit] = v[r] - v[r | bit];
                v[r] = sum;
            }
        for (int r = 0; r < count; ++r) first[r * h * d] = v[r];
    }
};
// Rows of x, `kept` of them different. Bytes: reads 8 m + T kept d; writes T m d.
template <class T> struct KeptRows {
    index_t d;
    const index_t* kept;
    const T* x;
    T* out;
    __device__ void operator()(index_t at) const {
        const index_t r = at / d;
        out[at] = x[kept[r] * d + (at - r * d)];
    }
};

// ---- row sampling ------------------------------------------------------------------------------

// One number of S diag(scale) A, which mixes `mixed` rows of A, `drawn` different ones in all.
// Bytes: reads 16 m mixed + T drawn (d + scaled); writes T m d.
template <class T> struct SampledRows {
    index_t d, mixed;
    const index_t* row;
    const double* factor;
    const T* a;
    const T* scale;
    T* out;
    __device__ void operator()(index_t at) const {
        const index_t r = at / d, j = at - r * d;
        T sum = 0;
        for (index_t k = r * mixed; k < (r + 1) * mixed; ++k) {
            const index_t i = row[k];
            sum += static_cast<T>(factor[k]) * (scale ? scale[i] : T(1)) * a[i * d + j];
        }
        out[at] = sum;
    }
};

} // namespace gpu
} // namespace fastopt

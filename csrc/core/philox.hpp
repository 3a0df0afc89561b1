// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11):
// random words as a pure function of a counter and a key. No generator has state anywhere.
#pragma once

#include "core/types.hpp"

namespace fastopt {

struct Key {
    std::uint32_t k0 = 0, k1 = 0;
};

namespace philox {
constexpr std::uint32_t M0 = 0xD2511F53u, M1 = 0xCD9E8D57u; // multipliers
constexpr std::uint32_t W0 = 0x9E3779B9u, W1 = 0xBB67AE85u; // key increments
constexpr int rounds = 10;
} // namespace philox

FASTOPT_HD void philox4x32(const std::uint32_t counter[4], Key key, std::uint32_t out[4]) {
    using namespace philox;
    std::uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int r = 0; r < rounds; ++r) {
        const std::uint64_t p0 = static_cast<std::uint64_t>(M0) * c0;
        const std::uint64_t p1 = static_cast<std::uint64_t>(M1) * c2;
        c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ key.k0;
        c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ key.k1;
        c1 = static_cast<std::uint32_t>(p1);
        c3 = static_cast<std::uint32_t>(p0);
        key.k0 += W0;
        key.k1 += W1;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

// Where in the sea of random words a draw lies. `stream` separates uses within an iteration
// (< 65536); `iteration` is any 64-bit counter.
struct Draw {
    Key key;
    std::uint64_t iteration = 0;
    std::uint32_t stream = 0;
};

// The counter of block `b` (four words) of a draw; blocks are numbered below 2^48.
FASTOPT_HD void counter_of(const Draw& draw, std::uint64_t b, std::uint32_t counter[4]) {
    counter[0] = static_cast<std::uint32_t>(b);
    counter[1] = static_cast<std::uint32_t>(b >> 32) | (draw.stream << 16);
    counter[2] = static_cast<std::uint32_t>(draw.iteration);
    counter[3] = static_cast<std::uint32_t>(draw.iteration >> 32);
}

} // namespace fastopt

// Philox4x32-10 against the known answers of Random123 (Salmon et al. 2011, kat_vectors).
#include "core/philox.hpp"

#include <doctest/doctest.h>

#include <array>
#include <set>

using namespace fastopt;

namespace {

using Words = std::array<std::uint32_t, 4>;

Words philox_of(const Words& counter, Key key) {
    Words out;
    philox4x32(counter.data(), key, out.data());
    return out;
}

} // namespace

TEST_CASE("philox4x32-10 gives the known answers") {
    const std::uint32_t ones = 0xffffffffu;
    CHECK(philox_of({0, 0, 0, 0}, {0, 0}) ==
          Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
    CHECK(philox_of({ones, ones, ones, ones}, {ones, ones}) ==
          Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
    CHECK(philox_of({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u},
                    {0xa4093822u, 0x299f31d0u}) ==
          Words{0xd16cfe09u, 0x94fdcceb, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("each bit of counter and key changes about half of the output bits") {
    const Words counter = {1, 2, 3, 4};
    const Key key{5, 6};
    const Words base = philox_of(counter, key);
    for (int bit = 0; bit < 192; ++bit) {
        Words c = counter;
        Key k = key;
        const std::uint32_t flip = 1u << (bit % 32);
        if (bit < 128)
            c[static_cast<std::size_t>(bit / 32)] ^= flip;
        else
            (bit < 160 ? k.k0 : k.k1) ^= flip;
        const Words other = philox_of(c, k);
        int changed = 0;
        for (std::size_t i = 0; i < 4; ++i) changed += __builtin_popcount(base[i] ^ other[i]);
        CAPTURE(bit);
        CHECK(changed > 64 - 32); // 5.6 standard deviations of a fair coin thrown 128 times
        CHECK(changed < 64 + 32);
    }
}

TEST_CASE("draws never share a counter") {
    std::set<Words> seen;
    std::size_t made = 0;
    for (std::uint64_t iteration : {0ull, 1ull, 1ull << 32, ~0ull})
        for (std::uint32_t stream : {0u, 1u, 2u, 65535u})
            for (std::uint64_t block : {0ull, 1ull, 0xffffffffull, 1ull << 32, (1ull << 48) - 1}) {
                Words c;
                counter_of({{7, 8}, iteration, stream}, block, c.data());
                seen.insert(c);
                ++made;
            }
    CHECK(seen.size() == made);
}

// Random arrays: their layout, their distribution, and that nothing but the element's own number
// decides its value: neither the cut of the array, nor the instruction set.
#include "core/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/isa.hpp"
#include "core/vmath.hpp"
#include "hash.hpp"
#include "kernels.hpp"

using namespace fastopt;

namespace {

namespace portable { // the group makers themselves, fed with words of our choice
#include "core/random_functors.inl"

#include "core/random.inl"
} // namespace portable

constexpr Draw some_draw{{0x12345678u, 0x9abcdef0u}, 3, 5};

template <class T> std::vector<T> normals(index_t n, const Draw& draw, std::uint64_t first = 0) {
    std::vector<T> out(static_cast<std::size_t>(n));
    fill_normal(out.data(), first, n, draw);
    return out;
}
template <class T> std::vector<T> uniforms(index_t n, const Draw& draw, std::uint64_t first = 0) {
    std::vector<T> out(static_cast<std::size_t>(n));
    fill_uniform(out.data(), first, n, draw);
    return out;
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double uniform_cdf(double x) { return std::min(std::max(x, 0.0), 1.0); }

// sqrt(n) times the Kolmogorov-Smirnov distance; exceeds 1.95 with probability .001.
template <class T> double kolmogorov(std::vector<T> x, double (*cdf)(double)) {
    std::sort(x.begin(), x.end());
    const double n = static_cast<double>(x.size());
    double distance = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double p = cdf(static_cast<double>(x[i]));
        distance = std::max(
            {distance, p - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - p});
    }
    return distance * std::sqrt(n);
}

template <class T> double correlation(const std::vector<T>& a, const std::vector<T>& b) {
    const std::size_t n = std::min(a.size(), b.size());
    double ab = 0, aa = 0, bb = 0, ma = 0, mb = 0;
    for (std::size_t i = 0; i < n; ++i)
        ma += static_cast<double>(a[i]), mb += static_cast<double>(b[i]);
    ma /= static_cast<double>(n), mb /= static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i) {
        const double u = static_cast<double>(a[i]) - ma, v = static_cast<double>(b[i]) - mb;
        ab += u * v, aa += u * u, bb += v * v;
    }
    return ab / std::sqrt(aa * bb) * std::sqrt(static_cast<double>(n)); // about N(0, 1)
}

} // namespace

TEST_CASE("the instruction set is the one that was asked for") {
    const char* asked = std::getenv("FASTOPT_ISA");
    if (!asked) return;
    bool known = false;
    for (const Isa level : {Isa::baseline, Isa::avx2, Isa::avx512})
        if (std::string(asked) == name(level)) {
            known = true;
            CHECK(isa() == std::min(level, best_isa()));
        }
    CHECK(known);
}

TEST_CASE("words lie as the header says") {
    const index_t n = 64 * 5;
    std::vector<std::uint32_t> words(static_cast<std::size_t>(n));
    fill_words(words.data(), 0, n, some_draw);
    for (index_t e = 0; e < n; ++e) {
        const index_t group = e / 64, word = e % 64 / 16, block = 16 * group + e % 16;
        std::uint32_t counter[4], out[4];
        counter_of(some_draw, static_cast<std::uint64_t>(block), counter);
        philox4x32(counter, some_draw.key, out);
        CHECK(words[static_cast<std::size_t>(e)] == out[word]);
    }
}

TEST_CASE("numbers are made of words as the header says") {
    const index_t n = 64 * 3;
    std::vector<std::uint32_t> words(static_cast<std::size_t>(2 * n));
    fill_words(words.data(), 0, 2 * n, some_draw);
    const auto u32 = uniforms<float>(n, some_draw), z32 = normals<float>(n, some_draw);
    const auto u64 = uniforms<double>(n, some_draw), z64 = normals<double>(n, some_draw);
    const double pi = 3.14159265358979323846;
    const auto word = [&](index_t group, index_t m, index_t lane) {
        return words[static_cast<std::size_t>(64 * group + 16 * m + lane)];
    };
    for (index_t e = 0; e < n; ++e) {
        const std::size_t i = static_cast<std::size_t>(e);
        const index_t lane = e % 16;
        CAPTURE(e);
        { // single precision: 64 a group, pairs of words 0, 1 and 2, 3
            const index_t g = e / 64, m = e % 64 / 16, pair = m / 2 * 2;
            CHECK(u32[i] == (static_cast<float>(word(g, m, lane) >> 9) + 0.5f) / 8388608.0f);
            const double u = (static_cast<double>(word(g, pair, lane) >> 1) + 0.5) / 2147483648.0;
            const double angle =
                pi * static_cast<double>(static_cast<std::int32_t>(word(g, pair + 1, lane))) /
                2147483648.0;
            const double radius = std::sqrt(-2 * std::log(u));
            const double want = radius * (m % 2 ? std::sin(angle) : std::cos(angle));
            CHECK(std::fabs(static_cast<double>(z32[i]) - want) < 2e-6);
        }
        { // double precision: 32 a group, two words a number
            const index_t g = e / 32, h = e % 32 / 16;
            const auto unit = [&](index_t half) {
                const std::uint64_t high = word(g, 2 * half, lane),
                                    low = word(g, 2 * half + 1, lane);
                return (static_cast<double>((high << 20) | (low >> 12)) + 0.5) * std::exp2(-52);
            };
            CHECK(u64[i] == unit(h));
            const double radius = std::sqrt(-2 * std::log(unit(0))), angle = 2 * pi * unit(1);
            const double want = radius * (h ? std::sin(angle) : std::cos(angle));
            CHECK(std::fabs(z64[i] - want) < 1e-14);
        }
    }
}

TEST_CASE_TEMPLATE("any cut of an array gives the same numbers", T, double, float) {
    const index_t n = 1000;
    for (const std::uint64_t base :
         {std::uint64_t{0}, (std::uint64_t{1} << 34) - 300, (std::uint64_t{1} << 40) + 17}) {
        const auto z = normals<T>(n, some_draw, base), u = uniforms<T>(n, some_draw, base);
        for (index_t from = 0; from < 200; from += 7)
            for (const index_t count :
                 {0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 200, 777}) {
                CAPTURE(from);
                CAPTURE(count);
                const auto first = base + static_cast<std::uint64_t>(from);
                const auto zc = normals<T>(count, some_draw, first);
                const auto uc = uniforms<T>(count, some_draw, first);
                CHECK(std::equal(zc.begin(), zc.end(), z.begin() + from));
                CHECK(std::equal(uc.begin(), uc.end(), u.begin() + from));
            }
    }
}

TEST_CASE_TEMPLATE("a fill writes its own elements only", T, double, float) {
    for (const index_t count : {0, 1, 16, 63, 64, 65, 100}) {
        std::vector<T> z(static_cast<std::size_t>(count + 20), T(99));
        fill_normal(z.data() + 10, 5, count, some_draw);
        for (std::size_t i = 0; i < 10; ++i) {
            CHECK(z[i] == T(99));
            CHECK(z[z.size() - 1 - i] == T(99));
        }
    }
}

TEST_CASE_TEMPLATE("normals: moments and distribution", T, double, float) {
    const index_t n = 1 << 20;
    const auto z = normals<T>(n, some_draw);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    for (const T t : z) {
        const double v = static_cast<double>(t);
        m1 += v, m2 += v * v, m3 += v * v * v, m4 += v * v * v * v;
    }
    const double root = std::sqrt(static_cast<double>(n));
    // z-scores: the variances of z, z^2, z^3, z^4 are 1, 2, 15, 96
    CHECK(std::fabs(m1 / root) < 4);
    CHECK(std::fabs((m2 - static_cast<double>(n)) / root / std::sqrt(2.0)) < 4);
    CHECK(std::fabs(m3 / root / std::sqrt(15.0)) < 4);
    CHECK(std::fabs((m4 - 3 * static_cast<double>(n)) / root / std::sqrt(96.0)) < 4);
    CHECK(kolmogorov(z, normal_cdf) < 1.95);
}

TEST_CASE_TEMPLATE("uniforms: moments, distribution, open interval", T, double, float) {
    const index_t n = 1 << 20;
    const auto u = uniforms<T>(n, some_draw);
    double m1 = 0, m2 = 0;
    for (const T t : u) {
        const double v = static_cast<double>(t) - 0.5;
        m1 += v, m2 += v * v;
        REQUIRE(t > T(0));
        REQUIRE(t < T(1));
    }
    const double root = std::sqrt(static_cast<double>(n));
    CHECK(std::fabs(m1 / root / std::sqrt(1.0 / 12)) < 4);
    CHECK(std::fabs((m2 - static_cast<double>(n) / 12) / root / std::sqrt(1.0 / 180)) < 4);
    CHECK(kolmogorov(u, uniform_cdf) < 1.95);
}

TEST_CASE("normals: the tails are not cut") {
    const index_t chunk = 1 << 16, chunks = 256; // 16.8 million numbers
    std::vector<float> z(chunk);
    double beyond4 = 0, beyond5 = 0, largest = 0;
    for (index_t c = 0; c < chunks; ++c) {
        fill_normal(z.data(), static_cast<std::uint64_t>(c * chunk), chunk, some_draw);
        for (const float v : z) {
            const double a = std::fabs(static_cast<double>(v));
            beyond4 += a > 4, beyond5 += a > 5;
            largest = std::max(largest, a);
        }
    }
    const double n = static_cast<double>(chunk * chunks);
    const double want4 = n * 2 * normal_cdf(-4), want5 = n * 2 * normal_cdf(-5); // 1063 and 9.6
    CHECK(std::fabs(beyond4 - want4) < 4 * std::sqrt(want4));
    CHECK(std::fabs(beyond5 - want5) < 4 * std::sqrt(want5));
    CHECK(largest < 6.67);
}

TEST_CASE("normals: the extreme words") {
    using namespace portable;
    std::uint32_t w[4][16] = {}; // radius word 0, angle word 0
    float z32[64];
    NormalF32::make(w, z32);
    CHECK(static_cast<double>(z32[0]) ==
          doctest::Approx(std::sqrt(64 * std::log(2.0))).epsilon(1e-6));
    CHECK(z32[0] > 6.66f);
    CHECK(z32[16] == 0.0f);
    double z64[32];
    NormalF64::make(w, z64);
    CHECK(z64[0] == doctest::Approx(std::sqrt(106 * std::log(2.0))));
    CHECK(z64[0] > 8.57);
    for (auto& row : w)
        for (std::uint32_t& word : row) word = 0xffffffffu;
    NormalF32::make(w, z32);
    NormalF64::make(w, z64);
    for (const float v : z32) CHECK(std::fabs(v) < 1e-3f);
    for (const double v : z64) CHECK(std::fabs(v) < 1e-7);
    float u32[64];
    double u64[32];
    UniformF32::make(w, u32);
    UniformF64::make(w, u64);
    for (const float v : u32) CHECK(v < 1.0f);
    for (const double v : u64) CHECK(v < 1.0);
}

TEST_CASE_TEMPLATE("neighbours, streams, iterations and keys are uncorrelated", T, double, float) {
    const index_t n = 1 << 18;
    const auto z = normals<T>(n, some_draw);
    for (const std::size_t lag : {1, 2, 16, 32, 64, 100}) {
        CAPTURE(lag);
        CHECK(std::fabs(correlation(
                  z, std::vector<T>(z.begin() + static_cast<std::ptrdiff_t>(lag), z.end()))) < 4);
    }
    for (int change = 0; change < 5; ++change) {
        Draw other = some_draw;
        if (change == 0) other.stream += 1;
        if (change == 1) other.iteration += 1;
        if (change == 2) other.iteration += std::uint64_t{1} << 32;
        if (change == 3) other.key.k0 += 1;
        if (change == 4) other.key.k1 += 1;
        CAPTURE(change);
        CHECK(std::fabs(correlation(z, normals<T>(n, other))) < 4);
    }
}

TEST_CASE("scale_word covers its range evenly") {
    CHECK(scale_word(0, 7) == 0);
    CHECK(scale_word(0xffffffffu, 7) == 6);
    CHECK(scale_word(0xffffffffu, 1) == 0);
    CHECK(scale_word(0xffffffffu, 0x7fffffffu) == 0x7ffffffeu);
    const index_t n = 70000;
    std::vector<std::uint32_t> words(static_cast<std::size_t>(n));
    fill_words(words.data(), 0, n, some_draw);
    double count[7] = {};
    for (const std::uint32_t w : words) count[scale_word(w, 7)] += 1;
    double chi2 = 0; // 6 degrees of freedom: above 22.5 with probability .001
    for (const double c : count) chi2 += (c - 10000) * (c - 10000) / 10000;
    CHECK(chi2 < 22.5);
}

// Equal on every CPU, at every level, for good: changing one of these is a new version of all runs.
TEST_CASE("golden hashes") {
    const index_t n = 10007;
    CHECK(hash_of(normals<float>(n, some_draw, 5)) == 0x65a4cd8f9fc1828eu);
    CHECK(hash_of(normals<double>(n, some_draw, 5)) == 0xbe4a804825caf89au);
    CHECK(hash_of(uniforms<float>(n, some_draw, 5)) == 0xf8ee4493cda51be8u);
    CHECK(hash_of(uniforms<double>(n, some_draw, 5)) == 0x74a193265c9f44c8u);
}

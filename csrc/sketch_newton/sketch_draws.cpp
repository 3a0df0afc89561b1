#include "sketch_newton/sketch_draws.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "core/parallel.hpp"

namespace fastopt {

using namespace sketch_streams;

void check_sketch(index_t n, const SketchOptions& o) {
    FASTOPT_REQUIRE(o.size >= 1 && o.size < (index_t{1} << 30),
                    "size must be between 1 and 2^30, got " + std::to_string(o.size));
    FASTOPT_REQUIRE(n >= 1, "the data must have at least one row");
    const bool sparse = o.kind == SketchKind::sjlt;
    FASTOPT_REQUIRE(o.nonzeros >= 0 && (!sparse || o.nonzeros <= o.size),
                    "nonzeros must be between 1 and size, got " + std::to_string(o.nonzeros));
}

Draw draw_of(const SketchOptions& o, std::uint32_t stream) { return {o.key, o.iteration, stream}; }

index_t nonzeros_of(const SketchOptions& o) {
    if (o.kind == SketchKind::countsketch) return 1;
    if (o.nonzeros > 0) return o.nonzeros;
    return o.kind == SketchKind::less ? 8 : std::min<index_t>(4, o.size);
}

std::vector<std::uint32_t> sparse_targets(index_t first, index_t count, const SketchOptions& o) {
    const index_t s = nonzeros_of(o);
    std::vector<std::uint32_t> words(static_cast<std::size_t>(count * s));
    std::vector<std::uint32_t> low(s), width(s);
    for (index_t k = 0; k < s; ++k) {
        low[k] = static_cast<std::uint32_t>(row_block(k, o.size, s));
        width[k] = static_cast<std::uint32_t>(row_block(k + 1, o.size, s)) - low[k];
    }
    constexpr index_t tile = 8192; // columns of S
    parallel_for((count + tile - 1) / tile, o.threads, [&](index_t block) {
        const index_t at = block * tile, end = std::min(at + tile, count);
        std::uint32_t* word = words.data() + at * s;
        fill_words(word, static_cast<std::uint64_t>((first + at) * s), (end - at) * s,
                   draw_of(o, hashes));
        for (index_t i = at; i < end; ++i)
            for (index_t k = 0; k < s; ++k, ++word)
                *word = ((low[k] + scale_word(*word, width[k])) << 1) | (*word & 1u);
    });
    return words;
}

index_t padded_length(index_t n) {
    index_t p = 1;
    while (p < n) p *= 2;
    return p;
}

std::vector<index_t> kept_rows(index_t length, const SketchOptions& o) {
    std::vector<index_t> order(static_cast<std::size_t>(length));
    std::iota(order.begin(), order.end(), index_t{0});
    std::vector<std::uint32_t> words(static_cast<std::size_t>(o.size));
    fill_words(words.data(), 0, o.size, draw_of(o, rows_drawn));
    std::vector<index_t> kept(static_cast<std::size_t>(o.size));
    for (index_t i = 0; i < o.size; ++i) {
        const index_t at = i % length;
        const auto left = static_cast<std::uint32_t>(length - at);
        std::swap(order[at], order[at + scale_word(words[i], left)]);
        kept[i] = order[at];
    }
    return kept;
}

Sampled sample_rows(index_t n, const SketchOptions& o) {
    Sampled s;
    s.mixed = o.kind == SketchKind::less ? nonzeros_of(o) : 1;
    const index_t count = o.size * s.mixed;
    std::vector<double> u(static_cast<std::size_t>(count)), sums;
    fill_uniform(u.data(), 0, count, draw_of(o, rows_drawn));
    std::vector<std::uint32_t> sign(static_cast<std::size_t>(count));
    fill_words(sign.data(), 0, count, draw_of(o, mixing_signs));
    const bool even = o.probabilities == nullptr;
    if (!even) {
        sums.resize(static_cast<std::size_t>(n));
        std::partial_sum(o.probabilities, o.probabilities + n, sums.begin());
    }
    s.row.resize(u.size()), s.factor.resize(u.size());
    for (index_t k = 0; k < count; ++k) {
        index_t i = static_cast<index_t>(u[k] * static_cast<double>(n));
        if (!even)
            i = std::upper_bound(sums.begin(), sums.end(), u[k] * sums.back()) - sums.begin();
        i = std::min(i, n - 1);
        const double p = even ? 1.0 / static_cast<double>(n) : o.probabilities[i] / sums.back();
        s.row[k] = i;
        s.factor[k] = 1.0 / std::sqrt(static_cast<double>(count) * p);
        if (s.mixed > 1 && (sign[k] & 1u)) s.factor[k] = -s.factor[k];
    }
    return s;
}

} // namespace fastopt

// What the tests of the sketches' bytes and of the linear solvers' share.
#pragma once

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernel_traffic.hpp"
#include "sketch_newton/sketch_draws.hpp"

namespace sketch_traffic {

using namespace fastopt;
using bytes::Kernel;
using bytes::Kernels;
using bytes::Moved;
using bytes::Names;
using bytes::with_names;

using Table = std::vector<bytes::Row>;
inline Table table(const char* heading) {
    return bytes::of_table(FASTOPT_SOURCE "/docs/cuda.md", heading);
}
inline const Table& of_sketches() {
    static const Table t = table("A sketch of n rows");
    return t;
}
inline const Table& of_newton() {
    static const Table t = table("sketch_newton (N rows");
    return t;
}
inline void check_total(const Moved& moved, const Moved& stated) {
    CHECK(moved.read == stated.read);
    CHECK(moved.written == stated.written);
}

template <class T = double> std::vector<T> numbers(index_t n, unsigned seed) {
    std::mt19937_64 engine(seed);
    std::normal_distribution<double> normal;
    std::vector<T> v(static_cast<std::size_t>(n));
    for (T& x : v) x = static_cast<T>(normal(engine));
    return v;
}

// The kernels of a sketch, with the values of all names in their formulas and in the table.
inline Kernels sketch_kernels(const SketchOptions& o, Names& names) {
    const index_t n = names["n"];
    const auto words = [](index_t count) { return Kernel{"Words", {{"count", count}}}; };
    switch (o.kind) {
    case SketchKind::sjlt:
    case SketchKind::countsketch: {
        const index_t s = nonzeros_of(o), piece = std::max<index_t>(256, (o.size + s - 1) / s);
        const std::vector<std::uint32_t> targets = sparse_targets(0, n, o);
        std::set<index_t> filled;
        std::set<std::pair<index_t, index_t>> hit;
        for (index_t i = 0; i < n * s; ++i) {
            const index_t row = targets[static_cast<std::size_t>(i)] >> 1;
            filled.insert(row), hit.insert({i / s / piece, row});
        }
        names["s"] = s, names["pieces"] = (n + piece - 1) / piece;
        names["hit"] = static_cast<index_t>(hit.size());
        names["filled"] = static_cast<index_t>(filled.size());
        Kernels list = with_names(
            {"CountEntries", "SumPieces", "row_starts", "PlaceEntries", "SparseGather"}, names);
        list.insert(list.begin(), words(n * s));
        return list;
    }
    case SketchKind::srht: {
        const index_t length = padded_length(n);
        const std::vector<index_t> kept = kept_rows(length, o);
        names["length"] = length, names["words"] = (n + 31) / 32;
        names["kept"] = static_cast<index_t>(std::set<index_t>(kept.begin(), kept.end()).size());
        Kernels list{words(names["words"]), {"SignedRows", names}};
        names["passes"] = 0;
        for (index_t left = length; left > 1; left /= std::min<index_t>(left, 8))
            ++names["passes"], list.push_back({"Butterflies", names});
        list.push_back({"KeptRows", names});
        return list;
    }
    case SketchKind::gaussian:
        names["part"] = o.size;
        return {{"GaussianRows", names}};
    default: {
        const Sampled drawn = sample_rows(n, o);
        names["mixed"] = drawn.mixed;
        names["drawn"] =
            static_cast<index_t>(std::set<index_t>(drawn.row.begin(), drawn.row.end()).size());
        return {{"SampledRows", names}};
    }
    }
}

} // namespace sketch_traffic

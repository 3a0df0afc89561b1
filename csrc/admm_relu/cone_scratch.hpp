// What the two ways to run the cone projection on the CPU share: cone_projection.cpp, and
// cone_shared.cpp for ranks that share the samples.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "admm_relu/cone_projection.hpp"
#include "admm_relu/pause.hpp"
#include "backend/backend.hpp"

namespace fastopt {

constexpr index_t group = 16;         // blocks that share one product with X
constexpr double feasibility = 1e-13; // relative to ||r||
constexpr double nothing = 1e-12;     // a shorter projection than this times ||r|| is rounding

inline double norm2(index_t n, const double* x) { return std::sqrt(dot(n, x, x)); }

inline index_t most_candidates(index_t d) { return std::max<index_t>(2 * d, 24); }

struct ConeProjector::Scratch { // one for each thread: its user calls no other parallel loop
    void fit(index_t n, index_t d) {
        xv.resize(static_cast<std::size_t>(group * n));
        block.resize(static_cast<std::size_t>(group * d));
        for (auto* x : {&c, &mu, &row}) x->resize(static_cast<std::size_t>(d));
    }
    std::vector<double> xv, block, c, mu, row;
    std::vector<Candidate> candidates;
    std::vector<std::pair<double, index_t>> violated; // slack and row
};

} // namespace fastopt

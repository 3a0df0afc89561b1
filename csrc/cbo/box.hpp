// The unit box of the hybrid's regimes.
#pragma once

#include <cmath>

#include "core/types.hpp"

namespace fastopt {

// Folds x into [0, 1]^d as by mirrors at the faces; true if a coordinate lay outside.
inline bool reflect(double* x, index_t d) {
    bool outside = false;
    for (index_t k = 0; k < d; ++k) outside |= !(x[k] >= 0 && x[k] <= 1);
    if (!outside) return false;
    for (index_t k = 0; k < d; ++k) {
        if (x[k] >= 0 && x[k] <= 1) continue;
        const double folded =
            std::abs(x[k] - 2 * std::floor(x[k] / 2 + 0.5)); // |x| mod 2, in [0, 1]
        x[k] = folded <= 1 ? folded : 0.5;                   // not a number
    }
    return true;
}

} // namespace fastopt

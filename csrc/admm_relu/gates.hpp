// Gates: hyperplanes h with the patterns D = diag(1[X h >= 0]).
#pragma once

#include <limits>
#include <vector>

#include "core/communicator.hpp"
#include "core/philox.hpp"
#include "core/types.hpp"

namespace fastopt {

// Up to n_gates directions h ~ N(0, I) (rows of length d) whose patterns on X (n x d) differ from
// each other, from those of `known` (k rows of length d) and from the empty one. Fewer when many
// draws in a row bring nothing new: then the data hardly admit more. With `comm` patterns are those
// on the samples of all ranks.
std::vector<double> sample_gates(index_t n, index_t d, const double* x, index_t n_gates, Key key,
                                 std::uint32_t stream, const std::vector<double>& known,
                                 int threads = 0, Communicator* comm = nullptr);

// 1[X h >= 0] for each row h: (P, n) of 0 and 1.
std::vector<double> gate_patterns(index_t n, index_t d, const double* x,
                                  const std::vector<double>& gates, int threads = 0);

// Directions u, ||u|| = 1, that make |t_k'(X u)_+| large for an output k of t (c, n): local ascent
// u <- X'D(u) t / ||.|| from each start (shorter steps where that falls), both signs. Rows (d + 2):
// the value, 1 where the pattern is one of `known` and else 0, then u; best first, patterns
// distinct from each other. After `maxtime` seconds ascents end where they are, and no new one
// begins.
std::vector<double> ascend_gates(index_t n, index_t d, index_t c, const double* x, const double* t,
                                 const std::vector<double>& starts,
                                 const std::vector<double>& known, int threads,
                                 double maxtime = std::numeric_limits<double>::infinity());

} // namespace fastopt

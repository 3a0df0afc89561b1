// Random matrices S (size x n) with E[S'S] = I, applied to tall data without being formed.
//
// Every entry of S is a pure function of (key, iteration, position), so a sketch is the same for
// any number of threads, and S A and S b of separate calls belong together. Positions are those of
// the rows of all ranks: each sketches its own, and their sum is the sketch of the whole.
//
// Sources: Kane, Nelson (2014), sparse Johnson-Lindenstrauss transforms (SJLT); Clarkson, Woodruff
// (2013), CountSketch; Ailon, Chazelle (2006), Tropp (2011), SRHT; Drineas, Mahoney et al. (2012),
// leverage scores; Derezinski, Liao, Dobriban, Mahoney (2021), LESS; Murray et al., RandBLAS.
#pragma once

#include <vector>

#include "core/philox.hpp"
#include "sketch_newton/data_matrix.hpp"

namespace fastopt {

enum class SketchKind {
    sjlt, // `nonzeros` entries +-1/sqrt(nonzeros) a column, one in each of as many row blocks
    countsketch, // one entry +-1 a column
    srht,        // rows of a randomly signed Hadamard matrix, without replacement
    gaussian,    // N(0, 1/size)
    uniform,     // rows of the data drawn with replacement, scaled
    leverage,    // the same by leverage scores
    less,        // each row of S mixes `nonzeros` rows of the data drawn by leverage scores
};

struct SketchOptions {
    SketchKind kind = SketchKind::sjlt;
    index_t size = 0;     // rows of S, at least 1
    index_t nonzeros = 0; // 0: 4 for sjlt, 8 for less
    Key key;
    std::uint64_t iteration = 0;
    int threads = 0;
    const double* probabilities = nullptr; // leverage and less: of the rows of the data, sum 1
};

// out (size x cols) = S diag(scale) A; scale may be nullptr.
template <class T>
void sketch(const DataMatrix<T>& a, const T* scale, const SketchOptions& options, T* out);

// out (n x cols) = S'Y for Y (size x cols).
void sketch_adjoint(index_t n, const double* y, index_t cols, const SketchOptions& options,
                    double* out);

// Probabilities of the rows of diag(scale) A: nine tenths of their leverage scores, estimated with
// an SJLT and eight random directions, and one tenth of a uniform distribution.
template <class T>
std::vector<double> row_probabilities(const DataMatrix<T>& a, const T* scale,
                                      const SketchOptions& options);

} // namespace fastopt

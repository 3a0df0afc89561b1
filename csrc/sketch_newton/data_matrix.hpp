// A tall matrix of data, dense by rows or CSR, and the passes over it. Every pass cuts the rows
// into blocks fixed by the matrix alone, so that results do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/queue.hpp"
#include "core/types.hpp"

namespace fastopt {

template <class T> struct DataMatrix {
    index_t rows = 0, cols = 0;
    const T* values = nullptr;             // dense: rows x cols; CSR: the entries
    const std::int64_t* indptr = nullptr;  // CSR only
    const std::int32_t* indices = nullptr; // CSR only

    bool sparse() const { return indptr != nullptr; }
    index_t entries() const { return sparse() ? indptr[rows] : rows * cols; }

    // Where the kernels run, after place(): the queue, and there the values of dense rows.
    std::shared_ptr<Queue> queue = nullptr;
    Input<T> kernel = {};
    void place(std::shared_ptr<Queue> where) {
        queue = std::move(where);
        if (!sparse()) kernel = Input<T>(queue, values, rows * cols);
    }
};

// z = A x.
void multiply(const DataMatrix<double>& a, const double* x, double* z, int threads);

// out = A' r.
void multiply_transposed(const DataMatrix<double>& a, const double* r, double* out, int threads);

// out = A' diag(w) A v, reading A once: 8 bytes an entry of memory traffic, 4 flops.
void multiply_gram(const DataMatrix<double>& a, const double* w, const double* v, double* out,
                   int threads);

// Lower triangle of G (n x n) = A' diag(w) A. Weights may be negative.
void weighted_gram(const DataMatrix<double>& a, const double* w, double* g, int threads);

// out = A' t with t = h(A x), h given by rows: h(first, last, t) overwrites (A x)_i by t_i. One
// pass.
void accumulate_rows(const DataMatrix<double>& a, const double* x, double* out, int threads,
                     const std::function<void(index_t first, index_t last, double* t)>& h);

// The row blocks of a matrix and the fixed groups that they are summed in.
struct RowBlocks {
    index_t rows_per_block = 0, n_blocks = 0, blocks_per_group = 0, n_groups = 0;
};
template <class T> RowBlocks row_blocks(const DataMatrix<T>& a);

} // namespace fastopt

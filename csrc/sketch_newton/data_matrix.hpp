// A tall matrix of data, dense by rows or CSR, and the passes over it. Every pass cuts the rows
// into blocks fixed by the matrix alone, so that results do not depend on the number of threads.
// Where the rows are one rank's share, sums over rows are sums over all ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/queue.hpp"
#include "core/communicator.hpp"
#include "core/types.hpp"

namespace fastopt {

// The matrix of all ranks that a rank has its rows of; without a communicator it has all.
struct RowsOfRanks {
    Communicator* comm = nullptr;
    index_t first = 0, rows = 0, entries = 0; // of the rank's rows; of the whole
};

// CSR rows on a device; their values are in DataMatrix::kernel.
template <class T> struct PlacedRows {
    Input<std::int64_t> indptr;
    Input<std::int32_t> indices;
    bool distinct = true; // no row names a column twice

    // The entries once more by columns, in the order of the rows. A column is cut into parts of
    // `part_entries` at most, which are added one after another: a sum has one order, and a column
    // of ones keeps no warp waiting.
    struct Columns {
        Input<T> values;
        Input<std::int32_t> rows;
        index_t parts = 0;
        Input<std::int64_t> starts; // of the parts, and their end
        Input<std::int64_t> firsts; // of the columns: their first parts, and the end
        mutable Array<T> sums;      // one a part
    };
    mutable std::unique_ptr<const Columns> columns; // made when first asked for
};
constexpr index_t part_entries = 1024;

template <class T> struct DataMatrix {
    index_t rows = 0, cols = 0;
    const T* values = nullptr;             // dense: rows x cols; CSR: the entries
    const std::int64_t* indptr = nullptr;  // CSR only
    const std::int32_t* indices = nullptr; // CSR only
    RowsOfRanks whole = {};

    bool sparse() const { return indptr != nullptr; }
    index_t entries() const { return sparse() ? indptr[rows] : rows * cols; }
    index_t all_rows() const { return whole.comm ? whole.rows : rows; }
    index_t all_entries() const { return whole.comm ? whole.entries : entries(); }

    // Where the kernels run, after place(): the queue, the values, and CSR rows unless kernels run
    // on the host.
    std::shared_ptr<Queue> queue = nullptr;
    Input<T> kernel = {};
    std::shared_ptr<const PlacedRows<T>> csr = nullptr;
    void place(std::shared_ptr<Queue> where);
    const typename PlacedRows<T>::Columns& columns() const; // of `csr`
};

// z = A x, of the rank's own rows.
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

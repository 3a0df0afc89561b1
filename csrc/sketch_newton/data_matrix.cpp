#include "sketch_newton/data_matrix.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

constexpr index_t block_entries = 32768; // of A: stays in the second-level cache between two uses
constexpr index_t most_groups = 16;

// body(group, first row, last row + 1) for every block; the blocks of a group run in order.
template <class F> void for_groups(const RowBlocks& b, index_t rows, int threads, const F& body) {
    parallel_for(b.n_groups, threads, [&](index_t group) {
        const index_t end = std::min((group + 1) * b.blocks_per_group, b.n_blocks);
        for (index_t k = group * b.blocks_per_group; k < end; ++k)
            body(group, k * b.rows_per_block, std::min((k + 1) * b.rows_per_block, rows));
    });
}

void add_in_order(const Buffer<double>& partial, index_t n_groups, index_t n, double* out) {
    std::copy_n(partial.data(), n, out);
    for (index_t group = 1; group < n_groups; ++group)
        for (index_t j = 0; j < n; ++j) out[j] += partial[group * n + j];
}

double row_dot(const DataMatrix<double>& a, index_t i, const double* x) {
    double sum = 0;
    for (index_t k = a.indptr[i]; k < a.indptr[i + 1]; ++k) sum += a.values[k] * x[a.indices[k]];
    return sum;
}

void add_row(const DataMatrix<double>& a, index_t i, double factor, double* out) {
    for (index_t k = a.indptr[i]; k < a.indptr[i + 1]; ++k)
        out[a.indices[k]] += factor * a.values[k];
}

// out = sum over blocks of A_b' t_b, where t_b = make(first, last) fills t for the rows of a block.
template <class F>
void accumulate_own(const DataMatrix<double>& a, double* out, int threads, const F& make) {
    const index_t n = a.cols;
    if (a.rows == 0 || n == 0) return std::fill(out, out + n, 0.0);
    const RowBlocks b = row_blocks(a);
    Buffer<double> partial(checked_product(b.n_groups, n)), t(a.rows);
    for_groups(b, a.rows, threads, [&](index_t group, index_t first, index_t last) {
        make(first, last, t.data());
        double* sum = partial.data() + group * n;
        if (a.sparse())
            for (index_t i = first; i < last; ++i) add_row(a, i, t[i], sum);
        else
            gemv<double>(true, last - first, n, 1.0, a.values + first * n, n, t.data() + first, 1.0,
                         sum);
    });
    add_in_order(partial, b.n_groups, n, out);
}

template <class F>
void accumulate(const DataMatrix<double>& a, double* out, int threads, const F& make) {
    accumulate_own(a, out, threads, make);
    sum_over_ranks(a.whole.comm, out, a.cols);
}

void multiply_rows(const DataMatrix<double>& a, const double* x, index_t first, index_t last,
                   double* z) {
    if (a.sparse())
        for (index_t i = first; i < last; ++i) z[i] = row_dot(a, i, x);
    else
        gemv<double>(false, last - first, a.cols, 1.0, a.values + first * a.cols, a.cols, x, 0.0,
                     z + first);
}

void weighted_gram_own(const DataMatrix<double>& a, const double* w, double* g, int threads);

} // namespace

template <class T> void DataMatrix<T>::place(std::shared_ptr<Queue> where) {
    queue = std::move(where);
    kernel = Input<T>(queue, values, entries());
    if (!sparse() || kernels_on_host()) return;
    FASTOPT_REQUIRE(rows <= std::numeric_limits<std::int32_t>::max(),
                    "sparse data of 2^31 rows or more run on the CPU only: use device='cpu'");
    auto placed = std::make_shared<PlacedRows<T>>();
    placed->indptr = Input<std::int64_t>(queue, indptr, rows + 1);
    placed->indices = Input<std::int32_t>(queue, indices, entries());
    std::vector<index_t> last(static_cast<std::size_t>(cols), -1); // row that names the column
    for (index_t i = 0; i < rows; ++i)
        for (index_t e = indptr[i]; e < indptr[i + 1]; ++e)
            placed->distinct &= std::exchange(last[indices[e]], i) != i;
    csr = placed;
}

template <class T> const typename PlacedRows<T>::Columns& DataMatrix<T>::columns() const {
    if (csr->columns) return *csr->columns;
    std::vector<std::int64_t> at(static_cast<std::size_t>(cols) + 1, 0), starts, firsts;
    for (index_t e = 0; e < entries(); ++e) ++at[indices[e] + 1];
    for (index_t j = 0; j < cols; ++j) at[j + 1] += at[j];
    for (index_t j = 0; j < cols; ++j) { // an empty column has a part too
        firsts.push_back(static_cast<std::int64_t>(starts.size()));
        std::int64_t from = at[j];
        do starts.push_back(from), from += part_entries;
        while (from < at[j + 1]);
    }
    firsts.push_back(static_cast<std::int64_t>(starts.size()));
    starts.push_back(at[cols]);
    std::vector<std::int32_t> row(static_cast<std::size_t>(entries()));
    std::vector<T> value(row.size());
    for (index_t i = 0; i < rows; ++i)
        for (index_t e = indptr[i]; e < indptr[i + 1]; ++e) {
            const std::int64_t to = at[indices[e]]++;
            row[to] = static_cast<std::int32_t>(i), value[to] = values[e];
        }
    auto made = std::make_unique<typename PlacedRows<T>::Columns>();
    made->parts = firsts.back();
    made->values = Input<T>(queue, value.data(), entries());
    made->rows = Input<std::int32_t>(queue, row.data(), entries());
    made->starts = Input<std::int64_t>(queue, starts.data(), made->parts + 1);
    made->firsts = Input<std::int64_t>(queue, firsts.data(), cols + 1);
    csr->columns = std::move(made);
    return *csr->columns;
}
template struct DataMatrix<double>;
template struct DataMatrix<float>;

template <class T> RowBlocks row_blocks(const DataMatrix<T>& a) {
    RowBlocks b;
    const index_t per_row = a.rows > 0 ? std::max<index_t>(1, a.entries() / a.rows) : 1;
    b.rows_per_block = std::max<index_t>(8, block_entries / per_row);
    b.n_blocks = (a.rows + b.rows_per_block - 1) / b.rows_per_block;
    b.blocks_per_group = (b.n_blocks + most_groups - 1) / most_groups;
    b.n_groups = b.n_blocks > 0 ? (b.n_blocks + b.blocks_per_group - 1) / b.blocks_per_group : 0;
    return b;
}
template RowBlocks row_blocks(const DataMatrix<double>&);
template RowBlocks row_blocks(const DataMatrix<float>&);

void multiply(const DataMatrix<double>& a, const double* x, double* z, int threads) {
    if (a.cols == 0) return std::fill(z, z + a.rows, 0.0);
    for_groups(row_blocks(a), a.rows, threads,
               [&](index_t, index_t first, index_t last) { multiply_rows(a, x, first, last, z); });
}

void multiply_transposed(const DataMatrix<double>& a, const double* r, double* out, int threads) {
    accumulate(a, out, threads, [&](index_t first, index_t last, double* t) {
        std::copy(r + first, r + last, t + first);
    });
}

void accumulate_rows(const DataMatrix<double>& a, const double* x, double* out, int threads,
                     const std::function<void(index_t, index_t, double*)>& h) {
    accumulate(a, out, threads, [&](index_t first, index_t last, double* t) {
        multiply_rows(a, x, first, last, t);
        h(first, last, t);
    });
}

void multiply_gram(const DataMatrix<double>& a, const double* w, const double* v, double* out,
                   int threads) {
    accumulate(a, out, threads, [&](index_t first, index_t last, double* t) {
        multiply_rows(a, v, first, last, t);
        for (index_t i = first; i < last; ++i) t[i] *= w[i];
    });
}

void weighted_gram(const DataMatrix<double>& a, const double* w, double* g, int threads) {
    weighted_gram_own(a, w, g, threads);
    sum_triangle_over_ranks(a.whole.comm, g, a.cols, true);
}

namespace {

void weighted_gram_own(const DataMatrix<double>& a, const double* w, double* g, int threads) {
    const index_t n = a.cols;
    std::fill(g, g + n * n, 0.0);
    if (a.rows == 0 || n == 0) return;
    // A group costs n^2 numbers of partial sums: as many groups as the flops pay for.
    const double filled = static_cast<double>(a.entries()) / static_cast<double>(a.rows * n);
    const double paid = filled * filled * static_cast<double>(a.rows) / 8;
    const index_t n_groups = static_cast<index_t>(std::clamp(paid, 1.0, 8.0));
    const index_t per_group = (a.rows + n_groups - 1) / n_groups;
    const bool negative = std::any_of(w, w + a.rows, [](double x) { return x < 0; });
    Buffer<double> partial(checked_product(n_groups, n * n));
    parallel_for(n_groups, threads, [&](index_t group) {
        double* sum = partial.data() + group * n * n;
        const index_t end = std::min((group + 1) * per_group, a.rows);
        if (a.sparse()) {
            for (index_t i = group * per_group; i < end; ++i)
                for (index_t k = a.indptr[i]; k < a.indptr[i + 1]; ++k) {
                    const double wk = w[i] * a.values[k];
                    double* row = sum + a.indices[k] * n;
                    for (index_t l = a.indptr[i]; l < a.indptr[i + 1]; ++l)
                        if (a.indices[l] <= a.indices[k]) row[a.indices[l]] += wk * a.values[l];
                }
            return;
        }
        const index_t tile = std::min(per_group, std::max<index_t>(64, 2 * block_entries / n));
        Buffer<double> scaled(tile * n);
        for (index_t first = group * per_group; first < end; first += tile) {
            const index_t count = std::min(tile, end - first);
            for (index_t i = 0; i < count; ++i) {
                const double s = negative ? w[first + i] : std::sqrt(w[first + i]);
                const double* from = a.values + (first + i) * n;
                double* to = scaled.data() + i * n;
                for (index_t j = 0; j < n; ++j) to[j] = s * from[j];
            }
            if (negative)
                gemm<double>(true, false, n, n, count, 1.0, scaled.data(), n, a.values + first * n,
                             n, 1.0, sum, n);
            else
                syrk<double>(n, count, 1.0, scaled.data(), n, 1.0, sum, n);
        }
    });
    add_in_order(partial, n_groups, n * n, g);
}

} // namespace
} // namespace fastopt

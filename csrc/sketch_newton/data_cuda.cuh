// Device kernels on dense and CSR data, and what launches them: A x, A'r, and S A by the rows of S.
// No atomic operations; every sum has one order. T: the type of the numbers; all kernels have a
// warp for a row or a sum.
#pragma once

#include "backend/cuda_queue.cuh"
#include "core/vmath.hpp"
#include "sketch_newton/data_matrix.hpp"

namespace fastopt {
namespace gpu {

// ---- products ----------------------------------------------------------------------------------

template <class T> struct Segments { // entries start_s .. start_s+1 - 1
    index_t count;
    const std::int64_t* start;
    const std::int32_t* index;
    const T* value;
};

// out_k,s = the sum of value_e x_k,index_e over the entries e of segment s, for n vectors x_k of
// `length` numbers.
// Bytes: reads (T + 4) entries + 8 (segments + 1) + T n length; writes T n segments.
template <class T>
__global__ void segment_sums(Segments<T> s, index_t n, index_t length, const T* __restrict__ x,
                             T* __restrict__ out) {
    for (index_t at = warp_number(); at < n * s.count; at += warps()) {
        const index_t k = at / s.count, segment = at - k * s.count;
        const T* from = x + k * length;
        const index_t end = s.start[segment + 1];
        T sum = 0;
        FASTOPT_NOT_UNROLLED
        for (index_t e = s.start[segment] + thread() % warp_size; e < end; e += warp_size)
            sum += s.value[e] * from[s.index[e]];
        sum = warp_reduce(sum, Plus());
        if (thread() % warp_size == 0) out[at] = sum;
    }
}

// out_k,j = the sums of the parts of column j, in their order.
// Bytes: reads 8 (cols + 1) + T n parts; writes T n cols.
template <class T> struct PartsOfColumns {
    index_t cols, parts;
    const std::int64_t* first;
    const T* sums;
    T* out;
    __device__ void operator()(index_t at) const {
        const index_t k = at / cols, j = at - k * cols;
        T sum = 0;
        for (index_t p = first[j]; p < first[j + 1]; ++p) sum += sums[k * parts + p];
        out[at] = sum;
    }
};

// ---- S A ---------------------------------------------------------------------------------------

template <class T> struct CsrRows {
    index_t cols, distinct;
    const std::int64_t* indptr;
    const std::int32_t* indices;
    const T* values;
};

// out (size x cols) = S A, where the elements of row r of S, each a factor of a row of A, are those
// from rows.first(r) to before rows.first(r + 1); they are added in this order. The lanes share the
// entries of a row of A; where one names a column twice, a lane has all. `entries` and `ends` are
// of the rows of A that S has, `hit` numbers of S A differ from 0, `elements` bytes are read of S.
// Bytes: reads (T + 4) entries + 8 ends + T hit + elements; writes T size cols.
template <class T, class Rows>
__global__ void gather_rows(CsrRows<T> a, index_t size, Rows rows, T* out) {
    const index_t lane = thread() % warp_size, step = a.distinct ? warp_size : 1;
    for (index_t r = warp_number(); r < size; r += warps()) {
        T* to = out + r * a.cols;
        for (index_t j = lane; j < a.cols; j += warp_size) to[j] = 0;
        __syncwarp();
        const index_t end = rows.first(r + 1);
        FASTOPT_NOT_UNROLLED
        for (index_t q = rows.first(r); q < end; ++q) {
            const index_t i = rows.row(q);
            const T factor = rows.factor(q, i);
            const index_t last = lane < step ? a.indptr[i + 1] : 0;
            for (index_t e = a.indptr[i] + lane; e < last; e += step)
                to[a.indices[e]] += factor * a.values[e];
            __syncwarp();
        }
    }
}

template <class T> FASTOPT_HD T scaled_unit(double unit, const T* scale, index_t i) {
    return scale ? static_cast<T>(unit) * scale[i] : static_cast<T>(unit);
}
// SJLT and CountSketch: entries of S sorted by rows, 2 i + (1 where the sign is negative).
template <class T> struct HashedRows {
    double unit;
    const T* scale;
    const index_t* start;
    const index_t* entry;
    __device__ index_t first(index_t r) const { return start[r]; }
    __device__ index_t row(index_t q) const { return entry[q] / 2; }
    __device__ T factor(index_t q, index_t i) const {
        const T size = scaled_unit(unit, scale, i);
        return entry[q] % 2 ? -size : size;
    }
};
// SRHT: +-unit diag(scale) A, zeros below.
template <class T> struct PaddedRows {
    index_t n;
    double unit;
    const T* scale;
    const std::uint32_t* sign; // a bit a row
    __device__ index_t first(index_t r) const { return r < n ? r : n; }
    __device__ index_t row(index_t q) const { return q; }
    __device__ T factor(index_t, index_t i) const {
        const T size = scaled_unit(unit, scale, i);
        return sign[i / 32] >> (i % 32) & 1u ? -size : size;
    }
};
// Row sampling: `mixed` rows of A each.
template <class T> struct DrawnRows {
    index_t mixed;
    const index_t* drawn;
    const double* factors;
    const T* scale;
    __device__ index_t first(index_t r) const { return r * mixed; }
    __device__ index_t row(index_t q) const { return drawn[q]; }
    __device__ T factor(index_t q, index_t i) const {
        return static_cast<T>(factors[q]) * (scale ? scale[i] : T(1));
    }
};
// Rows of A from `from` on, times w, or its roots, or 1.
struct WeighedCsrRows {
    index_t from, roots;
    const double* w; // or nullptr
    __device__ index_t first(index_t r) const { return r; }
    __device__ index_t row(index_t q) const { return from + q; }
    __device__ double factor(index_t, index_t i) const {
        return !w ? 1.0 : roots ? vsqrt(w[i]) : w[i];
    }
};

} // namespace gpu

// ---- launches ----------------------------------------------------------------------------------

template <class T, class Rows>
void gather(Queue& queue, const DataMatrix<T>& a, index_t size, Rows rows, T* out) {
    const gpu::CsrRows<T> csr{a.cols, a.csr->distinct, a.csr->indptr.data(), a.csr->indices.data(),
                              a.kernel.data()};
    gpu::over(queue, size * gpu::warp_size, gpu::gather_rows<T, Rows>, csr, size, rows, out);
}

template <class T>
void segment_sums(Queue& queue, const gpu::Segments<T>& s, index_t n, index_t length, const T* x,
                  T* out) {
    gpu::over(queue, n * s.count * gpu::warp_size, gpu::segment_sums<T>, s, n, length, x, out);
}

// out (n x cols) = X A for X (n x rows), by the columns of CSR data: reads them n times.
template <class T>
void multiply_columns(Queue& queue, const DataMatrix<T>& a, index_t n, const T* x, T* out) {
    const typename PlacedRows<T>::Columns& c = a.columns();
    const gpu::Segments<T> parts{c.parts, c.starts.data(), c.rows.data(), c.values.data()};
    if (c.parts == a.cols) return segment_sums(queue, parts, n, a.rows, x, out);
    if (c.sums.size() < n * c.parts) c.sums = Array<T>(a.queue, checked_product(n, c.parts));
    segment_sums(queue, parts, n, a.rows, x, c.sums.data());
    gpu::apply(queue, n * a.cols,
               gpu::PartsOfColumns<T>{a.cols, c.parts, c.firsts.data(), c.sums.data(), out});
}

// z = A x and out = A'r, both on kernels' arrays.
inline void multiply(Queue& queue, const DataMatrix<double>& a, const double* x, double* z) {
    if (!a.sparse())
        return gemv(queue, false, a.rows, a.cols, 1.0, a.kernel.data(), a.cols, x, 0.0, z);
    segment_sums<double>(queue,
                         {a.rows, a.csr->indptr.data(), a.csr->indices.data(), a.kernel.data()}, 1,
                         a.cols, x, z);
}
inline void multiply_transposed(Queue& queue, const DataMatrix<double>& a, const double* r,
                                double* out) {
    if (!a.sparse())
        return gemv(queue, true, a.rows, a.cols, 1.0, a.kernel.data(), a.cols, r, 0.0, out);
    multiply_columns(queue, a, 1, r, out);
}

} // namespace fastopt

#include "sketch_newton/sketch.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
#include "sketch_newton/sketch_draws.hpp"
#include "sketch_newton/sketch_kernels.hpp"

namespace fastopt {
namespace {

using namespace sketch_streams;

constexpr index_t widest = 512;   // columns of A in one pass over its rows
constexpr index_t row_tile = 256; // rows of A handled together

// ---- SJLT and CountSketch: one pass over A ----------------------------------------------------

template <class T>
void sparse_dense(const DataMatrix<T>& a, const T* scale, const SketchOptions& o, T* out) {
    const index_t s = nonzeros_of(o), d = a.cols;
    const std::vector<std::uint32_t> targets = sparse_targets(a.whole.first, a.rows, o);
    // Columns do not meet, so their cut changes no bit: as few strips as keep the threads busy,
    // since whole rows of A stream best.
    const index_t threads = o.threads > 0 ? o.threads : default_threads();
    const index_t n_strips = std::max((d + widest - 1) / widest, std::min(threads, d / 64));
    const index_t width =
        std::max<index_t>(8, ((d + n_strips - 1) / std::max<index_t>(1, n_strips) + 7) / 8 * 8);
    parallel_for((d + width - 1) / width, o.threads, [&](index_t chunk) {
        Scatter<T> job;
        job.from = a.values + chunk * width, job.to = out + chunk * width;
        job.from_ld = job.to_ld = d;
        job.rows = a.rows, job.cols = std::min(width, d - chunk * width), job.nonzeros = s;
        job.target = targets.data(), job.scale = scale;
        job.unit = static_cast<T>(1.0 / std::sqrt(static_cast<double>(s)));
        sketch_kernels<T>().scatter(job);
    });
}

template <class T>
void sparse_csr(const DataMatrix<T>& a, const T* scale, const SketchOptions& o, T* out) {
    const index_t s = nonzeros_of(o), d = a.cols;
    const std::vector<std::uint32_t> targets = sparse_targets(a.whole.first, a.rows, o);
    const T unit = static_cast<T>(1.0 / std::sqrt(static_cast<double>(s)));
    parallel_for(s, o.threads, [&](index_t k) { // row blocks of S do not meet
        for (index_t i = 0; i < a.rows; ++i) {
            const std::uint32_t target = targets[i * s + k];
            T factor = scale ? unit * scale[i] : unit;
            if (target & 1u) factor = -factor;
            T* to = out + static_cast<index_t>(target >> 1) * d;
            for (index_t e = a.indptr[i]; e < a.indptr[i + 1]; ++e)
                to[a.indices[e]] += factor * a.values[e];
        }
    });
}

// ---- Gaussian ---------------------------------------------------------------------------------

template <class T>
void gaussian(const DataMatrix<T>& a, const T* scale, const SketchOptions& o, T* out) {
    constexpr index_t strip = 64; // rows of S made at a time
    const index_t n = a.rows, d = a.cols, columns = a.all_rows();
    const T unit = static_cast<T>(1.0 / std::sqrt(static_cast<double>(o.size)));
    parallel_for((o.size + strip - 1) / strip, o.threads, [&](index_t block) {
        const index_t first = block * strip, count = std::min(strip, o.size - first);
        Buffer<T> part(count * row_tile);
        for (index_t r = 0; r < n; r += row_tile) {
            const index_t rows = std::min(row_tile, n - r);
            for (index_t q = 0; q < count; ++q) {
                T* row = part.data() + q * rows;
                const index_t at = (first + q) * columns + a.whole.first + r;
                fill_normal(row, static_cast<std::uint64_t>(at), rows, draw_of(o, normals));
                for (index_t i = 0; i < rows; ++i) row[i] *= scale ? unit * scale[r + i] : unit;
            }
            if (!a.sparse()) {
                gemm<T>(false, false, count, d, rows, T(1), part.data(), rows, a.values + r * d, d,
                        T(1), out + first * d, d);
                continue;
            }
            for (index_t i = 0; i < rows; ++i)
                for (index_t e = a.indptr[r + i]; e < a.indptr[r + i + 1]; ++e)
                    for (index_t q = 0; q < count; ++q)
                        out[(first + q) * d + a.indices[e]] += part[q * rows + i] * a.values[e];
        }
    });
}

// ---- SRHT -------------------------------------------------------------------------------------

template <class T> void hadamard(T* x, index_t length, index_t width) {
    for (index_t h = 1; h < length; h *= 2)
        for (index_t i = 0; i < length; i += 2 * h)
            sketch_kernels<T>().butterfly(x + i * width, x + (i + h) * width, h * width);
}

template <class T>
void srht(const DataMatrix<T>& a, const T* scale, const SketchOptions& o, T* out) {
    const index_t n = a.all_rows(), d = a.cols, length = padded_length(n), first = a.whole.first;
    FASTOPT_REQUIRE(length < (index_t{1} << 31), "srht: the data have too many rows (2^31)");
    const std::vector<index_t> kept = kept_rows(length, o);
    std::vector<std::uint32_t> sign((n + 31) / 32);
    fill_words(sign.data(), 0, static_cast<index_t>(sign.size()), draw_of(o, signs));
    const T unit = static_cast<T>(1.0 / std::sqrt(static_cast<double>(o.size)));
    constexpr index_t width = 8; // columns transformed together
    parallel_for((d + width - 1) / width, o.threads, [&](index_t chunk) {
        const index_t c0 = chunk * width, count = std::min(width, d - c0);
        Buffer<T> x(checked_product(length, count));
        for (index_t i = 0; i < a.rows; ++i) {
            T factor = scale ? unit * scale[i] : unit;
            const index_t at = first + i;
            if (sign[at / 32] >> (at % 32) & 1u) factor = -factor;
            if (!a.sparse()) {
                for (index_t j = 0; j < count; ++j)
                    x[at * count + j] = factor * a.values[i * d + c0 + j];
            } else {
                for (index_t e = a.indptr[i]; e < a.indptr[i + 1]; ++e)
                    if (const index_t j = a.indices[e] - c0; j >= 0 && j < count)
                        x[at * count + j] += factor * a.values[e];
            }
        }
        hadamard(x.data(), length, count);
        for (index_t r = 0; r < o.size; ++r)
            for (index_t j = 0; j < count; ++j) out[r * d + c0 + j] = x[kept[r] * count + j];
    });
}

// ---- row sampling: each row of S holds `mixed` rows of the data -------------------------------

template <class T>
void sampling(const DataMatrix<T>& a, const T* scale, const SketchOptions& o, T* out) {
    const Sampled s = sample_rows(a.all_rows(), o);
    const index_t d = a.cols, strip = 64;
    parallel_for((o.size + strip - 1) / strip, o.threads, [&](index_t block) {
        const index_t end = std::min((block + 1) * strip, o.size) * s.mixed;
        for (index_t k = block * strip * s.mixed; k < end; ++k) {
            const index_t i = s.row[k] - a.whole.first;
            if (i < 0 || i >= a.rows) continue; // another rank's
            const T factor = static_cast<T>(s.factor[k]) * (scale ? scale[i] : T(1));
            T* to = out + k / s.mixed * d;
            if (!a.sparse())
                for (index_t j = 0; j < d; ++j) to[j] += factor * a.values[i * d + j];
            else
                for (index_t e = a.indptr[i]; e < a.indptr[i + 1]; ++e)
                    to[a.indices[e]] += factor * a.values[e];
        }
    });
}

} // namespace

template <class T>
void sketch(const DataMatrix<T>& a, const T* scale, const SketchOptions& o, T* out) {
    check_sketch(a.all_rows(), o);
    std::fill(out, out + o.size * a.cols, T(0));
    switch (o.kind) {
    case SketchKind::sjlt:
    case SketchKind::countsketch:
        a.sparse() ? sparse_csr(a, scale, o, out) : sparse_dense(a, scale, o, out);
        break;
    case SketchKind::gaussian:
        gaussian(a, scale, o, out);
        break;
    case SketchKind::srht:
        srht(a, scale, o, out);
        break;
    case SketchKind::uniform:
    case SketchKind::leverage:
    case SketchKind::less:
        sampling(a, scale, o, out);
    }
    sum_over_ranks(a.whole.comm, out, o.size * a.cols);
}

void sketch_adjoint(index_t n, const double* y, index_t cols, const SketchOptions& o, double* out) {
    check_sketch(n, o);
    std::fill(out, out + n * cols, 0.0);
    if (o.kind == SketchKind::sjlt || o.kind == SketchKind::countsketch) {
        const index_t s = nonzeros_of(o);
        const double unit = 1.0 / std::sqrt(static_cast<double>(s));
        const std::vector<std::uint32_t> targets = sparse_targets(0, n, o);
        for (index_t e = 0; e < n * s; ++e) {
            const double factor = (targets[e] & 1u) ? -unit : unit;
            const double* from = y + static_cast<index_t>(targets[e] >> 1) * cols;
            for (index_t j = 0; j < cols; ++j) out[e / s * cols + j] += factor * from[j];
        }
    } else if (o.kind == SketchKind::gaussian) {
        const double unit = 1.0 / std::sqrt(static_cast<double>(o.size));
        Buffer<double> row(n);
        for (index_t r = 0; r < o.size; ++r) {
            fill_normal(row.data(), static_cast<std::uint64_t>(r * n), n, draw_of(o, normals));
            for (index_t i = 0; i < n; ++i)
                for (index_t j = 0; j < cols; ++j)
                    out[i * cols + j] += unit * row[i] * y[r * cols + j];
        }
    } else if (o.kind == SketchKind::srht) {
        const index_t length = padded_length(n);
        const std::vector<index_t> kept = kept_rows(length, o);
        std::vector<std::uint32_t> sign((n + 31) / 32);
        fill_words(sign.data(), 0, static_cast<index_t>(sign.size()), draw_of(o, signs));
        const double unit = 1.0 / std::sqrt(static_cast<double>(o.size));
        Buffer<double> x(checked_product(length, cols));
        for (index_t r = 0; r < o.size; ++r)
            for (index_t j = 0; j < cols; ++j) x[kept[r] * cols + j] += unit * y[r * cols + j];
        hadamard(x.data(), length, cols); // H is symmetric
        for (index_t i = 0; i < n; ++i)
            for (index_t j = 0; j < cols; ++j)
                out[i * cols + j] =
                    (sign[i / 32] >> (i % 32) & 1u) ? -x[i * cols + j] : x[i * cols + j];
    } else {
        const Sampled s = sample_rows(n, o);
        for (index_t k = 0; k < o.size * s.mixed; ++k)
            for (index_t j = 0; j < cols; ++j)
                out[s.row[k] * cols + j] += s.factor[k] * y[k / s.mixed * cols + j];
    }
}

template <class T>
std::vector<double> row_probabilities(const DataMatrix<T>& a, const T* scale,
                                      const SketchOptions& o) {
    constexpr index_t k = 8; // random directions
    const index_t n = a.rows, d = a.cols;
    SketchOptions first = o;
    first.kind = SketchKind::sjlt, first.nonzeros = 0, first.probabilities = nullptr;
    first.size = std::max<index_t>(4 * d, 8);
    Buffer<T> sa(checked_product(first.size, d));
    sketch(a, scale, first, sa.data());
    Buffer<double> r(first.size * d), l(d * d), v(d * k);
    for (index_t i = 0; i < first.size * d; ++i) r[i] = static_cast<double>(sa[i]);
    geqrf(first.size, d, r.data(), d);
    double largest = 0;
    for (index_t i = 0; i < d; ++i) largest = std::fmax(largest, std::fabs(r[i * d + i]));
    for (index_t i = 0; i < d; ++i) // L = R', a zero pivot (dependent column) made harmless
        for (index_t j = i; j < d; ++j) l[j * d + i] = r[i * d + j];
    for (index_t i = 0; i < d; ++i)
        if (std::fabs(l[i * d + i]) <= 1e-12 * largest)
            l[i * d + i] = largest > 0 ? 1e6 * largest : 1.0;
    fill_normal(v.data(), 0, d * k, draw_of(o, directions));
    trsm(true, true, d, k, l.data(), d, v.data(), k); // V = R^-1 G
    Buffer<T> vt(d * k);
    for (index_t i = 0; i < d * k; ++i) vt[i] = static_cast<T>(v[i]);

    std::vector<double> p(static_cast<std::size_t>(n));
    parallel_for((n + row_tile - 1) / row_tile, o.threads, [&](index_t block) {
        const index_t r0 = block * row_tile, rows = std::min(row_tile, n - r0);
        Buffer<T> z(rows * k);
        if (!a.sparse())
            gemm<T>(false, false, rows, k, d, T(1), a.values + r0 * d, d, vt.data(), k, T(0),
                    z.data(), k);
        else
            for (index_t i = 0; i < rows; ++i)
                for (index_t e = a.indptr[r0 + i]; e < a.indptr[r0 + i + 1]; ++e)
                    for (index_t q = 0; q < k; ++q)
                        z[i * k + q] += a.values[e] * vt[a.indices[e] * k + q];
        for (index_t i = 0; i < rows; ++i) {
            double sum = 0;
            for (index_t q = 0; q < k; ++q) sum += static_cast<double>(z[i * k + q]) * z[i * k + q];
            const double s = scale ? static_cast<double>(scale[r0 + i]) : 1.0;
            p[r0 + i] = s * s * sum;
        }
    });
    const double total = std::accumulate(p.begin(), p.end(), 0.0),
                 even = 1.0 / static_cast<double>(n);
    for (double& x : p) x = total > 0 ? 0.9 * x / total + 0.1 * even : even;
    return p;
}

template void sketch(const DataMatrix<double>&, const double*, const SketchOptions&, double*);
template void sketch(const DataMatrix<float>&, const float*, const SketchOptions&, float*);
template std::vector<double> row_probabilities(const DataMatrix<double>&, const double*,
                                               const SketchOptions&);
template std::vector<double> row_probabilities(const DataMatrix<float>&, const float*,
                                               const SketchOptions&);

} // namespace fastopt

// Sketches on a CUDA device.
#include "sketch_newton/sketch_steps.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "sketch_newton/data_cuda.cuh"
#include "sketch_newton/sketch_cuda.cuh"

namespace fastopt {
namespace {

using namespace gpu;

constexpr index_t least_piece = 256;                   // columns of S that a thread sorts
constexpr index_t gaussian_numbers = index_t{1} << 22; // of S at a time

using SharedQueue = std::shared_ptr<Queue>;

PhiloxBlock block_of(const SketchOptions& o, std::uint32_t stream) {
    return {o.key, o.iteration, stream};
}

Array<std::uint32_t> words_of(const SharedQueue& queue, index_t count, const PhiloxBlock& draw) {
    const Array<std::uint32_t> out(queue, count);
    constexpr index_t group = 4 * lanes;
    apply(*queue, (count + group - 1) / group * lanes, Words{draw, count, out.data()});
    return out;
}

double unit_of(index_t count) { return 1.0 / std::sqrt(static_cast<double>(count)); }

// n s words; n s counters, twice, at most; then A s times.
template <class T>
void sparse(const SharedQueue& queue, const DataMatrix<T>& a, const T* scale,
            const SketchOptions& o, T* out) {
    const index_t n = a.rows, s = nonzeros_of(o);
    const index_t piece = std::max(least_piece, (o.size + s - 1) / s);
    const index_t pieces = (n + piece - 1) / piece;
    const Array<std::uint32_t> words =
        words_of(queue, checked_product(n, s), block_of(o, sketch_streams::hashes));
    const Array<index_t> counts(queue, checked_product(pieces, o.size)), total(queue, o.size),
        start(queue, o.size + 1), entry(queue, n * s);
    const SparseEntries all{n, o.size, s, piece, words.data(), counts.data()};
    apply(*queue, pieces * s, CountEntries{all});
    apply(*queue, o.size, SumPieces{o.size, pieces, counts.data(), total.data()});
    launch(queue->stream(), 1, block_size, block_size * sizeof(index_t), row_starts, total.data(),
           o.size, start.data());
    apply(*queue, pieces * s, PlaceEntries{all, start.data(), entry.data()});
    if (a.sparse())
        return gather(*queue, a, o.size,
                      HashedRows<T>{unit_of(s), scale, start.data(), entry.data()}, out);
    apply(*queue, o.size * a.cols,
          SparseGather<T>{a.cols, unit_of(s), a.kernel.data(), scale, start.data(), entry.data(),
                          out});
}

// S a few rows at a time, each written and read once, and A for each time.
template <class T>
void gaussian(const SharedQueue& queue, const DataMatrix<T>& a, const T* scale,
              const SketchOptions& o, T* out) {
    const index_t n = a.rows, d = a.cols;
    const index_t most = std::min(o.size, std::max<index_t>(1, gaussian_numbers / n));
    const Array<T> part(queue, checked_product(most, n));
    constexpr index_t group = normals_of_block<T>() * lanes;
    for (index_t q = 0; q < o.size; q += most) {
        const index_t count = std::min(most, o.size - q), first = q * n, end = (q + count) * n;
        apply(*queue, ((end + group - 1) / group - first / group) * lanes,
              GaussianRows<T>{block_of(o, sketch_streams::normals), n, first, end, unit_of(o.size),
                              scale, part.data()});
        if (a.sparse())
            multiply_columns(*queue, a, count, part.data(), out + q * d);
        else
            gemm<T>(*queue, false, false, count, d, n, T(1), part.data(), n, a.kernel.data(), d,
                    T(0), out + q * d, d);
    }
}

template <class T, int levels>
void butterflies(Queue& queue, index_t length, index_t& h, index_t d, T* x) {
    for (; h << (levels - 1) < length; h <<= levels)
        apply(queue, (length >> levels) * d, Butterflies<T, levels>{h, d, x});
}

// The padded data, written and read once for every three levels of the transform.
template <class T>
void srht(const SharedQueue& queue, const DataMatrix<T>& a, const T* scale, const SketchOptions& o,
          T* out) {
    const index_t n = a.rows, d = a.cols, length = padded_length(n);
    FASTOPT_REQUIRE(length < (index_t{1} << 31), "srht: the data have too many rows (2^31)");
    const std::vector<index_t> kept = kept_rows(length, o);
    const Input<index_t> rows(queue, kept.data(), o.size);
    const Array<std::uint32_t> sign =
        words_of(queue, (n + 31) / 32, block_of(o, sketch_streams::signs));
    const Array<T> x(queue, checked_product(length, d));
    if (a.sparse())
        gather(*queue, a, length, PaddedRows<T>{n, unit_of(o.size), scale, sign.data()}, x.data());
    else
        apply(*queue, length * d,
              SignedRows<T>{n, d, unit_of(o.size), a.kernel.data(), scale, sign.data(), x.data()});
    index_t h = 1;
    butterflies<T, 3>(*queue, length, h, d, x.data());
    butterflies<T, 2>(*queue, length, h, d, x.data());
    butterflies<T, 1>(*queue, length, h, d, x.data());
    apply(*queue, o.size * d, KeptRows<T>{d, rows.data(), x.data(), out});
}

template <class T>
void sampling(const SharedQueue& queue, const DataMatrix<T>& a, const T* scale,
              const SketchOptions& o, T* out) {
    const Sampled s = sample_rows(a.rows, o);
    const index_t count = o.size * s.mixed;
    const Input<index_t> row(queue, s.row.data(), count);
    const Input<double> factor(queue, s.factor.data(), count);
    if (a.sparse())
        return gather(*queue, a, o.size, DrawnRows<T>{s.mixed, row.data(), factor.data(), scale},
                      out);
    apply(*queue, o.size * a.cols,
          SampledRows<T>{a.cols, s.mixed, row.data(), factor.data(), a.kernel.data(), scale, out});
}

} // namespace

template <class T>
void sketch(const std::shared_ptr<Queue>& queue, const DataMatrix<T>& a, const T* scale,
            const SketchOptions& o, T* out) {
    check_sketch(a.rows, o);
    switch (o.kind) {
    case SketchKind::sjlt:
    case SketchKind::countsketch:
        return sparse(queue, a, scale, o, out);
    case SketchKind::gaussian:
        return gaussian(queue, a, scale, o, out);
    case SketchKind::srht:
        return srht(queue, a, scale, o, out);
    case SketchKind::uniform:
    case SketchKind::leverage:
    case SketchKind::less:
        return sampling(queue, a, scale, o, out);
    }
}

template void sketch(const std::shared_ptr<Queue>&, const DataMatrix<double>&, const double*,
                     const SketchOptions&, double*);
template void sketch(const std::shared_ptr<Queue>&, const DataMatrix<float>&, const float*,
                     const SketchOptions&, float*);

} // namespace fastopt

// Products with the design and its dense systems, on the CPU.
#include "admm_relu/design.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/parallel.hpp"

namespace fastopt {
namespace {

constexpr index_t row_tile = 256;
constexpr index_t gate_tile = 16;
constexpr index_t column_tile = 512;
constexpr index_t gram_tile = 256;
constexpr index_t largest_inverse = 4096; // beyond: triangular solves, to save 2/3 n^3 flops
constexpr index_t row_chunk = 32768;      // rows of a Gram tile between two looks for Ctrl-C
constexpr double long_block = 1e9;        // flops of a gate's Gram matrix that deserves tiles

index_t tiles(index_t n, index_t nb) { return (n + nb - 1) / nb; }

} // namespace

template <class T>
Design<T>::Design(index_t n, index_t d, index_t n_gates, index_t c, const T* x, const T* gates,
                  int threads, std::shared_ptr<Queue> queue, const Sharing& sharing)
    : n_(n), d_(d), p_(n_gates), c_(c), x_(x), gates_(gates),
      steps_(std::move(queue), threads, sharing), threads_(threads),
      work_(steps_.queue(), d == 1 ? c * n : checked_product(checked_product(c, n_gates), n)) {}

template <class T> void Design<T>::forward(const T* e, T* z) {
    forward_own(e, z);
    sum_over_ranks(sharing().weights, z, c_ * n_);
}

template <class T> void Design<T>::adjoint(const T* q, T* g) {
    adjoint_own(q, g);
    sum_over_ranks(sharing().samples, g, half());
}

template <class T> void Design<T>::forward_own(const T* e, T* z) {
    const index_t rows = c_ * p_;
    if (d_ == 1) { // z_kj = x_j (e_k'D)_j
        parallel_for(tiles(n_, row_tile), threads_, [&](index_t b) {
            const index_t first = b * row_tile, w = std::min(row_tile, n_ - first);
            gemm(false, false, c_, w, p_, T(1), e, p_, gates_ + first, n_, T(0), z + first, n_);
            for (index_t k = 0; k < c_; ++k)
                for (index_t j = first; j < first + w; ++j) z[k * n_ + j] *= x_[j];
        });
        return;
    }
    parallel_for(tiles(n_, row_tile), threads_, [&](index_t b) {
        const index_t first = b * row_tile, w = std::min(row_tile, n_ - first);
        T* tile = work_.data() + first * rows; // (c P, w)
        gemm(false, true, rows, w, d_, T(1), e, d_, x_ + first * d_, d_, T(0), tile, w);
        for (index_t k = 0; k < c_; ++k) {
            T* out = z + k * n_ + first;
            std::fill(out, out + w, T(0));
            for (index_t i = 0; i < p_; ++i) {
                const T* FASTOPT_RESTRICT gate = gates_ + i * n_ + first;
                const T* FASTOPT_RESTRICT from = tile + (k * p_ + i) * w;
                for (index_t j = 0; j < w; ++j) out[j] += gate[j] * from[j];
            }
        }
    });
}

template <class T> void Design<T>::adjoint_own(const T* q, T* g) {
    const index_t rows = c_ * p_;
    if (d_ == 1) { // g_k = D (x o q_k)
        parallel_for(c_, threads_, [&](index_t k) {
            for (index_t j = 0; j < n_; ++j) work_.data()[k * n_ + j] = x_[j] * q[k * n_ + j];
        });
        parallel_for(tiles(p_, gate_tile), threads_, [&](index_t b) {
            const index_t first = b * gate_tile, w = std::min(gate_tile, p_ - first);
            gemm(false, true, c_, w, n_, T(1), work_.data(), n_, gates_ + first * n_, n_, T(0),
                 g + first, p_);
        });
        return;
    }
    const index_t nr = tiles(rows, gate_tile), nc = tiles(d_, column_tile);
    parallel_for(nr, threads_, [&](index_t b) {
        for (index_t r = b * gate_tile; r < std::min(rows, (b + 1) * gate_tile); ++r) {
            const T* FASTOPT_RESTRICT gate = gates_ + r % p_ * n_;
            const T* FASTOPT_RESTRICT from = q + r / p_ * n_;
            T* FASTOPT_RESTRICT out = work_.data() + r * n_;
            for (index_t j = 0; j < n_; ++j) out[j] = gate[j] * from[j];
        }
        if (nc > 1) return;
        const index_t r0 = b * gate_tile, w = std::min(gate_tile, rows - r0);
        gemm(false, false, w, d_, n_, T(1), work_.data() + r0 * n_, n_, x_, d_, T(0), g + r0 * d_,
             d_);
    });
    if (nc == 1) return;
    parallel_for(nc, threads_, [&](index_t b) {
        const index_t c0 = b * column_tile, wc = std::min(column_tile, d_ - c0);
        gemm(false, false, rows, wc, n_, T(1), work_.data(), n_, x_ + c0, d_, T(0), g + c0, d_);
    });
}

template <class T> void Design<T>::gram_rows(T* h, T* diagonal) const {
    const index_t nt = tiles(n_, gram_tile);
    parallel_for(nt * nt, threads_, [&](index_t b) {
        const index_t i = b / nt, j = b % nt;
        if (i > j) return;
        const index_t i0 = i * gram_tile, j0 = j * gram_tile;
        const index_t wi = std::min(gram_tile, n_ - i0), wj = std::min(gram_tile, n_ - j0);
        std::vector<T> xx(static_cast<std::size_t>(wi * wj)), dd(xx.size());
        gemm(false, true, wi, wj, d_, T(1), x_ + i0 * d_, d_, x_ + j0 * d_, d_, T(0), xx.data(),
             wj);
        gemm(true, false, wi, wj, p_, T(1), gates_ + i0, n_, gates_ + j0, n_, T(0), dd.data(), wj);
        for (index_t r = 0; r < wi; ++r)
            for (index_t s = i == j ? r : 0; s < wj; ++s) {
                const T value = xx[r * wj + s] * dd[r * wj + s];
                (i0 + r == j0 + s ? diagonal[i0 + r] : h[(i0 + r) * n_ + j0 + s]) = value;
            }
    });
    sum_triangle_over_ranks(sharing().weights, h, n_, false);
    sum_over_ranks(sharing().weights, diagonal, n_);
}

template <class T> void Design<T>::gram_columns(T* h, T* diagonal) const {
    const index_t group = std::max<index_t>(1, gram_tile / d_), ng = tiles(p_, group);
    const index_t size = p_ * d_;
    // Rows r0 .. r0 + m of the columns of F that belong to gates g0 .. g0 + w.
    const auto columns = [&](index_t g0, index_t w, index_t r0, index_t m, T* out) {
        for (index_t r = 0; r < m; ++r)
            for (index_t g = 0; g < w; ++g) {
                const T gate = gates_[(g0 + g) * n_ + r0 + r];
                const T* row = x_ + (r0 + r) * d_;
                T* to = out + (r * w + g) * d_;
                for (index_t k = 0; k < d_; ++k) to[k] = gate * row[k];
            }
    };
    const index_t nr = tiles(n_, row_chunk);
    for (index_t chunk = 0; chunk < nr; ++chunk)
        parallel_for(ng * ng, threads_, [&](index_t b) {
            const index_t i = b / ng, j = b % ng;
            if (i > j) return;
            const index_t gi = i * group, gj = j * group;
            const index_t wi = std::min(group, p_ - gi), wj = std::min(group, p_ - gj);
            const index_t mi = wi * d_, mj = wj * d_;
            std::vector<T> left(static_cast<std::size_t>(row_tile * mi));
            std::vector<T> right(static_cast<std::size_t>(row_tile * mj));
            std::vector<T> sum(static_cast<std::size_t>(mi * mj));
            const index_t begin = chunk * row_chunk, end = std::min(n_, begin + row_chunk);
            for (index_t r0 = begin; r0 < end; r0 += row_tile) {
                const index_t m = std::min(row_tile, end - r0);
                columns(gi, wi, r0, m, left.data());
                columns(gj, wj, r0, m, right.data());
                gemm(true, false, mi, mj, m, T(1), left.data(), mi, right.data(), mj, T(r0 > begin),
                     sum.data(), mj);
            }
            for (index_t r = 0; r < mi; ++r)
                for (index_t s = i == j ? r : 0; s < mj; ++s) {
                    const index_t row = gi * d_ + r, col = gj * d_ + s;
                    T& to = row == col ? diagonal[row] : h[row * size + col];
                    to = chunk == 0 ? sum[r * mj + s] : to + sum[r * mj + s];
                }
        });
    sum_triangle_over_ranks(sharing().samples, h, size, false);
    sum_over_ranks(sharing().samples, diagonal, size);
}

template <class T> void Design<T>::gate_gram(index_t gate, T scale, T* h) const {
    // Tiles of the lower triangle in parallel when the matrix is large, else as one.
    const index_t width = long_gate() ? gram_tile : d_, nt = tiles(d_, width);
    std::fill(h, h + d_ * d_, T(0));
    for (index_t c0 = 0; c0 < n_; c0 += row_chunk)
        parallel_for(nt * nt, threads_, [&](index_t b) {
            const index_t i0 = b / nt * width, j0 = b % nt * width;
            if (i0 < j0) return;
            const index_t wi = std::min(width, d_ - i0), wj = std::min(width, d_ - j0);
            std::vector<T> rows(static_cast<std::size_t>(row_tile * wi));
            for (index_t r0 = c0; r0 < std::min(n_, c0 + row_chunk); r0 += row_tile) {
                const index_t m = std::min({row_tile, n_ - r0, c0 + row_chunk - r0});
                for (index_t r = 0; r < m; ++r)
                    for (index_t k = 0; k < wi; ++k)
                        rows[r * wi + k] = gates_[gate * n_ + r0 + r] * x_[(r0 + r) * d_ + i0 + k];
                if (nt == 1) // D X = D D X, so D on one side will do for the other tiles
                    syrk(d_, m, scale, rows.data(), d_, T(1), h, d_);
                else
                    gemm(true, false, wi, wj, m, scale, rows.data(), wi, x_ + r0 * d_ + j0, d_,
                         T(1), h + i0 * d_ + j0, d_);
            }
        });
}

template <class T> bool Design<T>::long_gate() const {
    return static_cast<double>(n_) * d_ * d_ > long_block;
}

template <class T>
GramSystem<T>::GramSystem(Design<T>& design, bool of_rows)
    : design_(&design), size_(of_rows ? design.n() : design.n_gates() * design.d()),
      explicit_inverse_(size_ <= largest_inverse),
      matrix_(design.steps().queue(), checked_product(size_, size_)), diagonal_(size_) {
    if (explicit_inverse_) product_ = SymmetricProduct<T>(size_, design.c());
    of_rows ? design.gram_rows(matrix_.data(), diagonal_.data())
            : design.gram_columns(matrix_.data(), diagonal_.data());
}

template <class T> void GramSystem<T>::factorise(double scale) {
    const T s = static_cast<T>(scale);
    const int threads = design_->threads();
    T* a = matrix_.data();
    const index_t n = size_, nb = 64, nt = tiles(n, nb);
    parallel_for(nt, threads, [&](index_t b) { // lower triangle = I + s H
        for (index_t j0 = 0; j0 <= b * nb; j0 += nb)
            for (index_t i = b * nb; i < std::min(n, (b + 1) * nb); ++i)
                for (index_t j = j0; j < std::min(i, j0 + nb); ++j) a[i * n + j] = s * a[j * n + i];
        for (index_t i = b * nb; i < std::min(n, (b + 1) * nb); ++i)
            a[i * n + i] = T(1) + s * diagonal_[i];
    });
    if (!tiled_potrf(n, a, threads)) not_definite();
    if (!explicit_inverse_) return;
    tiled_inverse(n, a, threads);
    product_.set_diagonal_tiles(a);
}

template <class T> void GramSystem<T>::solve(const T* rhs, T* x) {
    const int threads = design_->threads();
    if (explicit_inverse_) return product_(matrix_.data(), rhs, x, threads);
    std::copy(rhs, rhs + size_ * design_->c(), x);
    tiled_solve(size_, design_->c(), matrix_.data(), x, threads);
}

template <class T>
GateBlocks<T>::GateBlocks(Design<T>& design)
    : design_(&design),
      blocks_(design.steps().queue(),
              checked_product(checked_product(design.n_gates(), design.d()), design.d())) {}

template <class T> void GateBlocks<T>::factorise(double s) {
    const index_t d = design_->d();
    const int threads = design_->threads();
    const bool tiled = design_->long_gate(); // then a gate at a time, else gates in parallel
    const auto each_gate = [&](const auto& work) {
        if (!tiled) return parallel_for(design_->n_gates(), threads, work);
        for (index_t i = 0; i < design_->n_gates(); ++i) work(i);
    };
    each_gate(
        [&](index_t i) { design_->gate_gram(i, static_cast<T>(s), blocks_.data() + i * d * d); });
    sum_over_ranks(design_->sharing().samples, blocks_.data(), blocks_.size());
    each_gate([&](index_t i) {
        T* block = blocks_.data() + i * d * d;
        for (index_t k = 0; k < d; ++k) block[k * d + k] += T(1);
        if (!(tiled ? tiled_potrf(d, block, threads) : potrf(d, block, d))) not_definite();
    });
}

template <class T> void GateBlocks<T>::solve(const T* rhs, T* x) {
    const index_t d = design_->d(), p = design_->n_gates();
    std::copy(rhs, rhs + design_->half(), x);
    parallel_for(p, design_->threads(), [&](index_t i) {
        const T* block = blocks_.data() + i * d * d;
        for (index_t k = 0; k < design_->c(); ++k) potrs(d, 1, block, d, x + (k * p + i) * d, 1);
    });
}

template class Design<double>;
template class Design<float>;
template class GramSystem<double>;
template class GramSystem<float>;
template class GateBlocks<double>;
template class GateBlocks<float>;

} // namespace fastopt

#include "admm_relu/symmetric.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include "core/parallel.hpp"

namespace fastopt {
namespace {

index_t tile_size(index_t n) { return n <= 2048 ? 128 : 256; }
index_t tiles(index_t n, index_t nb) { return (n + nb - 1) / nb; }
index_t width(index_t n, index_t nb, index_t i) { return std::min(nb, n - i * nb); }

// The pair (i, j), i >= j, with the flat number p = i (i + 1) / 2 + j.
void pair_of(index_t p, index_t& i, index_t& j) {
    i = 0;
    while ((i + 1) * (i + 2) / 2 <= p) ++i;
    j = p - i * (i + 1) / 2;
}

template <class T> void subtract_lower(index_t n, const T* tile, T* a, index_t lda) {
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j <= i; ++j) a[i * lda + j] -= tile[i * n + j];
}

} // namespace

template <class T> bool tiled_potrf(index_t n, T* a, int threads) {
    const index_t nb = tile_size(n), nt = tiles(n, nb);
    const auto at = [&](index_t i, index_t j) { return a + i * nb * n + j * nb; };
    for (index_t k = 0; k < nt; ++k) {
        const index_t wk = width(n, nb, k), left = nt - k - 1;
        if (!potrf(wk, at(k, k), n)) return false;
        parallel_for(left, threads, [&](index_t b) { // L_ik = A_ik L_kk'^-1
            const index_t i = k + 1 + b;
            trsm(false, true, width(n, nb, i), wk, at(k, k), n, at(i, k), n);
        });
        parallel_for(left * (left + 1) / 2, threads, [&](index_t p) { // A_ij -= L_ik L_jk'
            index_t i, j;
            pair_of(p, i, j);
            i += k + 1, j += k + 1;
            const index_t wi = width(n, nb, i), wj = width(n, nb, j);
            if (i != j) {
                gemm(false, true, wi, wj, wk, T(-1), at(i, k), n, at(j, k), n, T(1), at(i, j), n);
            } else {
                std::vector<T> tile(static_cast<std::size_t>(wi * wi));
                gemm(false, true, wi, wi, wk, T(1), at(i, k), n, at(i, k), n, T(0), tile.data(),
                     wi);
                subtract_lower(wi, tile.data(), at(i, i), n);
            }
        });
    }
    return true;
}

template <class T> void tiled_inverse(index_t n, T* a, int threads) {
    const index_t nb = tile_size(n), nt = tiles(n, nb);
    const Buffer<T> root(checked_product(n, n)); // L^-1
    parallel_for(nt, threads, [&](index_t j) {
        const index_t j0 = j * nb, w = width(n, nb, j);
        for (index_t i = 0; i < w; ++i) root[(j0 + i) * n + j0 + i] = T(1);
        trsm(true, false, n - j0, w, a + j0 * n + j0, n, root.data() + j0 * n + j0, n);
    });
    parallel_for(nt * (nt + 1) / 2, threads, [&](index_t p) { // A_ij = sum_k (L^-1)_ki' (L^-1)_kj
        index_t i, j;
        pair_of(p, i, j);
        const index_t i0 = i * nb, j0 = j * nb, wi = width(n, nb, i), wj = width(n, nb, j);
        const T* left = root.data() + i0 * n + i0;
        if (i != j)
            gemm(true, false, wi, wj, n - i0, T(1), left, n, root.data() + i0 * n + j0, n, T(0),
                 a + i0 * n + j0, n);
        else
            syrk(wi, n - i0, T(1), left, n, T(0), a + i0 * n + i0, n);
    });
}

template <class T>
SymmetricProduct<T>::SymmetricProduct(index_t n, index_t c)
    : n_(n), c_(c), diagonal_(checked_product(n, tile_size(n))),
      partial_(checked_product(tiles(n, tile_size(n)), n * c)) {}

template <class T> void SymmetricProduct<T>::set_diagonal_tiles(const T* a) {
    const index_t nb = tile_size(n_);
    for (index_t i = 0; i < n_; ++i) {
        const index_t t0 = i / nb * nb;
        for (index_t j = t0; j <= i; ++j) {
            diagonal_[i * nb + j - t0] = a[i * n_ + j];
            diagonal_[j * nb + i - t0] = a[i * n_ + j];
        }
    }
}

template <class T> void SymmetricProduct<T>::operator()(const T* a, const T* x, T* y, int threads) {
    const index_t n = n_, c = c_, nb = tile_size(n), nt = tiles(n, nb);
    // Tile row i: its own rows of Y, and its share of those above. Long rows first.
    parallel_for(nt, threads, [&](index_t b) {
        const index_t i = nt - 1 - b, i0 = i * nb, wi = width(n, nb, i);
        T* share = partial_.data() + i * n * c;
        const T* tile = diagonal_.data() + i0 * nb;
        if (c == 1)
            gemv(false, wi, wi, T(1), tile, nb, x + i0, T(0), y + i0);
        else
            gemm(false, true, c, wi, wi, T(1), x + i0, n, tile, nb, T(0), y + i0, n);
        for (index_t j = 0; j < i; ++j) {
            const T* aij = a + i0 * n + j * nb;
            if (c == 1) {
                gemv(false, wi, nb, T(1), aij, n, x + j * nb, T(1), y + i0);
                gemv(true, wi, nb, T(1), aij, n, x + i0, T(0), share + j * nb);
            } else {
                gemm(false, true, c, wi, nb, T(1), x + j * nb, n, aij, n, T(1), y + i0, n);
                gemm(false, false, c, nb, wi, T(1), x + i0, n, aij, n, T(0), share + j * nb, n);
            }
        }
    });
    for (index_t i = 1; i < nt; ++i) {
        const T* share = partial_.data() + i * n * c;
        for (index_t k = 0; k < c; ++k)
            for (index_t j = 0; j < i * nb; ++j) y[k * n + j] += share[k * n + j];
    }
}

template <class T> void tiled_solve(index_t n, index_t c, const T* l, T* x, int threads) {
    const index_t nb = 256, nt = tiles(n, nb);
    const auto at = [&](index_t i, index_t j) { return l + i * nb * n + j * nb; };
    for (index_t k = 0; k < nt; ++k) { // X L'^-1
        const index_t wk = width(n, nb, k);
        trsm(false, true, c, wk, at(k, k), n, x + k * nb, n);
        parallel_for(nt - k - 1, threads, [&](index_t b) {
            const index_t i = k + 1 + b, wi = width(n, nb, i);
            if (c == 1)
                gemv(false, wi, wk, T(-1), at(i, k), n, x + k * nb, T(1), x + i * nb);
            else
                gemm(false, true, c, wi, wk, T(-1), x + k * nb, n, at(i, k), n, T(1), x + i * nb,
                     n);
        });
    }
    for (index_t k = nt - 1; k >= 0; --k) { // X L^-1
        const index_t wk = width(n, nb, k);
        trsm(false, false, c, wk, at(k, k), n, x + k * nb, n);
        parallel_for(k, threads, [&](index_t i) {
            if (c == 1)
                gemv(true, wk, nb, T(-1), at(k, i), n, x + k * nb, T(1), x + i * nb);
            else
                gemm(false, false, c, nb, wk, T(-1), x + k * nb, n, at(k, i), n, T(1), x + i * nb,
                     n);
        });
    }
}

template bool tiled_potrf<double>(index_t, double*, int);
template bool tiled_potrf<float>(index_t, float*, int);
template void tiled_inverse<double>(index_t, double*, int);
template void tiled_inverse<float>(index_t, float*, int);
template class SymmetricProduct<double>;
template class SymmetricProduct<float>;
template void tiled_solve<double>(index_t, index_t, const double*, double*, int);
template void tiled_solve<float>(index_t, index_t, const float*, float*, int);

} // namespace fastopt

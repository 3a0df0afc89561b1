// Dense symmetric positive definite systems by tiles: Cholesky, inverse, product, solve, spread
// over the pool with single-threaded BLAS inside each tile. Tiles depend on n alone, so that the
// bits do not depend on the number of threads. Only the lower triangle is read or written.
#pragma once

#include "backend/backend.hpp"
#include "core/types.hpp"

namespace fastopt {

// A = L L' in place (n^3/3 flops); false when A is not positive definite.
template <class T> bool tiled_potrf(index_t n, T* a, int threads);

// The inverse of L L' in place of L (2 n^3/3 flops, one more n x n array while it runs).
template <class T> void tiled_inverse(index_t n, T* a, int threads);

// A symmetric matrix that is applied again and again to c right-hand sides (rows of length n).
template <class T> class SymmetricProduct {
  public:
    SymmetricProduct() = default;
    SymmetricProduct(index_t n, index_t c);
    // Y = X A. Reads the n^2/2 stored numbers once: 2 n^2 c flops.
    void operator()(const T* a, const T* x, T* y, int threads);
    void set_diagonal_tiles(const T* a); // after every change of A

  private:
    index_t n_ = 0, c_ = 0;
    Buffer<T> diagonal_; // the diagonal tiles, both triangles
    Buffer<T> partial_;  // for each tile row: its share of the earlier rows of Y
};

// X <- X (L L')^-1 for c rows of length n (2 n^2 c flops).
template <class T> void tiled_solve(index_t n, index_t c, const T* l, T* x, int threads);

} // namespace fastopt

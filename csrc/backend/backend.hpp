// The algebra seam: every vendor library that a solver needs, as plain functions on row-major
// arrays. Defined by cpu.cpp; another backend defines the same names and is chosen at link time.
// All functions run on the calling thread only: solvers call them from blocks of their own.
#pragma once

#include <cstring>
#include <limits>

#include "core/buffer.hpp"
#include "core/types.hpp"

namespace fastopt {

// C (m x n) = alpha op(A) op(B) + beta C; op transposes where told. Row-major, leading dimensions
// are the stored widths.
template <class T>
void gemm(bool transpose_a, bool transpose_b, index_t m, index_t n, index_t k, T alpha, const T* a,
          index_t lda, const T* b, index_t ldb, T beta, T* c, index_t ldc);

// Lower triangle of C (n x n) = alpha A' A + beta C for A (k x n).
template <class T>
void syrk(index_t n, index_t k, T alpha, const T* a, index_t lda, T beta, T* c, index_t ldc);

// A = L L' in the lower triangle, in place; false when A is not positive definite.
template <class T> bool potrf(index_t n, T* a, index_t lda);

// y (m) = alpha op(A) x + beta y for the stored matrix A (m x n), or (n) with its transpose.
template <class T>
void gemv(bool transpose, index_t m, index_t n, T alpha, const T* a, index_t lda, const T* x,
          T beta, T* y);

// B (m x n) <- op(L)^-1 B (left: L is m x m) or B op(L)^-1 (right: n x n) for a lower triangle L.
template <class T>
void trsm(bool left, bool transpose, index_t m, index_t n, const T* l, index_t ldl, T* b,
          index_t ldb);

// B (n x nrhs) <- (L L')^-1 B for the triangle of potrf.
template <class T> void potrs(index_t n, index_t nrhs, const T* l, index_t ldl, T* b, index_t ldb) {
    trsm(true, false, n, nrhs, l, ldl, b, ldb);
    trsm(true, true, n, nrhs, l, ldl, b, ldb);
}

template <class T> T dot(index_t n, const T* x, const T* y);
template <class T> void axpy(index_t n, T alpha, const T* x, T* y); // y += alpha x

// A = L D L' (Bunch-Kaufman) of a symmetric matrix given by its lower triangle, in place. Where
// pivots[k] < 0, rows k - 1 and k share a 2 x 2 block of D. sytrs solves with it, b in place.
void sytrf(index_t n, double* a, index_t lda, int* pivots);
void sytrs(index_t n, const double* a, index_t lda, const int* pivots, double* b);

// The least-squares solution of least norm of A x = b, A (m x n): b has max(m, n) entries and holds
// x at the end; A is overwritten. Singular values below rcond times the largest count as zero.
void gelsy(index_t m, index_t n, double* a, index_t lda, double* b, double rcond);

// The triangle R of A = Q R (m >= n) in the upper triangle of A, in place.
void geqrf(index_t m, index_t n, double* a, index_t lda);

// Eigenvalues of a symmetric matrix (lower triangle), ascending; row i of A becomes eigenvector i.
// False when there are none, for A is not finite.
bool syev(index_t n, double* a, index_t lda, double* eigenvalues);

const char* blas_name(); // the library's own words: name, version, kernel

} // namespace fastopt

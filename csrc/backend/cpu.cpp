// The CPU backend: OpenBLAS as packaged by scipy-openblas32 (its names carry the prefix scipy_), a
// private copy inside the wheel. It is told to use one thread: solvers cut the work into blocks.
#include <cblas.h>
#include <lapacke.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "backend/backend.hpp"
#include "core/error.hpp"

namespace fastopt {
namespace {

// Before main or dlopen returns, so that no caller can meet a threaded BLAS.
const bool single_threaded = [] {
    scipy_openblas_set_num_threads(1);
    return true;
}();

CBLAS_TRANSPOSE op(bool transpose) { return transpose ? CblasTrans : CblasNoTrans; }

// BLAS counts in int.
int narrow(index_t n) {
    FASTOPT_REQUIRE(n >= 0 && n <= std::numeric_limits<int>::max(),
                    "a matrix dimension is too large for BLAS: " + std::to_string(n));
    return static_cast<int>(n);
}

} // namespace

template <>
void gemm<double>(bool ta, bool tb, index_t m, index_t n, index_t k, double alpha, const double* a,
                  index_t lda, const double* b, index_t ldb, double beta, double* c, index_t ldc) {
    scipy_cblas_dgemm(CblasRowMajor, op(ta), op(tb), narrow(m), narrow(n), narrow(k), alpha, a,
                      narrow(lda), b, narrow(ldb), beta, c, narrow(ldc));
}

template <>
void gemm<float>(bool ta, bool tb, index_t m, index_t n, index_t k, float alpha, const float* a,
                 index_t lda, const float* b, index_t ldb, float beta, float* c, index_t ldc) {
    scipy_cblas_sgemm(CblasRowMajor, op(ta), op(tb), narrow(m), narrow(n), narrow(k), alpha, a,
                      narrow(lda), b, narrow(ldb), beta, c, narrow(ldc));
}

template <>
void syrk<double>(index_t n, index_t k, double alpha, const double* a, index_t lda, double beta,
                  double* c, index_t ldc) {
    scipy_cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, narrow(n), narrow(k), alpha, a,
                      narrow(lda), beta, c, narrow(ldc));
}

template <>
void syrk<float>(index_t n, index_t k, float alpha, const float* a, index_t lda, float beta,
                 float* c, index_t ldc) {
    scipy_cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, narrow(n), narrow(k), alpha, a,
                      narrow(lda), beta, c, narrow(ldc));
}

template <> bool potrf<double>(index_t n, double* a, index_t lda) {
    return scipy_LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', narrow(n), a, narrow(lda)) == 0;
}

template <> bool potrf<float>(index_t n, float* a, index_t lda) {
    return scipy_LAPACKE_spotrf(LAPACK_ROW_MAJOR, 'L', narrow(n), a, narrow(lda)) == 0;
}

template <>
void gemv<double>(bool transpose, index_t m, index_t n, double alpha, const double* a, index_t lda,
                  const double* x, double beta, double* y) {
    scipy_cblas_dgemv(CblasRowMajor, op(transpose), narrow(m), narrow(n), alpha, a, narrow(lda), x,
                      1, beta, y, 1);
}

template <>
void trsm<double>(bool left, bool transpose, index_t m, index_t n, const double* l, index_t ldl,
                  double* b, index_t ldb) {
    if (left && n == 1 && ldb == 1)
        return scipy_cblas_dtrsv(CblasRowMajor, CblasLower, op(transpose), CblasNonUnit, narrow(m),
                                 l, narrow(ldl), b, 1);
    scipy_cblas_dtrsm(CblasRowMajor, left ? CblasLeft : CblasRight, CblasLower, op(transpose),
                      CblasNonUnit, narrow(m), narrow(n), 1, l, narrow(ldl), b, narrow(ldb));
}

template <> double dot<double>(index_t n, const double* x, const double* y) {
    return scipy_cblas_ddot(narrow(n), x, 1, y, 1);
}

template <> void axpy<double>(index_t n, double alpha, const double* x, double* y) {
    scipy_cblas_daxpy(narrow(n), alpha, x, 1, y, 1);
}

template <>
void gemv<float>(bool transpose, index_t m, index_t n, float alpha, const float* a, index_t lda,
                 const float* x, float beta, float* y) {
    scipy_cblas_sgemv(CblasRowMajor, op(transpose), narrow(m), narrow(n), alpha, a, narrow(lda), x,
                      1, beta, y, 1);
}

template <>
void trsm<float>(bool left, bool transpose, index_t m, index_t n, const float* l, index_t ldl,
                 float* b, index_t ldb) {
    if (left && n == 1 && ldb == 1)
        return scipy_cblas_strsv(CblasRowMajor, CblasLower, op(transpose), CblasNonUnit, narrow(m),
                                 l, narrow(ldl), b, 1);
    scipy_cblas_strsm(CblasRowMajor, left ? CblasLeft : CblasRight, CblasLower, op(transpose),
                      CblasNonUnit, narrow(m), narrow(n), 1, l, narrow(ldl), b, narrow(ldb));
}

template <> float dot<float>(index_t n, const float* x, const float* y) {
    return scipy_cblas_sdot(narrow(n), x, 1, y, 1);
}

template <> void axpy<float>(index_t n, float alpha, const float* x, float* y) {
    scipy_cblas_saxpy(narrow(n), alpha, x, 1, y, 1);
}

// The lower triangle by rows is the upper one by columns: no transposition.
void sytrf(index_t n, double* a, index_t lda, int* pivots) {
    const int info = scipy_LAPACKE_dsytrf(LAPACK_COL_MAJOR, 'U', narrow(n), a, narrow(lda), pivots);
    if (info == LAPACK_WORK_MEMORY_ERROR) throw std::bad_alloc();
    if (info < 0) throw BackendError("sytrf refused argument " + std::to_string(-info));
}

void sytrs(index_t n, const double* a, index_t lda, const int* pivots, double* b) {
    scipy_LAPACKE_dsytrs(LAPACK_COL_MAJOR, 'U', narrow(n), 1, a, narrow(lda), pivots, b, narrow(n));
}

void gelsy(index_t m, index_t n, double* a, index_t lda, double* b, double rcond) {
    const auto pivots = std::make_unique<int[]>(static_cast<std::size_t>(n));
    int rank = 0;
    const int info = scipy_LAPACKE_dgelsy(LAPACK_ROW_MAJOR, narrow(m), narrow(n), 1, a, narrow(lda),
                                          b, 1, pivots.get(), rcond, &rank);
    if (info < 0) throw BackendError("gelsy refused argument " + std::to_string(-info));
}

void geqrf(index_t m, index_t n, double* a, index_t lda) {
    const auto tau = std::make_unique<double[]>(static_cast<std::size_t>(n));
    const int info =
        scipy_LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, narrow(m), narrow(n), a, narrow(lda), tau.get());
    if (info < 0) throw BackendError("geqrf refused argument " + std::to_string(-info));
}

bool syev(index_t n, double* a, index_t lda, double* eigenvalues) {
    const int info =
        scipy_LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', narrow(n), a, narrow(lda), eigenvalues);
    if (info == LAPACK_WORK_MEMORY_ERROR) throw std::bad_alloc();
    return info == 0 && std::isfinite(eigenvalues[0]) && std::isfinite(eigenvalues[n - 1]);
}

const char* blas_name() { return scipy_openblas_get_config(); }

} // namespace fastopt

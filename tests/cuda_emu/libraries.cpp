// cuBLAS and cuSOLVER over OpenBLAS. Operands must be live device memory of the right extent, alpha
// and beta host numbers that are read at the call; the work itself waits in the stream.
#include <cblas.h>
#include <cusolverDn.h>
#include <lapacke.h>

#include <algorithm>
#include <atomic>

using namespace cuda_emu;

struct cublasContext {
    cudaStream_t stream = nullptr;
};
struct cusolverDnContext {
    cudaStream_t stream = nullptr;
};

const char* cublasGetStatusString(cublasStatus_t status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "success";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "invalid value";
    default:
        return "internal error";
    }
}
cublasStatus_t cublasCreate(cublasHandle_t* handle) {
    if (injected()) return CUBLAS_STATUS_INTERNAL_ERROR;
    *handle = new cublasContext;
    alive(1);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
    const bool failed = injected(true);
    delete handle;
    alive(-1);
    return failed ? CUBLAS_STATUS_INTERNAL_ERROR : CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
    if (injected()) return CUBLAS_STATUS_INTERNAL_ERROR;
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* handle) {
    if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;
    *handle = new cusolverDnContext;
    alive(1);
    return CUSOLVER_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle) {
    const bool failed = injected(true);
    delete handle;
    alive(-1);
    return failed ? CUSOLVER_STATUS_INTERNAL_ERROR : CUSOLVER_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream) {
    if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;
    handle->stream = stream;
    return CUSOLVER_STATUS_SUCCESS;
}

namespace {

std::atomic<long> products; // multiplications and additions of gemm

// A column-major matrix: rows x cols numbers at leading dimension ld.
template <class T> bool matrix(const T* p, int rows, int cols, int ld, const char* what) {
    if (rows < 0 || cols < 0 || ld < std::max(1, rows)) return false;
    if (rows == 0 || cols == 0) return true;
    const std::size_t count = static_cast<std::size_t>(ld) * static_cast<std::size_t>(cols - 1) +
                              static_cast<std::size_t>(rows);
    require_device(p, count * sizeof(T), what);
    return true;
}

template <class T> void touch_matrix(const T* p, int rows, int cols, int ld, bool writes) {
    for (std::ptrdiff_t j = 0; rows > 0 && j < cols; ++j)
        touch(p + j * ld, static_cast<std::size_t>(rows) * sizeof(T), writes);
}

CBLAS_TRANSPOSE op(cublasOperation_t o) { return o == CUBLAS_OP_T ? CblasTrans : CblasNoTrans; }
CBLAS_UPLO half(cublasFillMode_t u) {
    return u == CUBLAS_FILL_MODE_LOWER ? CblasLower : CblasUpper;
}
char letter(cublasFillMode_t u) { return u == CUBLAS_FILL_MODE_LOWER ? 'L' : 'U'; }

} // namespace

long cuda_emu_flops() { return products; }

#define CUDA_EMU_BLAS(T, L, l)                                                                     \
    cublasStatus_t cublas##L##gemm(cublasHandle_t handle, cublasOperation_t op_a,                  \
                                   cublasOperation_t op_b, int m, int n, int k, const T* alpha,    \
                                   const T* a, int lda, const T* b, int ldb, const T* beta, T* c,  \
                                   int ldc) {                                                      \
        if (injected()) return CUBLAS_STATUS_INTERNAL_ERROR;                                       \
        require_host(alpha, sizeof(T), "cublas gemm, alpha");                                      \
        require_host(beta, sizeof(T), "cublas gemm, beta");                                        \
        const bool ta = op_a == CUBLAS_OP_T, tb = op_b == CUBLAS_OP_T;                             \
        if (!matrix(a, ta ? k : m, ta ? m : k, lda, "cublas gemm, A") ||                           \
            !matrix(b, tb ? n : k, tb ? k : n, ldb, "cublas gemm, B") ||                           \
            !matrix(c, m, n, ldc, "cublas gemm, C"))                                               \
            return CUBLAS_STATUS_INVALID_VALUE;                                                    \
        products += 2L * m * n * k;                                                                \
        enqueue(handle->stream, [=, x = *alpha, y = *beta] {                                       \
            scipy_cblas_##l##gemm(CblasColMajor, op(op_a), op(op_b), m, n, k, x, a, lda, b, ldb,   \
                                  y, c, ldc);                                                      \
            touch_matrix(a, ta ? k : m, ta ? m : k, lda, false);                                   \
            touch_matrix(b, tb ? n : k, tb ? k : n, ldb, false);                                   \
            if (y != T(0)) touch_matrix(c, m, n, ldc, false);                                      \
            touch_matrix(c, m, n, ldc, true), end_of_work();                                       \
        });                                                                                        \
        return CUBLAS_STATUS_SUCCESS;                                                              \
    }                                                                                              \
    cublasStatus_t cublas##L##syrk(cublasHandle_t handle, cublasFillMode_t uplo,                   \
                                   cublasOperation_t o, int n, int k, const T* alpha, const T* a,  \
                                   int lda, const T* beta, T* c, int ldc) {                        \
        if (injected()) return CUBLAS_STATUS_INTERNAL_ERROR;                                       \
        require_host(alpha, sizeof(T), "cublas syrk, alpha");                                      \
        require_host(beta, sizeof(T), "cublas syrk, beta");                                        \
        const bool t = o == CUBLAS_OP_T;                                                           \
        if (!matrix(a, t ? k : n, t ? n : k, lda, "cublas syrk, A") ||                             \
            !matrix(c, n, n, ldc, "cublas syrk, C"))                                               \
            return CUBLAS_STATUS_INVALID_VALUE;                                                    \
        enqueue(handle->stream, [=, x = *alpha, y = *beta] {                                       \
            scipy_cblas_##l##syrk(CblasColMajor, half(uplo), op(o), n, k, x, a, lda, y, c, ldc);   \
        });                                                                                        \
        return CUBLAS_STATUS_SUCCESS;                                                              \
    }                                                                                              \
    cublasStatus_t cublas##L##trsm(cublasHandle_t handle, cublasSideMode_t side,                   \
                                   cublasFillMode_t uplo, cublasOperation_t o,                     \
                                   cublasDiagType_t diagonal, int m, int n, const T* alpha,        \
                                   const T* a, int lda, T* b, int ldb) {                           \
        if (injected()) return CUBLAS_STATUS_INTERNAL_ERROR;                                       \
        require_host(alpha, sizeof(T), "cublas trsm, alpha");                                      \
        const bool left = side == CUBLAS_SIDE_LEFT;                                                \
        const int order = left ? m : n;                                                            \
        if (!matrix(a, order, order, lda, "cublas trsm, A") ||                                     \
            !matrix(b, m, n, ldb, "cublas trsm, B"))                                               \
            return CUBLAS_STATUS_INVALID_VALUE;                                                    \
        enqueue(handle->stream, [=, x = *alpha] {                                                  \
            scipy_cblas_##l##trsm(CblasColMajor, left ? CblasLeft : CblasRight, half(uplo), op(o), \
                                  diagonal == CUBLAS_DIAG_UNIT ? CblasUnit : CblasNonUnit, m, n,   \
                                  x, a, lda, b, ldb);                                              \
        });                                                                                        \
        return CUBLAS_STATUS_SUCCESS;                                                              \
    }                                                                                              \
    cusolverStatus_t cusolverDn##L##potrf_bufferSize(cusolverDnHandle_t, cublasFillMode_t, int n,  \
                                                     T* a, int lda, int* size) {                   \
        if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;                                     \
        if (!matrix(a, n, n, lda, "cusolver potrf_bufferSize, A"))                                 \
            return CUSOLVER_STATUS_INVALID_VALUE;                                                  \
        *size = n;                                                                                 \
        return CUSOLVER_STATUS_SUCCESS;                                                            \
    }                                                                                              \
    cusolverStatus_t cusolverDn##L##potrf(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, \
                                          T* a, int lda, T* work, int size, int* info) {           \
        if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;                                     \
        if (size < n || !matrix(a, n, n, lda, "cusolver potrf, A"))                                \
            return CUSOLVER_STATUS_INVALID_VALUE;                                                  \
        require_device(work, static_cast<std::size_t>(size) * sizeof(T), "cusolver potrf, work");  \
        require_device(info, sizeof(int), "cusolver potrf, info");                                 \
        enqueue(handle->stream, [=] {                                                              \
            *info = scipy_LAPACKE_##l##potrf(LAPACK_COL_MAJOR, letter(uplo), n, a, lda);           \
        });                                                                                        \
        return CUSOLVER_STATUS_SUCCESS;                                                            \
    }                                                                                              \
    cusolverStatus_t cusolverDn##L##potri_bufferSize(cusolverDnHandle_t, cublasFillMode_t, int n,  \
                                                     T* a, int lda, int* size) {                   \
        if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;                                     \
        if (!matrix(a, n, n, lda, "cusolver potri_bufferSize, A"))                                 \
            return CUSOLVER_STATUS_INVALID_VALUE;                                                  \
        *size = n;                                                                                 \
        return CUSOLVER_STATUS_SUCCESS;                                                            \
    }                                                                                              \
    cusolverStatus_t cusolverDn##L##potri(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, \
                                          T* a, int lda, T* work, int size, int* info) {           \
        if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;                                     \
        if (size < n || !matrix(a, n, n, lda, "cusolver potri, A"))                                \
            return CUSOLVER_STATUS_INVALID_VALUE;                                                  \
        require_device(work, static_cast<std::size_t>(size) * sizeof(T), "cusolver potri, work");  \
        require_device(info, sizeof(int), "cusolver potri, info");                                 \
        enqueue(handle->stream, [=] {                                                              \
            *info = scipy_LAPACKE_##l##potri(LAPACK_COL_MAJOR, letter(uplo), n, a, lda);           \
        });                                                                                        \
        return CUSOLVER_STATUS_SUCCESS;                                                            \
    }                                                                                              \
    cusolverStatus_t cusolverDn##L##potrs(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, \
                                          int columns, const T* a, int lda, T* b, int ldb,         \
                                          int* info) {                                             \
        if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;                                     \
        if (!matrix(a, n, n, lda, "cusolver potrs, A") ||                                          \
            !matrix(b, n, columns, ldb, "cusolver potrs, B"))                                      \
            return CUSOLVER_STATUS_INVALID_VALUE;                                                  \
        require_device(info, sizeof(int), "cusolver potrs, info");                                 \
        enqueue(handle->stream, [=] {                                                              \
            *info = scipy_LAPACKE_##l##potrs(LAPACK_COL_MAJOR, letter(uplo), n, columns, a, lda,   \
                                             b, ldb);                                              \
        });                                                                                        \
        return CUSOLVER_STATUS_SUCCESS;                                                            \
    }
CUDA_EMU_BLAS(double, D, d)
CUDA_EMU_BLAS(float, S, s)
#undef CUDA_EMU_BLAS

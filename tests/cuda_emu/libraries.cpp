// cuBLAS and cuSOLVER over OpenBLAS. Operands must be live device memory of the right extent, alpha
// and beta host numbers that are read at the call; the work itself waits in the stream.
#include <cblas.h>
#include <cusolverDn.h>
#include <lapacke.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

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

template <class T>
void touch_triangle(const T* p, cublasFillMode_t uplo, int n, int ld, bool writes) {
    for (int j = 0; j < n; ++j) {
        const bool lower = uplo == CUBLAS_FILL_MODE_LOWER;
        touch_matrix(p + std::ptrdiff_t{ld} * j + (lower ? j : 0), lower ? n - j : j + 1, 1, ld,
                     writes);
    }
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
    cublasStatus_t cublas##L##gemv(cublasHandle_t handle, cublasOperation_t o, int m, int n,       \
                                   const T* alpha, const T* a, int lda, const T* x, int incx,      \
                                   const T* beta, T* y, int incy) {                                \
        if (injected()) return CUBLAS_STATUS_INTERNAL_ERROR;                                       \
        require_host(alpha, sizeof(T), "cublas gemv, alpha");                                      \
        require_host(beta, sizeof(T), "cublas gemv, beta");                                        \
        const bool t = o == CUBLAS_OP_T;                                                           \
        if (incx != 1 || incy != 1 || !matrix(a, m, n, lda, "cublas gemv, A") ||                   \
            !matrix(x, t ? m : n, 1, t ? m : n, "cublas gemv, x") ||                               \
            !matrix(y, t ? n : m, 1, t ? n : m, "cublas gemv, y"))                                 \
            return CUBLAS_STATUS_INVALID_VALUE;                                                    \
        enqueue(handle->stream, [=, f = *alpha, g = *beta] {                                       \
            scipy_cblas_##l##gemv(CblasColMajor, op(o), m, n, f, a, lda, x, 1, g, y, 1);           \
            touch_matrix(a, m, n, lda, false), touch_matrix(x, t ? m : n, 1, t ? m : n, false);    \
            if (g != T(0)) touch_matrix(y, t ? n : m, 1, t ? n : m, false);                        \
            touch_matrix(y, t ? n : m, 1, t ? n : m, true), end_of_work();                         \
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
            touch_matrix(a, t ? k : n, t ? n : k, lda, false);                                     \
            if (y != T(0)) touch_triangle(c, uplo, n, ldc, false);                                 \
            touch_triangle(c, uplo, n, ldc, true), end_of_work();                                  \
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
            touch_triangle(a, uplo, order, lda, false);                                            \
            touch_matrix(b, m, n, ldb, false), touch_matrix(b, m, n, ldb, true), end_of_work();    \
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
            touch_triangle(a, uplo, n, lda, false), touch_triangle(a, uplo, n, lda, true);         \
            touch(info, sizeof *info, true), end_of_work();                                        \
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
            touch_triangle(a, uplo, n, lda, false), touch_triangle(a, uplo, n, lda, true);         \
            touch(info, sizeof *info, true), end_of_work();                                        \
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
            touch_triangle(a, uplo, n, lda, false), touch_matrix(b, n, columns, ldb, false);       \
            touch_matrix(b, n, columns, ldb, true), touch(info, sizeof *info, true);               \
            end_of_work();                                                                         \
        });                                                                                        \
        return CUSOLVER_STATUS_SUCCESS;                                                            \
    }
CUDA_EMU_BLAS(double, D, d)
CUDA_EMU_BLAS(float, S, s)
#undef CUDA_EMU_BLAS

cusolverStatus_t cusolverDnDsytrf_bufferSize(cusolverDnHandle_t, int n, double* a, int lda,
                                             int* size) {
    if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;
    if (!matrix(a, n, n, lda, "cusolver sytrf_bufferSize, A")) return CUSOLVER_STATUS_INVALID_VALUE;
    *size = 2 * n;
    return CUSOLVER_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnDsytrf(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n,
                                  double* a, int lda, int* pivots, double* work, int size,
                                  int* info) {
    if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;
    if (size < 2 * n || !matrix(a, n, n, lda, "cusolver sytrf, A"))
        return CUSOLVER_STATUS_INVALID_VALUE;
    const std::size_t count = static_cast<std::size_t>(n);
    require_device(pivots, count * sizeof(int), "cusolver sytrf, pivots");
    require_device(work, 2 * count * sizeof(double), "cusolver sytrf, work");
    require_device(info, sizeof(int), "cusolver sytrf, info");
    enqueue(handle->stream, [=] {
        *info = scipy_LAPACKE_dsytrf(LAPACK_COL_MAJOR, letter(uplo), n, a, lda, pivots);
        touch_triangle(a, uplo, n, lda, false), touch_triangle(a, uplo, n, lda, true);
        touch_matrix(pivots, n, 1, n, true), touch(info, sizeof *info, true), end_of_work();
    });
    return CUSOLVER_STATUS_SUCCESS;
}

namespace {

// Of Xsytrs; the sizes of its work spaces are any that tell a missing one.
bool solvable(std::int64_t n, std::int64_t columns, cudaDataType type_a, const void* a,
              std::int64_t lda, const std::int64_t* pivots, cudaDataType type_b, const void* b,
              std::int64_t ldb) {
    if (type_a != CUDA_R_64F || type_b != CUDA_R_64F) return false;
    const int order = static_cast<int>(n);
    require_device(pivots, static_cast<std::size_t>(n) * sizeof(std::int64_t),
                   "cusolver sytrs, pivots");
    return matrix(static_cast<const double*>(a), order, order, static_cast<int>(lda),
                  "cusolver sytrs, A") &&
           matrix(static_cast<const double*>(b), order, static_cast<int>(columns),
                  static_cast<int>(ldb), "cusolver sytrs, B");
}
std::size_t sytrs_bytes(std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(double); }
constexpr std::size_t sytrs_host_bytes = 24;

} // namespace

cusolverStatus_t cusolverDnXsytrs_bufferSize(cusolverDnHandle_t, cublasFillMode_t, std::int64_t n,
                                             std::int64_t columns, cudaDataType type_a,
                                             const void* a, std::int64_t lda,
                                             const std::int64_t* pivots, cudaDataType type_b,
                                             void* b, std::int64_t ldb, std::size_t* bytes,
                                             std::size_t* host_bytes) {
    if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;
    if (!solvable(n, columns, type_a, a, lda, pivots, type_b, b, ldb))
        return CUSOLVER_STATUS_INVALID_VALUE;
    *bytes = sytrs_bytes(n), *host_bytes = sytrs_host_bytes;
    return CUSOLVER_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnXsytrs(cusolverDnHandle_t handle, cublasFillMode_t uplo, std::int64_t n,
                                  std::int64_t columns, cudaDataType type_a, const void* a,
                                  std::int64_t lda, const std::int64_t* pivots, cudaDataType type_b,
                                  void* b, std::int64_t ldb, void* work, std::size_t bytes,
                                  void* host_work, std::size_t host_bytes, int* info) {
    if (injected()) return CUSOLVER_STATUS_INTERNAL_ERROR;
    if (bytes < sytrs_bytes(n) || host_bytes < sytrs_host_bytes ||
        !solvable(n, columns, type_a, a, lda, pivots, type_b, b, ldb))
        return CUSOLVER_STATUS_INVALID_VALUE;
    require_device(work, bytes, "cusolver sytrs, work");
    require_host(host_work, host_bytes, "cusolver sytrs, work of the host");
    require_device(info, sizeof(int), "cusolver sytrs, info");
    enqueue(handle->stream, [=] {
        std::vector<int> narrow(pivots, pivots + n);
        std::memset(host_work, 0xFF, host_bytes); // it is still there when the work is done
        *info = scipy_LAPACKE_dsytrs(LAPACK_COL_MAJOR, letter(uplo), static_cast<int>(n),
                                     static_cast<int>(columns), static_cast<const double*>(a),
                                     static_cast<int>(lda), narrow.data(), static_cast<double*>(b),
                                     static_cast<int>(ldb));
        const int order = static_cast<int>(n), width = static_cast<int>(columns);
        double* x = static_cast<double*>(b);
        touch_triangle(static_cast<const double*>(a), uplo, order, static_cast<int>(lda), false);
        touch_matrix(pivots, order, 1, order, false);
        touch_matrix(x, order, width, static_cast<int>(ldb), false);
        touch_matrix(x, order, width, static_cast<int>(ldb), true);
        touch(info, sizeof *info, true), end_of_work();
    });
    return CUSOLVER_STATUS_SUCCESS;
}

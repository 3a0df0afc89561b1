// Stand-in for cuBLAS: the few functions that this project calls, column-major, queued on the
// handle's stream. See cuda_emu.hpp.
#pragma once

#include <cuda_runtime.h>

enum cublasStatus_t {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_INTERNAL_ERROR = 14
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasSideMode_t { CUBLAS_SIDE_LEFT = 0, CUBLAS_SIDE_RIGHT = 1 };
enum cublasDiagType_t { CUBLAS_DIAG_NON_UNIT = 0, CUBLAS_DIAG_UNIT = 1 };
enum cublasFillMode_t { CUBLAS_FILL_MODE_LOWER = 0, CUBLAS_FILL_MODE_UPPER = 1 };

struct cublasContext;
using cublasHandle_t = cublasContext*;

const char* cublasGetStatusString(cublasStatus_t status);
cublasStatus_t cublasCreate(cublasHandle_t* handle);
cublasStatus_t cublasDestroy(cublasHandle_t handle);
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream);

#define CUDA_EMU_BLAS(T, letter)                                                                   \
    cublasStatus_t cublas##letter##gemm(cublasHandle_t handle, cublasOperation_t op_a,             \
                                        cublasOperation_t op_b, int m, int n, int k,               \
                                        const T* alpha, const T* a, int lda, const T* b, int ldb,  \
                                        const T* beta, T* c, int ldc);                             \
    cublasStatus_t cublas##letter##gemv(cublasHandle_t handle, cublasOperation_t op, int m, int n, \
                                        const T* alpha, const T* a, int lda, const T* x, int incx, \
                                        const T* beta, T* y, int incy);                            \
    cublasStatus_t cublas##letter##syrk(cublasHandle_t handle, cublasFillMode_t uplo,              \
                                        cublasOperation_t op, int n, int k, const T* alpha,        \
                                        const T* a, int lda, const T* beta, T* c, int ldc);        \
    cublasStatus_t cublas##letter##trsm(cublasHandle_t handle, cublasSideMode_t side,              \
                                        cublasFillMode_t uplo, cublasOperation_t op,               \
                                        cublasDiagType_t diagonal, int m, int n, const T* alpha,   \
                                        const T* a, int lda, T* b, int ldb);
CUDA_EMU_BLAS(double, D)
CUDA_EMU_BLAS(float, S)
#undef CUDA_EMU_BLAS

// Stand-in for cuSOLVER's dense part: the few functions that this project calls. See cuda_emu.hpp.
#pragma once

#include <cublas_v2.h>

enum cusolverStatus_t {
    CUSOLVER_STATUS_SUCCESS = 0,
    CUSOLVER_STATUS_INVALID_VALUE = 3,
    CUSOLVER_STATUS_INTERNAL_ERROR = 7
};

struct cusolverDnContext;
using cusolverDnHandle_t = cusolverDnContext*;

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* handle);
cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle);
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream);

enum cudaDataType { CUDA_R_64F = 1 }; // the only one here

// Pivots as LAPACK's; D may be singular, which `info` > 0 tells.
cusolverStatus_t cusolverDnDsytrf_bufferSize(cusolverDnHandle_t handle, int n, double* a, int lda,
                                             int* size);
cusolverStatus_t cusolverDnDsytrf(cusolverDnHandle_t handle, cublasFillMode_t uplo, int n,
                                  double* a, int lda, int* pivots, double* work, int size,
                                  int* info);
cusolverStatus_t cusolverDnXsytrs_bufferSize(cusolverDnHandle_t handle, cublasFillMode_t uplo,
                                             std::int64_t n, std::int64_t columns,
                                             cudaDataType type_a, const void* a, std::int64_t lda,
                                             const std::int64_t* pivots, cudaDataType type_b,
                                             void* b, std::int64_t ldb, std::size_t* bytes,
                                             std::size_t* host_bytes);
cusolverStatus_t cusolverDnXsytrs(cusolverDnHandle_t handle, cublasFillMode_t uplo, std::int64_t n,
                                  std::int64_t columns, cudaDataType type_a, const void* a,
                                  std::int64_t lda, const std::int64_t* pivots, cudaDataType type_b,
                                  void* b, std::int64_t ldb, void* work, std::size_t bytes,
                                  void* host_work, std::size_t host_bytes, int* info);

#define CUDA_EMU_SOLVER(T, letter)                                                                 \
    cusolverStatus_t cusolverDn##letter##potrf_bufferSize(                                         \
        cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, T* a, int lda, int* size);        \
    cusolverStatus_t cusolverDn##letter##potrf(cusolverDnHandle_t handle, cublasFillMode_t uplo,   \
                                               int n, T* a, int lda, T* work, int size,            \
                                               int* info);                                         \
    cusolverStatus_t cusolverDn##letter##potri_bufferSize(                                         \
        cusolverDnHandle_t handle, cublasFillMode_t uplo, int n, T* a, int lda, int* size);        \
    cusolverStatus_t cusolverDn##letter##potri(cusolverDnHandle_t handle, cublasFillMode_t uplo,   \
                                               int n, T* a, int lda, T* work, int size,            \
                                               int* info);                                         \
    cusolverStatus_t cusolverDn##letter##potrs(cusolverDnHandle_t handle, cublasFillMode_t uplo,   \
                                               int n, int columns, const T* a, int lda, T* b,      \
                                               int ldb, int* info);
CUDA_EMU_SOLVER(double, D)
CUDA_EMU_SOLVER(float, S)
#undef CUDA_EMU_SOLVER

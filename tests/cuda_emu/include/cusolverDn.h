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

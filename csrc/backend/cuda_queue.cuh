// The queue of the CUDA backend: one stream, the libraries' handles, made when first needed, and a
// small pinned buffer through which all copies between host and device go.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>

#include "backend/queue.hpp"

namespace fastopt {

class Queue {
  public:
    Queue();
    ~Queue();
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;

    cudaStream_t stream() const { return stream_; }
    cublasHandle_t blas();
    cusolverDnHandle_t solver();
    char* staging() const { return static_cast<char*>(staging_); }
    static constexpr std::size_t staging_bytes = std::size_t{1} << 20;

  private:
    void close() noexcept;

    cudaStream_t stream_ = nullptr;
    cublasHandle_t blas_ = nullptr;
    cusolverDnHandle_t solver_ = nullptr;
    void* staging_ = nullptr;
};

} // namespace fastopt

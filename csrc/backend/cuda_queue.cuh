// The queue of the CUDA backend: one stream, the libraries' handles, made when first needed, and a
// small pinned buffer through which all copies between host and device go.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>

#include "backend/launch.cuh"
#include "backend/queue.hpp"
#include "backend/reduce.cuh"

namespace fastopt {

class Queue {
  public:
    Queue();
    ~Queue();
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;

    int device() const { return device_; }
    cudaStream_t stream() const { return stream_; }
    cublasHandle_t blas();
    cusolverDnHandle_t solver();
    char* staging() const { return static_cast<char*>(staging_); }
    static constexpr std::size_t staging_bytes = std::size_t{1} << 20;

  private:
    void close() noexcept;

    int device_ = 0;
    cudaStream_t stream_ = nullptr;
    cublasHandle_t blas_ = nullptr;
    cusolverDnHandle_t solver_ = nullptr;
    void* staging_ = nullptr;
};

// What only this backend's steps need of the libraries: the lower triangle of (L L')^-1 in place of
// the triangle L of potrf; b (n) <- (L L')^-1 b.
template <class T> void potri(Queue& queue, index_t n, T* a, index_t lda);
template <class T> void potrs(Queue& queue, index_t n, const T* l, index_t ldl, T* b);
// backend.hpp's sytrf and sytrs, whose pivots are 64 bits wide for the latter.
void sytrf(Queue& queue, index_t n, double* a, index_t lda, int* pivots);
void sytrs(Queue& queue, index_t n, const double* a, index_t lda, const std::int64_t* pivots,
           double* b);

namespace gpu {

// One launch on the queue's stream, enough threads for `items`.
template <class... Params, class... Args>
void over(Queue& queue, index_t items, void (*kernel)(Params...), Args... args) {
    if (items > 0) launch(queue.stream(), blocks_for(items), block_size, 0, kernel, args...);
}

// f(i) for i < n.
template <class F> void apply(Queue& queue, index_t n, F f) { over(queue, n, each<F>, n, f); }

constexpr index_t sum_blocks = 256; // of a reduction
constexpr int fold_threads = 64;
constexpr std::size_t warps_of_block = block_size / warp_size;

// part_0 = op over the parts of `grid` blocks: one launch at most.
template <class V, class Op> void fold(Queue& queue, index_t grid, V* part) {
    if (grid > 1)
        launch(queue.stream(), 1, fold_threads, fold_threads / warp_size * sizeof(V),
               fold_parts<V, Op>, grid, part);
}
// part_0 = op over f(i), i < n, n > 0; there is room for sum_blocks parts.
template <class V, class Op, class F> void reduce(Queue& queue, index_t n, F f, V* part) {
    const index_t grid = blocks_for(n) < sum_blocks ? blocks_for(n) : sum_blocks;
    launch(queue.stream(), grid, block_size, warps_of_block * sizeof(V), reduce_parts<V, Op, F>, n,
           f, part);
    fold<V, Op>(queue, grid, part);
}

} // namespace gpu

} // namespace fastopt

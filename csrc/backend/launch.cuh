// Launching kernels without <<<>>>, so that the same text compiles with nvcc and, on the emulated
// device of tests/cuda_emu, with g++.
#pragma once

#include <cuda_runtime.h>

#include <new>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "core/types.hpp"

// Before a loop around a division: unrolled copies of its slow path would spill registers.
#if defined(__CUDACC__)
#define FASTOPT_NOT_UNROLLED _Pragma("unroll 1")
#else
#define FASTOPT_NOT_UNROLLED
#endif

namespace fastopt {
namespace gpu {

constexpr int block_size = 256;
constexpr index_t most_blocks = 1024; // loops stride over the grid
constexpr unsigned whole_warp = 0xffffffffu;
constexpr int warp_size = 32;

inline void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    if (error == cudaErrorMemoryAllocation) throw std::bad_alloc();
    throw BackendError(std::string("CUDA: ") + what + " failed: " + cudaGetErrorString(error) +
                       " (" + cudaGetErrorName(error) + ")");
}

// Enough blocks for one item a thread, within the grid's limit.
inline index_t blocks_for(index_t items, int threads = block_size) {
    const index_t blocks = (items + threads - 1) / threads;
    return blocks < 1 ? 1 : (blocks > most_blocks ? most_blocks : blocks);
}

template <class... Params, class... Args>
void launch(cudaStream_t stream, index_t grid, int block, std::size_t shared_bytes,
            void (*kernel)(Params...), Args&&... args) {
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>(grid));
    config.blockDim = dim3(static_cast<unsigned>(block));
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    check(cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...), "a kernel launch");
}

// The shared memory that the launch asked for.
template <class T> __device__ inline T* dynamic_shared() {
#if defined(__CUDACC__)
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    return reinterpret_cast<T*>(shared_bytes);
#else
    return static_cast<T*>(cuda_emu::shared_memory());
#endif
}

__device__ inline int thread() { return static_cast<int>(threadIdx.x); }
__device__ inline int threads() { return static_cast<int>(blockDim.x); }
__device__ inline index_t block() { return static_cast<index_t>(blockIdx.x); }
__device__ inline index_t blocks() { return static_cast<index_t>(gridDim.x); }
// This thread's number in the grid, and how many there are.
__device__ inline index_t first_item() { return block() * threads() + thread(); }
__device__ inline index_t stride() { return blocks() * threads(); }
// The same for warps.
__device__ inline index_t warp_number() { return first_item() / warp_size; }
__device__ inline index_t warps() { return stride() / warp_size; }

// f(i) for i < n; `r` and `w` bytes are what the functor says of all items.
// Bytes: reads r; writes w.
template <class F> __global__ void __launch_bounds__(block_size) each(index_t n, F f) {
    FASTOPT_NOT_UNROLLED
    for (index_t i = first_item(); i < n; i += stride()) f(i);
}

} // namespace gpu
} // namespace fastopt

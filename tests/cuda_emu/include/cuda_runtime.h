// Stand-in for the CUDA runtime: what this project uses of it, and no more. See cuda_emu.hpp.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <typeinfo>
#include <utility>

#include "cuda_emu.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorUnknown = 999
};
enum cudaMemcpyKind {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3
};
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2;

struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;

struct cudaDeviceProp {
    char name[256];
    std::size_t totalGlobalMem;
    int major, minor, multiProcessorCount;
};
struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    std::size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute* attrs;
    unsigned numAttrs;
};

const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();

// Memory is 0xFF (NaN) when fresh, ends at a guard page, and is never handed out again.
cudaError_t cuda_emu_malloc(void** p, std::size_t bytes, cudaStream_t stream);
template <class T> cudaError_t cudaMallocAsync(T** p, std::size_t bytes, cudaStream_t stream) {
    void* raw = nullptr;
    const cudaError_t error = cuda_emu_malloc(&raw, bytes, stream);
    *p = static_cast<T*>(raw);
    return error;
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream);
cudaError_t cudaMallocHost(void** p, std::size_t bytes);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream);

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

template <class... Params, class... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Params...),
                               Args&&... args) {
    if (cuda_emu::injected()) return cudaErrorUnknown;
    const std::tuple<std::decay_t<Params>...> values(std::forward<Args>(args)...);
    std::apply(
        [](const auto&... value) {
            int position = 0;
            (cuda_emu::check_argument(&value, sizeof value, position++), ...);
        },
        values);
    const dim3 g = config->gridDim, b = config->blockDim;
    const cuda_emu::Shape shape{
        {g.x, g.y, g.z}, {b.x, b.y, b.z}, config->dynamicSmemBytes, typeid(kernel).name()};
    return static_cast<cudaError_t>(cuda_emu::enqueue_kernel(
        config->stream, shape, [kernel, values] { std::apply(kernel, values); }));
}

// ---- inside kernels ----------------------------------------------------------------------------
#define CUDA_EMU_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(CUDA_EMU_HERE) { cuda_emu::block_barrier({"__syncthreads", file, line}); }
inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_EMU_HERE) {
    cuda_emu::warp_barrier(mask, {"__syncwarp", file, line});
}

namespace cuda_emu {
template <class T>
const std::uint64_t* exchange(unsigned mask, const T& value, const char* what, const char* file,
                              int line) {
    static_assert(sizeof(T) <= sizeof(std::uint64_t), "shuffles move at most 8 bytes");
    std::uint64_t word = 0;
    std::memcpy(&word, &value, sizeof value);
    return warp_exchange(mask, word, {what, file, line});
}
template <class T> T word_as(std::uint64_t word) {
    T value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}
} // namespace cuda_emu

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, CUDA_EMU_HERE) {
    const auto* words = cuda_emu::exchange(mask, value, "__shfl_sync", file, line);
    const unsigned w = static_cast<unsigned>(width), first = cuda_emu::lane() / w * w;
    return cuda_emu::word_as<T>(words[first + static_cast<unsigned>(source) % w]);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CUDA_EMU_HERE) {
    const auto* words = cuda_emu::exchange(mask, value, "__shfl_down_sync", file, line);
    const unsigned w = static_cast<unsigned>(width), me = cuda_emu::lane();
    return cuda_emu::word_as<T>(words[me % w + delta < w ? me + delta : me]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize, CUDA_EMU_HERE) {
    const auto* words = cuda_emu::exchange(mask, value, "__shfl_xor_sync", file, line);
    const unsigned w = static_cast<unsigned>(width), me = cuda_emu::lane();
    const unsigned other = me ^ static_cast<unsigned>(bits);
    return cuda_emu::word_as<T>(words[other / w == me / w ? other : me]);
}
inline int __any_sync(unsigned mask, int predicate, CUDA_EMU_HERE) {
    const auto* words = cuda_emu::exchange(mask, predicate != 0, "__any_sync", file, line);
    int any = 0;
    for (int l = 0; l < warpSize; ++l) any |= words[l] != 0;
    return any;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_EMU_HERE) {
    const auto* words = cuda_emu::exchange(mask, predicate != 0, "__ballot_sync", file, line);
    unsigned bits = 0;
    for (int l = 0; l < warpSize; ++l) bits |= (words[l] != 0 ? 1u : 0u) << l;
    return bits;
}

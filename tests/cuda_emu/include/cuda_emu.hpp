// Control of the emulated device, and what the stand-in headers share with emulator.cpp.
//
// The stand-ins cuda_runtime.h, cublas_v2.h and cusolverDn.h of this folder come before the CUDA
// toolkit on the include path; .cu files then compile with `g++ -x c++` and run on the CPU, with
// checks that a GPU does not make. Whatever a real device would corrupt or ignore aborts here with
// a line on stderr that begins with "cuda_emu:".
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <type_traits>
#include <vector>

// ---- for tests ---------------------------------------------------------------------------------
#pragma GCC visibility push(default)
extern "C" {                                   // also reached through ctypes
void cuda_emu_seed(std::uint64_t seed);        // order of lanes, warps, blocks and streams
void cuda_emu_memory_limit(std::size_t bytes); // of device memory; 0: none
void cuda_emu_fail_call(long n);               // the n-th API call from now fails once; 0: none
void cuda_emu_catch_faults();                  // again, after somebody else took SIGSEGV
long cuda_emu_calls();                         // API calls so far
long cuda_emu_releases();                      // those of them that give something back
long cuda_emu_live();                          // allocations, streams, events, handles alive
long cuda_emu_launches();                      // kernels that have run
long cuda_emu_waits();                         // of the host for a stream
long cuda_emu_flops();                         // of the products asked of cuBLAS's gemm
}
#pragma GCC visibility pop
// How many orders the tests try: the environment variable CUDA_EMU_SEEDS, or 10.
inline std::uint64_t cuda_emu_seeds() {
    const char* given = std::getenv("CUDA_EMU_SEEDS");
    return given ? std::strtoull(given, nullptr, 10) : 10;
}

// How many different bytes of device memory one kernel read and wrote, which is what moves where
// caches hold the rest; or a call of cuBLAS or cuSOLVER, by its operands, a copy or a fill on the
// device.
struct CudaEmuTraffic {
    std::size_t read = 0, written = 0;
    unsigned threads = 0;    // of a block; 0: no kernel
    const char* kernel = ""; // the type of its function, mangled
};
// Of each since the last call; only of kernels compiled with -fsanitize=thread (traffic.cpp).
std::vector<CudaEmuTraffic> cuda_emu_traffic();

// ---- for the stand-in headers ------------------------------------------------------------------
struct CUstream_st;

namespace cuda_emu {

struct Site { // where a thread waits
    const char* what;
    const char* file;
    int line;
    bool operator==(const Site& o) const;
};

[[noreturn]] void die(const char* format, ...) __attribute__((format(printf, 1, 2)));

bool injected(bool releases = false); // counts one API call; true: it shall fail
void enqueue(CUstream_st* stream, std::function<void()> work);
void synchronise(CUstream_st* stream);
void alive(long change); // of the count behind cuda_emu_live

// Checks when work is given: `bytes` from p lie inside one live device allocation.
void require_device(const void* p, std::size_t bytes, const char* what);
void require_host(const void* p, std::size_t bytes, const char* what);
// Every aligned 8-byte word of a kernel argument that is the address of mapped host memory or of
// freed device memory aborts.
void check_argument(const void* value, std::size_t bytes, int position);

struct Shape {
    unsigned grid[3], block[3];
    std::size_t shared;
    const char* kernel; // CudaEmuTraffic's
};
void touch(const void* p, std::size_t bytes, bool writes); // for the count of bytes
void end_of_work(unsigned threads = 0, const char* kernel = "");
bool is_device_memory(const void* p);
// 0 or a cudaError_t.
int enqueue_kernel(CUstream_st* stream, const Shape& shape, std::function<void()> thread);

// ---- for kernels -------------------------------------------------------------------------------
void* shared_memory();
void block_barrier(const Site& site);
void warp_barrier(unsigned mask, const Site& site);
// All lanes give a word; then each may look at any lane's word until its next exchange.
const std::uint64_t* warp_exchange(unsigned mask, std::uint64_t word, const Site& site);
unsigned lane();

} // namespace cuda_emu

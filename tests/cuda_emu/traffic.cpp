// Which bytes of device memory the kernels read and write. Under -fsanitize=thread the compiler
// puts a call in front of every load and store; what it calls is defined here and counts, where the
// sanitizer's own library would look for races. Kernels compiled without it are not counted.
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda_emu.hpp"

namespace {

struct Log {
    bool counts = false; // some file was compiled so that it calls us
    CudaEmuTraffic now;
    std::unordered_map<std::uintptr_t, unsigned> touched; // by `now`; bit 0: read, bit 1: written
    std::vector<CudaEmuTraffic> done;
};
Log& log() {
    static Log* l = new Log; // never destroyed, as the device
    return *l;
}

} // namespace

void cuda_emu::touch(const void* p, std::size_t bytes, bool writes) {
    Log& l = log();
    if (!l.counts || !is_device_memory(p)) return;
    const auto first = reinterpret_cast<std::uintptr_t>(p);
    for (std::uintptr_t at = first; at < first + bytes; ++at) {
        unsigned& how = l.touched[at];
        const unsigned bit = writes ? 2 : 1;
        if (!(how & bit)) ++(writes ? l.now.written : l.now.read);
        how |= bit;
    }
}

void cuda_emu::end_of_work(unsigned threads, const char* kernel) {
    Log& l = log();
    if (!l.counts) return;
    l.now.threads = threads, l.now.kernel = kernel;
    l.done.push_back(l.now);
    l.now = CudaEmuTraffic();
    l.touched.clear();
}

std::vector<CudaEmuTraffic> cuda_emu_traffic() { return std::exchange(log().done, {}); }

extern "C" {
void __tsan_init() { log().counts = true; }
#define CUDA_EMU_ACCESS(bytes)                                                                     \
    void __tsan_read##bytes(void* p) { cuda_emu::touch(p, bytes, false); }                         \
    void __tsan_write##bytes(void* p) { cuda_emu::touch(p, bytes, true); }
CUDA_EMU_ACCESS(1)
CUDA_EMU_ACCESS(2)
CUDA_EMU_ACCESS(4)
CUDA_EMU_ACCESS(8)
CUDA_EMU_ACCESS(16)
#undef CUDA_EMU_ACCESS
void __tsan_read_range(void* p, std::size_t bytes) { cuda_emu::touch(p, bytes, false); }
void __tsan_write_range(void* p, std::size_t bytes) { cuda_emu::touch(p, bytes, true); }
void __tsan_vptr_update(void**, void*) {} // of objects of the host, as what follows
int __tsan_atomic32_fetch_add(volatile int* p, int value, int) {
    return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);
}
}

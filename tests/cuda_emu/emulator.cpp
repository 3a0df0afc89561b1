// The emulated device: memory, streams, graphs (this half) and the threads of a block as fibers
// (below). One mutex around everything that the API does.
#include <cuda_runtime.h>

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

using Work = std::function<void()>;

struct CUevent_st {
    CUstream_st* stream = nullptr; // where it was last recorded
    std::uint64_t ticket = 0;      // done once the stream has done this many pieces of work
    std::shared_ptr<double> time;  // when that was, in milliseconds; null: not to be timed
};
struct CUgraph_st {
    std::vector<Work> work;
};
struct CUgraphExec_st {
    std::vector<Work> work;
};
struct CUstream_st {
    std::deque<Work> queue;
    std::uint64_t given = 0, done = 0;
    CUgraph_st* capture = nullptr;
};

namespace cuda_emu {
namespace {

// ---- random order ------------------------------------------------------------------------------

class Shuffler { // splitmix64
  public:
    void seed(std::uint64_t s) { state_ = s; }
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    template <class I> void shuffle(std::vector<I>& order) {
        for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[next() % i]);
    }

  private:
    std::uint64_t state_ = 0;
};

// ---- memory ------------------------------------------------------------------------------------

const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
constexpr std::size_t alignment = 16; // of a fresh pointer; as much as double2 needs
constexpr std::size_t kept_after_free = 4096;

struct Block {
    char* base;         // the mapping
    std::size_t mapped; // its length; the last page is the guard
    char* data;         // what the user holds; data + size rounded up meets the guard
    std::size_t size;
    bool live;
    bool shared = false; // shared memory, which is protected in the same way
    bool holds(const void* p) const {
        return static_cast<const char*>(p) >= base && static_cast<const char*>(p) < base + mapped;
    }
    std::size_t usable() const { return mapped - page; }
};

struct Device {
    std::recursive_mutex mutex;
    Shuffler random;
    std::map<const char*, Block> blocks; // by base address, live and freed
    std::set<const char*> live_blocks;   // the bases of the live ones
    std::deque<char*> freed;             // bases, oldest first
    std::set<CUstream_st*> streams;      // that exist
    CUstream_st default_stream;
    std::size_t in_use = 0, limit = 0;
    long calls = 0, releases = 0, fail_in = 0, live = 0, launches = 0, waits = 0;
    int running = 0; // > 0: device memory is open
    struct sigaction previous = {};

    Device() {
        if (const char* s = std::getenv("CUDA_EMU_SEED"))
            random.seed(std::strtoull(s, nullptr, 10));
        catch_faults();
        streams.insert(&default_stream);
    }
    const Block* find(const void* p) const {
        auto it = blocks.upper_bound(static_cast<const char*>(p));
        if (it == blocks.begin()) return nullptr;
        --it;
        return it->second.holds(p) ? &it->second : nullptr;
    }
    void catch_faults() {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        ::sigaction(SIGSEGV, &action, &previous);
    }
    static void on_fault(int signal, siginfo_t* info, void* context);
};

Device& device() {
    static Device* d = new Device; // never destroyed: streams may outlive static objects
    return *d;
}

using Lock = std::lock_guard<std::recursive_mutex>;

void Device::on_fault(int, siginfo_t* info, void*) {
    Device& d = device();
    const Block* b = d.find(info->si_addr);
    if (!b) { // not ours
        ::sigaction(SIGSEGV, &d.previous, nullptr);
        return;
    }
    const long offset = static_cast<long>(static_cast<char*>(info->si_addr) - b->data);
    if (!b->live) die("use after free: byte %ld of an allocation of %zu bytes", offset, b->size);
    if (!d.running) die("the host touched device memory: byte %ld of %zu", offset, b->size);
    die("out of bounds: byte %ld of an allocation of %zu bytes, thread (%u, %u) of block (%u, %u)",
        offset, b->size, threadIdx.x, threadIdx.y, blockIdx.x, blockIdx.y);
}

void protect(const Block& b, int how) {
    if (::mprotect(b.base, b.usable(), how) != 0) die("mprotect failed");
}

class Open { // while alive, device memory is readable and writable
  public:
    Open() {
        Device& d = device();
        if (d.running++ == 0)
            for (const char* base : d.live_blocks)
                protect(d.blocks.at(base), PROT_READ | PROT_WRITE);
    }
    ~Open() {
        Device& d = device();
        if (--d.running == 0)
            for (const char* base : d.live_blocks) protect(d.blocks.at(base), PROT_NONE);
    }
};

// The bytes around [data, data + size) must still be as they were made.
void check_margins(const Block& b) {
    const auto intact = [](const char* from, const char* to) {
        return std::all_of(from, to, [](char c) { return c == static_cast<char>(0xFF); });
    };
    if (!intact(b.base, b.data) || !intact(b.data + b.size, b.base + b.usable()))
        die("out of bounds: something was written just outside an allocation of %zu bytes", b.size);
}

void release(char* base) {
    Device& d = device();
    Block& b = d.blocks.at(base);
    protect(b, PROT_READ);
    check_margins(b);
    ::madvise(b.base, b.usable(), MADV_DONTNEED);
    protect(b, PROT_NONE);
    b.live = false;
    d.live_blocks.erase(base);
    d.in_use -= b.size;
    d.freed.push_back(base);
    if (d.freed.size() > kept_after_free) {
        const Block& oldest = d.blocks.at(d.freed.front());
        ::munmap(oldest.base, oldest.mapped);
        d.blocks.erase(d.freed.front());
        d.freed.pop_front();
    }
}

// Addresses below the first are too low for any mapping of ours; with AddressSanitizer its shadow
// lies below the second.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t lowest_address = 0x10007fff8000u;
#else
constexpr std::uint64_t lowest_address = 0x10000u;
#endif

bool is_mapped(std::uint64_t address) {
    unsigned char resident;
    return ::mincore(reinterpret_cast<void*>(address / page * page), 1, &resident) == 0;
}

// ---- streams -----------------------------------------------------------------------------------

// 1 and 2 are the runtime's own handles of the default streams, which are one here.
CUstream_st* stream_of(CUstream_st* s) {
    const bool made = reinterpret_cast<std::uintptr_t>(s) > 2;
    CUstream_st* stream = made ? s : &device().default_stream;
    if (!device().streams.count(stream)) die("a stream that does not exist, or no longer");
    return stream;
}

void run_until(CUstream_st* s, std::uint64_t ticket) {
    const Open open;
    while (s->done < ticket) {
        if (s->queue.empty()) die("work of a stream waits for itself");
        const Work work = std::move(s->queue.front());
        s->queue.pop_front();
        ++s->done; // an event recorded behind this piece sees it done
        work();
    }
}

} // namespace

void die(const char* format, ...) {
    va_list args;
    va_start(args, format);
    std::fputs("cuda_emu: ", stderr);
    std::vfprintf(stderr, format, args);
    std::fputc('\n', stderr);
    std::fflush(stderr);
    va_end(args);
    std::abort();
}

bool Site::operator==(const Site& o) const {
    return line == o.line && std::strcmp(what, o.what) == 0 && std::strcmp(file, o.file) == 0;
}

bool injected(bool releases) {
    Device& d = device();
    const Lock lock(d.mutex);
    ++d.calls;
    d.releases += releases;
    return d.fail_in > 0 && --d.fail_in == 0;
}

void alive(long change) {
    const Lock lock(device().mutex);
    device().live += change;
}

void enqueue(CUstream_st* stream, Work work) {
    const Lock lock(device().mutex);
    CUstream_st* s = stream_of(stream);
    if (s->capture) {
        s->capture->work.push_back(std::move(work));
        return;
    }
    s->queue.push_back(std::move(work));
    ++s->given;
}

void synchronise(CUstream_st* stream) {
    const Lock lock(device().mutex);
    CUstream_st* s = stream_of(stream);
    if (s->capture) die("a stream was synchronised while it was captured");
    run_until(s, s->given);
}

void require_device(const void* p, std::size_t bytes, const char* what) {
    const Lock lock(device().mutex);
    const Block* b = device().find(p);
    if (!b) die("%s: a host address where device memory is needed", what);
    if (!b->live) die("%s: use after free", what);
    const char* from = static_cast<const char*>(p);
    if (from < b->data || from + bytes > b->data + b->size)
        die("%s: out of bounds: %zu bytes from byte %ld of an allocation of %zu", what, bytes,
            static_cast<long>(from - b->data), b->size);
}

void require_host(const void* p, std::size_t, const char* what) {
    const Lock lock(device().mutex);
    if (device().find(p)) die("%s: a device address where host memory is needed", what);
}

bool is_device_memory(const void* p) {
    const Block* b = device().find(p);
    return b && b->live && !b->shared;
}

void check_argument(const void* value, std::size_t bytes, int position) {
    const Lock lock(device().mutex);
    for (std::size_t at = 0; at + sizeof(std::uint64_t) <= bytes; at += sizeof(std::uint64_t)) {
        std::uint64_t word;
        std::memcpy(&word, static_cast<const char*>(value) + at, sizeof word);
        if (word < lowest_address || word >= std::uint64_t{1} << 47) continue;
        if (const Block* b = device().find(reinterpret_cast<const void*>(word))) {
            if (!b->live) die("kernel argument %d holds the address of freed memory", position);
        } else if (is_mapped(word)) {
            die("kernel argument %d holds a host address (byte %zu of it)", position, at);
        }
    }
}

// ---- threads of a block, as fibers -------------------------------------------------------------

namespace {

constexpr std::size_t stack_size = 64 * 1024;
constexpr unsigned full_mask = 0xffffffffu;
constexpr unsigned lanes = 32;
constexpr std::size_t most_shared = 48 * 1024;

enum class State { fresh, ready, at_block, at_warp, done };

struct Thread {
    State state = State::fresh;
    int fiber = -1;
    dim3 index;
    Site site = {"", "", 0};
    std::array<std::uint64_t, 2> words = {}; // of the last two exchanges
    unsigned exchanges = 0;
};

struct Fiber {
    char* stack = nullptr;
    bool started = false;
    ucontext_t first = {};
    jmp_buf at;
};

class Processor {
  public:
    void run(const Shape& shape, const Work& kernel);

    void wait(State state, const Site& site) {
        Thread& t = threads_[current_];
        t.state = state;
        t.site = site;
        leave(t.fiber);
        threadIdx = threads_[current_].index; // back again
    }
    Thread& me() { return threads_[current_]; }
    unsigned my_lane() const { return static_cast<unsigned>(current_ % lanes); }
    const std::uint64_t* exchange(unsigned mask, std::uint64_t word, const Site& site);
    void require_full_warp(unsigned mask, const Site& site) const {
        if (mask != full_mask)
            die("%s with a partial mask at %s:%d", site.what, site.file, site.line);
        if (threads_.size() % lanes != 0)
            die("%s in a block of %zu threads (not whole warps) at %s:%d", site.what,
                threads_.size(), site.file, site.line);
    }
    void* shared() const {
        if (!shared_) die("shared memory was not asked for at launch");
        return shared_;
    }

  private:
    void run_block();
    void run_warp(std::size_t first);
    void resume(std::size_t thread);
    void leave(int fiber);
    int idle_fiber();
    static void body();
    void reset_shared();
    void fold(std::size_t first);

    std::vector<Thread> threads_;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<int> idle_;
    std::vector<std::size_t> lane_order_;
    const Work* kernel_ = nullptr;
    std::size_t current_ = 0;
    jmp_buf scheduler_;
    ucontext_t scheduler_context_ = {};
    int starting_ = -1;
    char* shared_ = nullptr;
    char* shared_end_ = nullptr; // the guard page
    std::size_t shared_size_ = 0;
    std::vector<std::array<std::uint64_t, lanes>> given_; // by warp and parity
    const void* host_stack_ = nullptr;
    std::size_t host_stack_size_ = 0;
};

Processor& processor() {
    static Processor* p = new Processor;
    return *p;
}

int Processor::idle_fiber() {
    if (idle_.empty()) {
        auto f = std::make_unique<Fiber>();
        void* map = ::mmap(nullptr, stack_size + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED) die("no memory for the stacks of a block");
        ::mprotect(map, page, PROT_NONE); // stacks grow down into the guard
        f->stack = static_cast<char*>(map) + page;
        fibers_.push_back(std::move(f));
        idle_.push_back(static_cast<int>(fibers_.size()) - 1);
    }
    const int f = idle_.back();
    idle_.pop_back();
    return f;
}

// A fiber runs one thread after another and never returns.
void Processor::body() {
    Processor& p = processor();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &p.host_stack_, &p.host_stack_size_);
#endif
    const int self = p.starting_;
    for (;;) {
        (*p.kernel_)();
        p.threads_[p.current_].state = State::done;
        p.leave(self);
        threadIdx = p.threads_[p.current_].index;
    }
}

#if defined(__SANITIZE_ADDRESS__)
// AddressSanitizer follows stacks through swapcontext, slowly.
[[gnu::noinline]] void Processor::leave(int fiber) {
    Fiber& f = *fibers_[static_cast<std::size_t>(fiber)];
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, host_stack_, host_stack_size_);
    ::swapcontext(&f.first, &scheduler_context_);
    __sanitizer_finish_switch_fiber(fake, &host_stack_, &host_stack_size_);
}
#else
[[gnu::noinline]] void Processor::leave(int fiber) {
    if (_setjmp(fibers_[static_cast<std::size_t>(fiber)]->at) == 0) _longjmp(scheduler_, 1);
}
#endif

[[gnu::noinline]] void Processor::resume(std::size_t thread) {
    Thread& t = threads_[thread];
    current_ = thread;
    if (t.state == State::fresh) t.fiber = idle_fiber();
    t.state = State::ready;
    threadIdx = t.index;
    Fiber& f = *fibers_[static_cast<std::size_t>(t.fiber)];
    if (!f.started) {
        ::getcontext(&f.first);
        f.first.uc_stack.ss_sp = f.stack;
        f.first.uc_stack.ss_size = stack_size;
        f.first.uc_link = nullptr;
        ::makecontext(&f.first, &Processor::body, 0);
        starting_ = t.fiber;
    }
#if defined(__SANITIZE_ADDRESS__)
    f.started = true;
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, f.stack, stack_size);
    ::swapcontext(&scheduler_context_, &f.first);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
    if (_setjmp(scheduler_) == 0) {
        if (f.started) _longjmp(f.at, 1);
        f.started = true;
        ::setcontext(&f.first);
    }
#endif
    Thread& after = threads_[current_];
    if (after.state == State::done) idle_.push_back(after.fiber);
}

// One warp until each of its threads waits at a block barrier or has ended: it runs through its
// warp-collectives ahead of the others, so that a missing barrier shows.
void Processor::run_warp(std::size_t first) {
    const std::size_t end = std::min(first + lanes, threads_.size());
    lane_order_.resize(end - first);
    for (;;) {
        std::iota(lane_order_.begin(), lane_order_.end(), first);
        device().random.shuffle(lane_order_);
        for (const std::size_t t : lane_order_)
            if (threads_[t].state == State::fresh || threads_[t].state == State::ready) resume(t);
        const Thread* waiting = nullptr;
        for (std::size_t t = first; t < end; ++t)
            if (threads_[t].state == State::at_warp) waiting = &threads_[t];
        if (!waiting) return;
        const Site site = waiting->site;
        for (std::size_t t = first; t < end; ++t) {
            if (threads_[t].state == State::done)
                die("early exit: thread %zu has ended while its warp waits in %s at %s:%d", t,
                    site.what, site.file, site.line);
            if (threads_[t].state != State::at_warp || !(threads_[t].site == site))
                die("divergence: lanes of a warp wait in %s at %s:%d and in %s at %s:%d", site.what,
                    site.file, site.line, threads_[t].site.what, threads_[t].site.file,
                    threads_[t].site.line);
        }
        fold(first);
        for (std::size_t t = first; t < end; ++t) threads_[t].state = State::ready;
    }
}

// The words of an exchange become visible together; those of the one before stay readable.
void Processor::fold(std::size_t first) {
    for (std::size_t t = first; t < std::min(first + lanes, threads_.size()); ++t) {
        const unsigned parity = threads_[t].exchanges % 2;
        given_[first / lanes * 2 + parity][t - first] = threads_[t].words[parity];
    }
}

const std::uint64_t* Processor::exchange(unsigned mask, std::uint64_t word, const Site& site) {
    require_full_warp(mask, site);
    Thread& t = me();
    const unsigned parity = ++t.exchanges % 2;
    t.words[parity] = word;
    wait(State::at_warp, site);
    return given_[current_ / lanes * 2 + parity].data();
}

void Processor::reset_shared() {
    if (shared_size_ == 0) {
        shared_ = nullptr;
        return;
    }
    if (!shared_end_) {
        const std::size_t whole = (most_shared + page - 1) / page * page;
        void* map = ::mmap(nullptr, whole + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED) die("no memory for shared memory");
        shared_end_ = static_cast<char*>(map) + whole;
        ::mprotect(shared_end_, page, PROT_NONE);
        device().blocks[static_cast<char*>(map)] = {
            static_cast<char*>(map), whole + page, static_cast<char*>(map), whole, true, true};
        device().live_blocks.insert(static_cast<char*>(map));
    }
    shared_ = shared_end_ - (shared_size_ + alignment - 1) / alignment * alignment;
    std::memset(shared_, 0xFF, static_cast<std::size_t>(shared_end_ - shared_));
}

void Processor::run_block() {
    reset_shared();
    const std::size_t n = threads_.size();
    for (std::size_t t = 0; t < n; ++t) {
        threads_[t] = Thread();
        threads_[t].index = dim3(static_cast<unsigned>(t) % blockDim.x,
                                 static_cast<unsigned>(t) / blockDim.x % blockDim.y,
                                 static_cast<unsigned>(t) / blockDim.x / blockDim.y);
    }
    std::vector<std::size_t> warps((n + lanes - 1) / lanes);
    std::iota(warps.begin(), warps.end(), std::size_t{0});
    for (;;) {
        device().random.shuffle(warps);
        for (const std::size_t w : warps) run_warp(w * lanes);
        std::size_t done = 0;
        const Thread* waiting = nullptr;
        for (const Thread& t : threads_)
            if (t.state == State::done)
                ++done;
            else
                waiting = &t;
        if (!waiting) return;
        const Site site = waiting->site;
        if (done > 0)
            die("early exit: %zu of %zu threads have ended while others wait in %s at %s:%d", done,
                n, site.what, site.file, site.line);
        for (Thread& t : threads_) {
            if (!(t.site == site))
                die("divergence: threads of a block wait in %s at %s:%d and in %s at %s:%d",
                    site.what, site.file, site.line, t.site.what, t.site.file, t.site.line);
            t.state = State::ready;
        }
    }
}

void Processor::run(const Shape& s, const Work& kernel) {
    kernel_ = &kernel;
    gridDim = dim3(s.grid[0], s.grid[1], s.grid[2]);
    blockDim = dim3(s.block[0], s.block[1], s.block[2]);
    shared_size_ = s.shared;
    threads_.resize(std::size_t{s.block[0]} * s.block[1] * s.block[2]);
    given_.resize((threads_.size() + lanes - 1) / lanes * 2);
    std::vector<std::size_t> blocks(std::size_t{s.grid[0]} * s.grid[1] * s.grid[2]);
    std::iota(blocks.begin(), blocks.end(), std::size_t{0});
    device().random.shuffle(blocks);
    for (const std::size_t b : blocks) {
        const unsigned flat = static_cast<unsigned>(b);
        blockIdx =
            dim3(flat % gridDim.x, flat / gridDim.x % gridDim.y, flat / gridDim.x / gridDim.y);
        run_block();
    }
}

} // namespace

int enqueue_kernel(CUstream_st* stream, const Shape& s, Work thread) {
    const std::uint64_t threads = std::uint64_t{s.block[0]} * s.block[1] * s.block[2];
    const bool fits = threads >= 1 && threads <= 1024 && s.block[2] <= 64 && s.grid[0] >= 1 &&
                      s.grid[0] <= 0x7fffffffu && s.grid[1] >= 1 && s.grid[1] <= 65535 &&
                      s.grid[2] >= 1 && s.grid[2] <= 65535;
    if (!fits) return cudaErrorInvalidConfiguration;
    if (s.shared > most_shared) return cudaErrorInvalidValue;
    enqueue(stream, [s, kernel = std::move(thread)] {
        ++device().launches;
        processor().run(s, kernel);
        end_of_work(s.block[0] * s.block[1] * s.block[2], s.kernel);
    });
    return cudaSuccess;
}

void* shared_memory() { return processor().shared(); }
void block_barrier(const Site& site) { processor().wait(State::at_block, site); }
void warp_barrier(unsigned mask, const Site& site) {
    processor().require_full_warp(mask, site);
    processor().wait(State::at_warp, site);
}
const std::uint64_t* warp_exchange(unsigned mask, std::uint64_t word, const Site& site) {
    return processor().exchange(mask, word, site);
}
unsigned lane() { return processor().my_lane(); }

} // namespace cuda_emu

// ---- the API -----------------------------------------------------------------------------------

using namespace cuda_emu;

extern "C" {
void cuda_emu_seed(std::uint64_t seed) {
    const Lock lock(device().mutex);
    device().random.seed(seed);
}
void cuda_emu_memory_limit(std::size_t bytes) {
    const Lock lock(device().mutex);
    device().limit = bytes;
}
void cuda_emu_fail_call(long n) {
    const Lock lock(device().mutex);
    device().fail_in = n;
}
void cuda_emu_catch_faults() { device().catch_faults(); }
long cuda_emu_calls() {
    const Lock lock(device().mutex);
    return device().calls;
}
long cuda_emu_releases() {
    const Lock lock(device().mutex);
    return device().releases;
}
long cuda_emu_live() {
    const Lock lock(device().mutex);
    return device().live;
}
long cuda_emu_launches() {
    const Lock lock(device().mutex);
    return device().launches;
}
long cuda_emu_waits() {
    const Lock lock(device().mutex);
    return device().waits;
}
}

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorInvalidValue:
        return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
        return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
        return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
        return "cudaErrorNoDevice";
    default:
        return "cudaErrorUnknown";
    }
}
const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
        return "the driver is too old";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    default:
        return "unknown error";
    }
}
cudaError_t cudaGetLastError() { return cudaSuccess; } // errors are returned by the call itself

#define CUDA_EMU_CALL()                                                                            \
    do {                                                                                           \
        if (injected()) return cudaErrorUnknown;                                                   \
    } while (false)

cudaError_t cudaGetDeviceCount(int* count) {
    *count = 0;
    CUDA_EMU_CALL();
    if (std::getenv("CUDA_EMU_NO_DEVICE")) return cudaErrorNoDevice;
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int* index) {
    CUDA_EMU_CALL();
    *index = 0;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) {
    CUDA_EMU_CALL();
    return index == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
static std::size_t total_memory() { // what the device says of itself
    return device().limit ? device().limit : std::size_t{1} << 30;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
    CUDA_EMU_CALL();
    *p = cudaDeviceProp();
    std::strcpy(p->name, "emulated device");
    p->totalGlobalMem = total_memory();
    p->major = 9, p->minor = 0, p->multiProcessorCount = 2;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    CUDA_EMU_CALL();
    const Lock lock(device().mutex);
    *total = total_memory();
    *free = *total - std::min(*total, device().in_use);
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
    CUDA_EMU_CALL();
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    CUDA_EMU_CALL();
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    CUDA_EMU_CALL();
    const Lock lock(device().mutex);
    *stream = new CUstream_st;
    device().streams.insert(*stream);
    alive(1);
    return cudaSuccess;
}
// Calls that give something back do so even when they are told to fail, as on a real device, where
// they report failures of earlier work.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const cudaError_t result = injected(true) ? cudaErrorUnknown : cudaSuccess;
    const Lock lock(device().mutex);
    if (!stream) die("the default stream cannot be destroyed");
    synchronise(stream);
    device().streams.erase(stream); // not deleted: another stream may still wait for its events
    alive(-1);
    return result;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    CUDA_EMU_CALL();
    const Lock lock(device().mutex);
    ++device().waits;
    synchronise(stream);
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    CUDA_EMU_CALL();
    const Lock lock(device().mutex);
    std::vector<CUstream_st*> order(device().streams.begin(), device().streams.end());
    device().random.shuffle(order);
    for (CUstream_st* s : order) synchronise(s);
    return cudaSuccess;
}

cudaError_t cuda_emu_malloc(void** p, std::size_t bytes, cudaStream_t stream) {
    *p = nullptr;
    CUDA_EMU_CALL();
    Device& d = device();
    const Lock lock(d.mutex);
    if (stream_of(stream)->capture) die("memory was allocated while a stream was captured");
    if (bytes == 0) return cudaSuccess;
    constexpr std::size_t most = std::size_t{1} << 40;
    if (bytes > most || (d.limit && d.in_use + bytes > d.limit)) return cudaErrorMemoryAllocation;
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    const std::size_t usable = (rounded + page - 1) / page * page, mapped = usable + page;
    void* map = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return cudaErrorMemoryAllocation;
    char* base = static_cast<char*>(map);
    ::mprotect(base + usable, page, PROT_NONE);
    std::memset(base, 0xFF, usable);
    const Block b{base, mapped, base + (usable - rounded), bytes, true};
    d.blocks[base] = b;
    d.live_blocks.insert(base);
    d.in_use += bytes;
    if (!d.running) protect(b, PROT_NONE);
    alive(1);
    *p = b.data;
    return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
    const cudaError_t result = injected(true) ? cudaErrorUnknown : cudaSuccess;
    const Lock lock(device().mutex);
    if (!p) return result;
    const Block* b = device().find(p);
    if (!b || !b->live || b->data != p) die("cudaFreeAsync: not a live device allocation");
    alive(-1);
    enqueue(stream, [base = b->base] { cuda_emu::release(base); });
    return result;
}
cudaError_t cudaMallocHost(void** p, std::size_t bytes) {
    *p = nullptr;
    CUDA_EMU_CALL();
    *p = std::malloc(bytes ? bytes : 1);
    if (!*p) return cudaErrorMemoryAllocation;
    std::memset(*p, 0xFF, bytes);
    alive(1);
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
    const cudaError_t result = injected(true) ? cudaErrorUnknown : cudaSuccess;
    if (p) alive(-1);
    std::free(p);
    return result;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    CUDA_EMU_CALL();
    if (bytes == 0) return cudaSuccess;
    const bool to_device = kind != cudaMemcpyDeviceToHost;
    const bool from_device = kind != cudaMemcpyHostToDevice;
    to_device ? require_device(to, bytes, "cudaMemcpyAsync, destination")
              : require_host(to, bytes, "cudaMemcpyAsync, destination");
    from_device ? require_device(from, bytes, "cudaMemcpyAsync, source")
                : require_host(from, bytes, "cudaMemcpyAsync, source");
    enqueue(stream, [=] {
        std::memcpy(to, from, bytes);
        if (kind != cudaMemcpyDeviceToDevice) return;
        touch(from, bytes, false), touch(to, bytes, true), end_of_work();
    });
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
    CUDA_EMU_CALL();
    if (bytes == 0) return cudaSuccess;
    require_device(p, bytes, "cudaMemsetAsync");
    enqueue(stream, [=] {
        std::memset(p, value, bytes);
        touch(p, bytes, true), end_of_work();
    });
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    CUDA_EMU_CALL();
    *event = new CUevent_st;
    if (!(flags & cudaEventDisableTiming)) (*event)->time = std::make_shared<double>(-1.0);
    alive(1);
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    const cudaError_t result = injected(true) ? cudaErrorUnknown : cudaSuccess;
    delete event;
    alive(-1);
    return result;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    CUDA_EMU_CALL();
    const Lock lock(device().mutex);
    event->stream = stream_of(stream);
    if (event->time)
        enqueue(stream, [time = event->time] {
            const auto now = std::chrono::steady_clock::now().time_since_epoch();
            *time = std::chrono::duration<double, std::milli>(now).count();
        });
    event->ticket = event->stream->given;
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    CUDA_EMU_CALL();
    const Lock lock(device().mutex);
    if (event->stream) run_until(event->stream, event->ticket);
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
    CUDA_EMU_CALL();
    const Lock lock(device().mutex);
    if (!from->time || !to->time) return cudaErrorInvalidValue; // made without timing
    if (*from->time < 0 || *to->time < 0) die("cudaEventElapsedTime: an event is not done");
    *milliseconds = static_cast<float>(*to->time - *from->time);
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    CUDA_EMU_CALL();
    const CUevent_st e = *event;
    if (e.stream) enqueue(stream, [e] { run_until(e.stream, e.ticket); });
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    CUDA_EMU_CALL();
    const Lock lock(device().mutex);
    CUstream_st* s = stream_of(stream);
    if (!stream) die("the default stream cannot be captured");
    if (s->capture) die("the stream is being captured already");
    s->capture = new CUgraph_st;
    alive(1);
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const cudaError_t result = injected() ? cudaErrorUnknown : cudaSuccess;
    const Lock lock(device().mutex);
    CUstream_st* s = stream_of(stream);
    if (!s->capture) die("the stream is not being captured");
    *graph = s->capture;
    s->capture = nullptr;
    return result;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    CUDA_EMU_CALL();
    *exec = new CUgraphExec_st{graph->work};
    alive(1);
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    CUDA_EMU_CALL();
    for (const Work& work : exec->work) enqueue(stream, work);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    const cudaError_t result = injected(true) ? cudaErrorUnknown : cudaSuccess;
    delete graph;
    alive(-1);
    return result;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    const cudaError_t result = injected(true) ? cudaErrorUnknown : cudaSuccess;
    delete exec;
    alive(-1);
    return result;
}

// The emulated device against itself: correct programs give the right numbers, and each planted
// fault is caught. Faults that abort run in a forked child.
#include <doctest/doctest.h>

#include <cusolverDn.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace {

struct Outcome {
    bool aborted;
    std::string text;
};

Outcome in_child(const std::function<void()>& body) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        ::signal(SIGABRT, SIG_DFL); // doctest takes the signals before each test
        cuda_emu_catch_faults();
        const rlimit none = {0, 0};
        ::setrlimit(RLIMIT_CORE, &none);
        ::dup2(ends[1], STDERR_FILENO);
        body();
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string text;
    char buffer[512];
    for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<std::size_t>(n));
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    return {WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, text};
}

void dies(const std::function<void()>& body, const std::string& words) {
    const Outcome o = in_child(body);
    INFO("stderr: ", o.text, ", expected: ", words);
    CHECK(o.aborted);
    CHECK(o.text.find(words) != std::string::npos);
}

struct Stream {
    cudaStream_t s = nullptr;
    Stream() { REQUIRE(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking) == cudaSuccess); }
    ~Stream() { cudaStreamDestroy(s); }
};

template <class T> T* fresh(std::size_t n, const Stream& s) {
    T* p = nullptr;
    REQUIRE(cudaMallocAsync(&p, n * sizeof(T), s.s) == cudaSuccess);
    return p;
}

template <class T> std::vector<T> download(const T* p, std::size_t n, const Stream& s) {
    std::vector<T> host(n);
    REQUIRE(cudaMemcpyAsync(host.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost, s.s) ==
            cudaSuccess);
    REQUIRE(cudaStreamSynchronize(s.s) == cudaSuccess);
    return host;
}

template <class... Params, class... Args>
cudaError_t start(const Stream& s, unsigned grid, unsigned block, std::size_t shared,
                  void (*kernel)(Params...), Args... args) {
    const cudaLaunchConfig_t config = {dim3(grid), dim3(block), shared, s.s, nullptr, 0};
    return cudaLaunchKernelEx(&config, kernel, args...);
}

int* shared_ints() { return static_cast<int*>(cuda_emu::shared_memory()); }
int thread() { return static_cast<int>(threadIdx.x); }
int size() { return static_cast<int>(blockDim.x); }

// ---- kernels -----------------------------------------------------------------------------------

__global__ void number(int* out, int n) {
    const int i = static_cast<int>(blockIdx.x) * size() + thread();
    if (i < n) out[i] = i;
}

__global__ void number_all(int* out) { // no test at the tail
    out[static_cast<int>(blockIdx.x) * size() + thread()] = 1;
}

// out[t] = the number of the opposite thread.
template <bool barrier> __global__ void reverse(int* out) {
    shared_ints()[thread()] = thread();
    if (barrier) __syncthreads();
    out[thread()] = shared_ints()[size() - 1 - thread()];
}

// Two rounds of: the first thread writes, all read. The barrier behind the reading keeps the second
// round's write from overtaking the first round's readers.
template <bool barrier> __global__ void broadcast_twice(int* out) {
    int sum = 0;
    for (int round = 1; round <= 2; ++round) {
        if (thread() == 0) shared_ints()[0] = round;
        __syncthreads();
        sum += shared_ints()[0];
        if (barrier) __syncthreads();
    }
    out[thread()] = sum;
}

// The same within a warp.
template <bool barrier> __global__ void reverse_warp(int* out) {
    shared_ints()[thread()] = thread();
    if (barrier) __syncwarp();
    out[thread()] = shared_ints()[31 - thread()];
}

__global__ void shuffles(int* out) {
    const int t = thread();
    const int down = __shfl_down_sync(0xffffffffu, t, 8);
    const int below = __shfl_down_sync(0xffffffffu, t, 4, 8);
    const int across = __shfl_xor_sync(0xffffffffu, t, 16);
    const double first = __shfl_sync(0xffffffffu, 0.5 * t, 3);
    const int any = __any_sync(0xffffffffu, t == 7);
    const unsigned odd = __ballot_sync(0xffffffffu, t % 2);
    int* o = out + 6 * t;
    o[0] = down, o[1] = below, o[2] = across, o[3] = static_cast<int>(2 * first), o[4] = any;
    o[5] = static_cast<int>(odd);
}

__global__ void sum_by_shuffles(double* out) {
    double v = thread() + 1;
    for (unsigned d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);
    if (thread() == 0) *out = v;
}

__global__ void leave_before_barrier(int) {
    if (thread() == 3) return;
    __syncthreads();
}
__global__ void leave_before_shuffle(int) {
    if (thread() == 3) return;
    __syncwarp();
}
__global__ void two_barriers(int) {
    if (thread() < 32)
        __syncthreads();
    else
        __syncthreads();
}
__global__ void two_shuffles(int) {
    if (thread() < 16)
        __syncwarp();
    else
        __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void barrier_and_shuffle(int) {
    if (thread() < 16)
        __syncthreads();
    else
        __syncwarp();
}
__global__ void half_warp(int) { __syncwarp(0xffffu); }
__global__ void overrun_shared(int*) { shared_ints()[size()] = 0; }
__global__ void read_shared(int* out) { out[thread()] = shared_ints()[thread()]; }
__global__ void copy_element(const double* from, double* to, int at) { to[0] = from[at]; }
__global__ void add_one(double* p) { *p += 1; }
__global__ void order(int* next, int* out) {
    if (thread() == 0) out[(*next)++] = static_cast<int>(blockIdx.x);
}

struct Functor {
    double scale;
    const double* table;
};
__global__ void apply(Functor f, double* out) { out[0] = f.scale * f.table[0]; }

} // namespace

// ---- correct programs --------------------------------------------------------------------------

TEST_CASE("kernels compute, for every order of threads") {
    const Stream s;
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
        cuda_emu_seed(seed);
        int* p = fresh<int>(1000, s);
        CHECK(start(s, 8, 128, 0, number, p, 1000) == cudaSuccess);
        const auto numbers = download(p, 1000, s);
        for (int i = 0; i < 1000; ++i) CHECK(numbers[static_cast<std::size_t>(i)] == i);
        CHECK(start(s, 1, 128, 128 * sizeof(int), reverse<true>, p) == cudaSuccess);
        const auto reversed = download(p, 128, s);
        for (int i = 0; i < 128; ++i) CHECK(reversed[static_cast<std::size_t>(i)] == 127 - i);
        CHECK(start(s, 1, 128, sizeof(int), broadcast_twice<true>, p) == cudaSuccess);
        for (const int sum : download(p, 128, s)) CHECK(sum == 3);
        CHECK(start(s, 1, 32, 32 * sizeof(int), reverse_warp<true>, p) == cudaSuccess);
        const auto mirrored = download(p, 32, s);
        for (int i = 0; i < 32; ++i) CHECK(mirrored[static_cast<std::size_t>(i)] == 31 - i);
        cudaFreeAsync(p, s.s);
    }
}

TEST_CASE("warp functions follow the CUDA programming guide") {
    const Stream s;
    int* p = fresh<int>(6 * 32, s);
    CHECK(start(s, 1, 32, 0, shuffles, p) == cudaSuccess);
    const auto out = download(p, 6 * 32, s);
    for (int t = 0; t < 32; ++t) {
        const int* o = out.data() + 6 * t;
        CHECK(o[0] == (t + 8 < 32 ? t + 8 : t));
        CHECK(o[1] == (t % 8 + 4 < 8 ? t + 4 : t));
        CHECK(o[2] == (t ^ 16));
        CHECK(o[3] == 3);
        CHECK(o[4] == 1);
        CHECK(static_cast<unsigned>(o[5]) == 0xaaaaaaaau);
    }
    double* sum = fresh<double>(1, s);
    CHECK(start(s, 1, 32, 0, sum_by_shuffles, sum) == cudaSuccess);
    CHECK(download(sum, 1, s)[0] == 528);
    cudaFreeAsync(p, s.s), cudaFreeAsync(sum, s.s);
}

TEST_CASE("blocks run in an order that the seed shuffles") {
    const Stream s;
    std::vector<std::vector<int>> orders;
    for (const std::uint64_t seed : {1u, 2u, 1u}) {
        cuda_emu_seed(seed);
        int *next = fresh<int>(1, s), *out = fresh<int>(64, s);
        CHECK(cudaMemsetAsync(next, 0, sizeof(int), s.s) == cudaSuccess);
        CHECK(start(s, 64, 32, 0, order, next, out) == cudaSuccess);
        orders.push_back(download(out, 64, s));
        cudaFreeAsync(next, s.s), cudaFreeAsync(out, s.s);
    }
    CHECK(orders[0] != orders[1]);
    CHECK(orders[0] == orders[2]);
}

TEST_CASE("events tell the time between them") {
    Stream a;
    cudaEvent_t from = nullptr, to = nullptr, untimed = nullptr;
    CHECK(cudaEventCreateWithFlags(&from, cudaEventDefault) == cudaSuccess);
    CHECK(cudaEventCreateWithFlags(&to, cudaEventDefault) == cudaSuccess);
    CHECK(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming) == cudaSuccess);
    CHECK(cudaEventRecord(from, a.s) == cudaSuccess);
    cuda_emu::enqueue(a.s, [] { ::usleep(20000); });
    CHECK(cudaEventRecord(to, a.s) == cudaSuccess);
    float milliseconds = 0;
    dies([&] { cudaEventElapsedTime(&milliseconds, from, to); }, "an event is not done");
    CHECK(cudaEventSynchronize(to) == cudaSuccess);
    CHECK(cudaEventElapsedTime(&milliseconds, from, to) == cudaSuccess);
    CHECK(milliseconds >= 20);
    CHECK(cudaEventElapsedTime(&milliseconds, from, untimed) == cudaErrorInvalidValue);
    cudaEventDestroy(from), cudaEventDestroy(to), cudaEventDestroy(untimed);
}

TEST_CASE("events order two streams; without one the reader sees old bytes") {
    const Stream a, b;
    for (const bool wait : {true, false}) {
        double *p = fresh<double>(1, a), *q = fresh<double>(1, a);
        const double zero = 0;
        CHECK(cudaMemcpyAsync(p, &zero, sizeof zero, cudaMemcpyHostToDevice, a.s) == cudaSuccess);
        CHECK(cudaStreamSynchronize(a.s) == cudaSuccess);
        cudaEvent_t event = nullptr;
        CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
        CHECK(start(a, 1, 1, 0, add_one, p) == cudaSuccess);
        CHECK(cudaEventRecord(event, a.s) == cudaSuccess);
        if (wait) CHECK(cudaStreamWaitEvent(b.s, event, 0) == cudaSuccess);
        CHECK(start(b, 1, 1, 0, copy_element, static_cast<const double*>(p), q, 0) == cudaSuccess);
        CHECK(download(q, 1, b)[0] == (wait ? 1 : 0));
        CHECK(cudaEventSynchronize(event) == cudaSuccess);
        cudaEventDestroy(event), cudaFreeAsync(p, a.s), cudaFreeAsync(q, a.s);
        CHECK(cudaDeviceSynchronize() == cudaSuccess);
    }
}

TEST_CASE("a captured graph runs when it is launched, as often as it is") {
    const Stream s;
    double* p = fresh<double>(1, s);
    CHECK(cudaMemsetAsync(p, 0, sizeof *p, s.s) == cudaSuccess);
    CHECK(cudaStreamBeginCapture(s.s, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(start(s, 1, 1, 0, add_one, p) == cudaSuccess);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    CHECK(cudaStreamEndCapture(s.s, &graph) == cudaSuccess);
    CHECK(cudaGraphInstantiate(&exec, graph) == cudaSuccess);
    CHECK(download(p, 1, s)[0] == 0);
    for (int i = 0; i < 3; ++i) CHECK(cudaGraphLaunch(exec, s.s) == cudaSuccess);
    CHECK(download(p, 1, s)[0] == 3);
    cudaGraphDestroy(graph), cudaGraphExecDestroy(exec), cudaFreeAsync(p, s.s);
    dies(
        [&] {
            const Stream t;
            (void)cudaStreamBeginCapture(t.s, cudaStreamCaptureModeThreadLocal);
            (void)cudaStreamSynchronize(t.s);
        },
        "synchronised while it was captured");
}

TEST_CASE("the libraries compute column-major on the handle's stream") {
    const Stream s;
    cublasHandle_t blas = nullptr;
    cusolverDnHandle_t solver = nullptr;
    CHECK(cublasCreate(&blas) == CUBLAS_STATUS_SUCCESS);
    CHECK(cusolverDnCreate(&solver) == CUSOLVER_STATUS_SUCCESS);
    CHECK(cublasSetStream(blas, s.s) == CUBLAS_STATUS_SUCCESS);
    CHECK(cusolverDnSetStream(solver, s.s) == CUSOLVER_STATUS_SUCCESS);
    const double a[] = {2, 1, 0, 3}; // columns (2, 1) and (0, 3)
    const double one = 1, zero = 0;
    double *p = fresh<double>(4, s), *q = fresh<double>(4, s), *work = fresh<double>(2, s);
    int* info = fresh<int>(1, s);
    CHECK(cudaMemcpyAsync(p, a, sizeof a, cudaMemcpyHostToDevice, s.s) == cudaSuccess);
    CHECK(cublasDgemm(blas, CUBLAS_OP_N, CUBLAS_OP_T, 2, 2, 2, &one, p, 2, p, 2, &zero, q, 2) ==
          CUBLAS_STATUS_SUCCESS); // A A'
    CHECK(download(q, 4, s) == std::vector<double>{4, 2, 2, 10});
    CHECK(cublasDsyrk(blas, CUBLAS_FILL_MODE_LOWER, CUBLAS_OP_N, 2, 2, &one, p, 2, &zero, q, 2) ==
          CUBLAS_STATUS_SUCCESS);
    int size = 0;
    CHECK(cusolverDnDpotrf_bufferSize(solver, CUBLAS_FILL_MODE_LOWER, 2, q, 2, &size) ==
          CUSOLVER_STATUS_SUCCESS);
    CHECK(cusolverDnDpotrf(solver, CUBLAS_FILL_MODE_LOWER, 2, q, 2, work, size, info) ==
          CUSOLVER_STATUS_SUCCESS);
    CHECK(download(info, 1, s)[0] == 0);
    const auto l = download(q, 4, s);
    CHECK(l == std::vector<double>{2, 1, l[2], 3}); // the upper triangle is not looked at
    // A leading dimension that reaches beyond the allocation.
    dies(
        [&] {
            (void)cublasDgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, p, 3, p, 2, &zero, q,
                              2);
        },
        "cublas gemm, A: out of bounds");
    dies(
        [&] {
            (void)cublasDgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, a, 2, p, 2, &zero, q,
                              2);
        },
        "a host address where device memory is needed");
    CHECK(cublasDgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, p, 1, p, 2, &zero, q, 2) ==
          CUBLAS_STATUS_INVALID_VALUE);
    for (void* m : {static_cast<void*>(p), static_cast<void*>(q), static_cast<void*>(work),
                    static_cast<void*>(info)})
        cudaFreeAsync(m, s.s);
    cublasDestroy(blas), cusolverDnDestroy(solver);
}

// ---- planted faults ----------------------------------------------------------------------------

TEST_CASE("a missing barrier gives wrong numbers: read after write") {
    const Stream s;
    int* p = fresh<int>(128, s);
    bool wrong = false;
    CHECK(start(s, 1, 128, 128 * sizeof(int), reverse<false>, p) == cudaSuccess);
    const auto block = download(p, 128, s);
    for (int i = 0; i < 128; ++i) wrong |= block[static_cast<std::size_t>(i)] != 127 - i;
    CHECK(wrong);
    wrong = false;
    CHECK(start(s, 1, 32, 32 * sizeof(int), reverse_warp<false>, p) == cudaSuccess);
    const auto warp = download(p, 32, s);
    for (int i = 0; i < 32; ++i) wrong |= warp[static_cast<std::size_t>(i)] != 31 - i;
    CHECK(wrong);
    cudaFreeAsync(p, s.s);
}

TEST_CASE("a missing barrier gives wrong numbers: write after read") {
    const Stream s;
    int* p = fresh<int>(128, s);
    int wrong = 0; // not every order shows it
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
        cuda_emu_seed(seed);
        CHECK(start(s, 1, 128, sizeof(int), broadcast_twice<false>, p) == cudaSuccess);
        bool differs = false;
        for (const int sum : download(p, 128, s)) differs |= sum != 3;
        wrong += differs;
    }
    CHECK(wrong >= 4);
    cudaFreeAsync(p, s.s);
}

TEST_CASE("the host may not touch device memory") {
    const Stream s;
    double* p = fresh<double>(4, s);
    dies([&] { p[1] = 0; }, "the host touched device memory");
    dies([&] { std::printf("%g", p[1]); }, "the host touched device memory");
    cudaFreeAsync(p, s.s);
}

TEST_CASE("a host pointer in an argument or a functor is refused") {
    const Stream s;
    double* p = fresh<double>(1, s);
    const double on_stack = 1;
    const std::vector<double> on_heap(1, 1.0);
    dies([&] { (void)start(s, 1, 1, 0, copy_element, &on_stack, p, 0); },
         "kernel argument 0 holds a host address");
    dies([&] { (void)start(s, 1, 1, 0, copy_element, on_heap.data(), p, 0); },
         "kernel argument 0 holds a host address");
    dies([&] { (void)start(s, 1, 1, 0, apply, Functor{2.0, on_heap.data()}, p); },
         "kernel argument 0 holds a host address (byte 8 of it)");
    CHECK(start(s, 1, 1, 0, apply, Functor{2.0, p}, p) == cudaSuccess); // device memory is welcome
    CHECK(cudaStreamSynchronize(s.s) == cudaSuccess);
    cudaFreeAsync(p, s.s);
}

TEST_CASE("copies must go the way they say") {
    const Stream s;
    double *p = fresh<double>(2, s), host[2] = {1, 2};
    dies([&] { (void)cudaMemcpyAsync(p, host, 16, cudaMemcpyDeviceToHost, s.s); },
         "a device address where host memory is needed");
    dies([&] { (void)cudaMemcpyAsync(host, p, 16, cudaMemcpyHostToDevice, s.s); },
         "a host address where device memory is needed");
    dies([&] { (void)cudaMemcpyAsync(p, host, 16, cudaMemcpyDeviceToDevice, s.s); },
         "a host address where device memory is needed");
    dies([&] { (void)cudaMemcpyAsync(p, host, 24, cudaMemcpyHostToDevice, s.s); },
         "out of bounds: 24 bytes");
    cudaFreeAsync(p, s.s);
}

TEST_CASE("freed memory is dead") {
    const Stream s;
    double *p = fresh<double>(2, s), *q = fresh<double>(2, s);
    dies(
        [&] { // freed behind the launch's back: the kernel is already in the queue of a later drain
            const Stream t;
            cudaFreeAsync(p, t.s);
            (void)start(s, 1, 1, 0, copy_element, static_cast<const double*>(p), q, 0);
            (void)cudaStreamSynchronize(t.s);
            (void)cudaStreamSynchronize(s.s);
        },
        "use after free");
    dies(
        [&] {
            cudaFreeAsync(p, s.s);
            (void)cudaStreamSynchronize(s.s);
            (void)start(s, 1, 1, 0, copy_element, static_cast<const double*>(p), q, 0);
        },
        "holds the address of freed memory");
    dies(
        [&] {
            cudaFreeAsync(p, s.s);
            (void)cudaStreamSynchronize(s.s);
            (void)cudaMemsetAsync(p, 0, 8, s.s);
        },
        "use after free");
    dies(
        [&] {
            cudaFreeAsync(p, s.s);
            (void)cudaStreamSynchronize(s.s);
            cudaFreeAsync(p, s.s);
        },
        "not a live device allocation");
    cudaFreeAsync(p, s.s), cudaFreeAsync(q, s.s);
}

TEST_CASE("out of bounds") {
    const Stream s;
    int* p = fresh<int>(1000, s); // 4000 bytes: a multiple of 16
    dies(
        [&] {
            (void)start(s, 8, 128, 0, number_all, p); // 1024 threads
            (void)cudaStreamSynchronize(s.s);
        },
        "of an allocation of 4000 bytes, thread");
    int* q = fresh<int>(1001, s); // the guard is 12 bytes further: seen when it is freed
    dies(
        [&] {
            (void)start(s, 1, 1, 0, number, q + 1001, 1);
            cudaFreeAsync(q, s.s);
            (void)cudaStreamSynchronize(s.s);
        },
        "just outside an allocation");
    dies(
        [&] {
            (void)start(s, 1, 32, 32 * sizeof(int), overrun_shared, p);
            (void)cudaStreamSynchronize(s.s);
        },
        "out of bounds");
    dies(
        [&] {
            (void)start(s, 1, 32, 0, read_shared, p);
            (void)cudaStreamSynchronize(s.s);
        },
        "shared memory was not asked for");
    cudaFreeAsync(p, s.s), cudaFreeAsync(q, s.s);
}

TEST_CASE("fresh memory is not a number, and never comes back after a free") {
    const Stream s;
    double* p = fresh<double>(2, s);
    for (const double v : download(p, 2, s)) CHECK(std::isnan(v));
    for (int i = 0; i < 50; ++i) {
        cudaFreeAsync(p, s.s);
        CHECK(cudaStreamSynchronize(s.s) == cudaSuccess);
        double* q = fresh<double>(2, s);
        CHECK(q != p);
        p = q;
    }
    int* out = fresh<int>(32, s); // shared memory too is fresh for every block
    CHECK(start(s, 1, 32, 32 * sizeof(int), reverse_warp<true>, out) == cudaSuccess);
    CHECK(start(s, 1, 32, 32 * sizeof(int), read_shared, out) == cudaSuccess);
    for (const int v : download(out, 32, s)) CHECK(v == -1);
    cudaFreeAsync(p, s.s), cudaFreeAsync(out, s.s);
}

TEST_CASE("a read before the wait sees old bytes") {
    const Stream s;
    double *p = fresh<double>(1, s), host = 7;
    const double two = 2;
    CHECK(cudaMemcpyAsync(p, &two, sizeof two, cudaMemcpyHostToDevice, s.s) == cudaSuccess);
    CHECK(cudaMemcpyAsync(&host, p, sizeof host, cudaMemcpyDeviceToHost, s.s) == cudaSuccess);
    CHECK(host == 7);
    CHECK(cudaStreamSynchronize(s.s) == cudaSuccess);
    CHECK(host == 2);
    cudaFreeAsync(p, s.s);
}

TEST_CASE("threads that part ways before a barrier") {
    const auto run = [](void (*kernel)(int), unsigned block) {
        return [=] {
            const Stream s;
            (void)start(s, 1, block, 0, kernel, 0);
            (void)cudaStreamSynchronize(s.s);
        };
    };
    dies(run(leave_before_barrier, 64), "early exit: 1 of 64 threads have ended");
    dies(run(leave_before_shuffle, 32), "early exit: thread 3 has ended");
    dies(run(two_barriers, 64), "divergence: threads of a block");
    dies(run(two_shuffles, 32), "divergence: lanes of a warp");
    dies(run(barrier_and_shuffle, 32), "divergence: lanes of a warp");
    dies(run(half_warp, 32), "with a partial mask");
    dies(run([](int) { __syncwarp(); }, 40), "not whole warps");
}

TEST_CASE("launches beyond the limits of a device are refused") {
    const Stream s;
    int* p = fresh<int>(1, s);
    const auto launch = [&](dim3 grid, dim3 block, std::size_t shared) {
        const cudaLaunchConfig_t config = {grid, block, shared, s.s, nullptr, 0};
        return cudaLaunchKernelEx(&config, number, p, 1);
    };
    CHECK(launch(1, 1024, 48 * 1024) == cudaSuccess);
    CHECK(launch(1, 1025, 0) == cudaErrorInvalidConfiguration);
    CHECK(launch(0, 32, 0) == cudaErrorInvalidConfiguration);
    CHECK(launch(1, 0, 0) == cudaErrorInvalidConfiguration);
    CHECK(launch(dim3(1, 65536), 32, 0) == cudaErrorInvalidConfiguration);
    CHECK(launch(1, dim3(1, 1, 65), 0) == cudaErrorInvalidConfiguration);
    CHECK(launch(1, 32, 48 * 1024 + 1) == cudaErrorInvalidValue);
    cudaFreeAsync(p, s.s);
}

TEST_CASE("memory runs out at the limit") {
    const Stream s;
    cuda_emu_memory_limit(4096);
    double *p = fresh<double>(256, s), *q = nullptr;
    CHECK(cudaMallocAsync(&q, 4096, s.s) == cudaErrorMemoryAllocation);
    CHECK(q == nullptr);
    CHECK(cudaMallocAsync(&q, std::size_t{1} << 50, s.s) == cudaErrorMemoryAllocation);
    std::size_t free = 0, total = 0;
    CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess);
    CHECK(total == 4096);
    CHECK(free == 4096 - 256 * sizeof(double));
    cudaFreeAsync(p, s.s);
    CHECK(cudaStreamSynchronize(s.s) == cudaSuccess);
    CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess);
    CHECK(free == 4096);
    CHECK(cudaMallocAsync(&q, 4096, s.s) == cudaSuccess);
    cudaFreeAsync(q, s.s);
    cuda_emu_memory_limit(0);
}

TEST_CASE("the n-th call fails, once, and leaks are counted") {
    const long live = cuda_emu_live();
    {
        const Stream s;
        double *p = nullptr, *q = nullptr;
        const long before = cuda_emu_calls();
        cuda_emu_fail_call(2);
        CHECK(cudaMallocAsync(&p, 8, s.s) == cudaSuccess);
        CHECK(cudaMallocAsync(&q, 8, s.s) != cudaSuccess);
        CHECK(cudaMallocAsync(&q, 8, s.s) == cudaSuccess);
        CHECK(cuda_emu_calls() == before + 3);
        CHECK(cuda_emu_live() == live + 3);
        cuda_emu_fail_call(1);
        CHECK(cudaFreeAsync(p, s.s) != cudaSuccess); // gives back all the same
        CHECK(cuda_emu_live() == live + 2);
        cuda_emu_fail_call(1);
        CHECK(start(s, 1, 1, 0, add_one, q) != cudaSuccess);
        cudaFreeAsync(q, s.s);
    }
    CHECK(cuda_emu_live() == live);
}

// The CUDA backend's memory, copies and algebra: backend/queue.hpp over the CUDA runtime, cuBLAS
// and cuSOLVER. Every failure is a BackendError that names the call, lack of memory a
// std::bad_alloc. What gives something back ignores failures: they would be those of earlier work.
#include "backend/cuda.hpp"
#include "backend/cuda_queue.cuh"
#include "backend/launch.cuh"

#include <limits>

namespace fastopt {
namespace {

using gpu::check;

void check(cublasStatus_t status, const char* what) {
    if (status != CUBLAS_STATUS_SUCCESS)
        throw BackendError(std::string("cuBLAS: ") + what +
                           " failed: " + cublasGetStatusString(status));
}
void check(cusolverStatus_t status, const char* what) {
    if (status != CUSOLVER_STATUS_SUCCESS)
        throw BackendError(std::string("cuSOLVER: ") + what + " failed with status " +
                           std::to_string(static_cast<int>(status)));
}

// cuBLAS counts in int.
int narrow(index_t n) {
    FASTOPT_REQUIRE(n >= 0 && n <= std::numeric_limits<int>::max(),
                    "a matrix dimension is too large for cuBLAS: " + std::to_string(n));
    return static_cast<int>(n);
}

cublasOperation_t op(bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; }

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

} // namespace

// ---- the device --------------------------------------------------------------------------------

// Why there is no device to compute on; empty if there is one.
static std::string obstacle() {
    int count = 0, driver = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0) return "";
    (void)cudaGetLastError(); // it was looked at
    if (error == cudaSuccess) return "there is no CUDA device";
    const bool has_driver = cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0;
    return std::string(cudaGetErrorString(error)) +
           (has_driver ? "" : " (no NVIDIA driver is installed)");
}

CudaInfo cuda_info() {
    CudaInfo info;
    int runtime = 0, driver = 0;
    check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    info.runtime = version_text(runtime);
    if (driver > 0) info.driver = version_text(driver);
    info.reason = obstacle();
    if (!info.reason.empty()) return info;
    cudaDeviceProp properties = {};
    int device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    info.available = true;
    info.device = properties.name;
    return info;
}

index_t cuda_free_memory() {
    // What was freed in the order of a stream goes back to the device when it is waited for.
    check(cudaDeviceSynchronize(), "waiting for the device");
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return static_cast<index_t>(free);
}

// ---- the queue ---------------------------------------------------------------------------------

Queue::Queue() {
    const std::string reason = obstacle();
    if (!reason.empty())
        throw BackendError("device='cuda' needs a CUDA device and its driver: " + reason +
                           ". Use device='cpu', or see `fastopt info`.");
    check(cudaGetDevice(&device_), "cudaGetDevice");
    try {
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
        check(cudaMallocHost(&staging_, staging_bytes), "allocating pinned memory");
    } catch (...) {
        close();
        throw;
    }
}

Queue::~Queue() { close(); }

void Queue::close() noexcept {
    if (solver_) (void)cusolverDnDestroy(solver_);
    if (blas_) (void)cublasDestroy(blas_);
    if (stream_) (void)cudaStreamDestroy(stream_);
    if (staging_) (void)cudaFreeHost(staging_);
}

cublasHandle_t Queue::blas() {
    if (!blas_) {
        cublasHandle_t handle = nullptr;
        check(cublasCreate(&handle), "cublasCreate");
        blas_ = handle;
    }
    check(cublasSetStream(blas_, stream_), "cublasSetStream");
    return blas_;
}

cusolverDnHandle_t Queue::solver() {
    if (!solver_) {
        cusolverDnHandle_t handle = nullptr;
        check(cusolverDnCreate(&handle), "cusolverDnCreate");
        solver_ = handle;
    }
    check(cusolverDnSetStream(solver_, stream_), "cusolverDnSetStream");
    return solver_;
}

std::shared_ptr<Queue> make_queue() { return std::make_shared<Queue>(); }
bool kernels_on_host() { return false; }

// ---- memory ------------------------------------------------------------------------------------

void* queue_allocate(Queue& queue, index_t n, std::size_t size) {
    const index_t bytes = checked_product(n, static_cast<index_t>(size));
    if (bytes == 0) return nullptr;
    char* p = nullptr;
    check(cudaMallocAsync(&p, static_cast<std::size_t>(bytes), queue.stream()), "an allocation");
    try {
        check(cudaMemsetAsync(p, 0, static_cast<std::size_t>(bytes), queue.stream()), "a fill");
    } catch (...) {
        queue_release(queue, p);
        throw;
    }
    return p;
}

void queue_release(Queue& queue, void* p) noexcept {
    if (p) (void)cudaFreeAsync(p, queue.stream());
}

// Through the pinned buffer, which outlives whatever fails on the way; `to` and `from` need not.
void upload(Queue& queue, void* to, const void* from, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += Queue::staging_bytes) {
        const std::size_t part =
            bytes - at < Queue::staging_bytes ? bytes - at : Queue::staging_bytes;
        std::memcpy(queue.staging(), static_cast<const char*>(from) + at, part);
        check(cudaMemcpyAsync(static_cast<char*>(to) + at, queue.staging(), part,
                              cudaMemcpyHostToDevice, queue.stream()),
              "a copy to the device");
        check(cudaStreamSynchronize(queue.stream()), "waiting for the device");
    }
}

void download(Queue& queue, void* to, const void* from, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += Queue::staging_bytes) {
        const std::size_t part =
            bytes - at < Queue::staging_bytes ? bytes - at : Queue::staging_bytes;
        check(cudaMemcpyAsync(queue.staging(), static_cast<const char*>(from) + at, part,
                              cudaMemcpyDeviceToHost, queue.stream()),
              "a copy from the device");
        check(cudaStreamSynchronize(queue.stream()), "waiting for the device");
        std::memcpy(static_cast<char*>(to) + at, queue.staging(), part);
    }
}

void copy(Queue& queue, void* to, const void* from, std::size_t bytes) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, queue.stream()),
          "a copy on the device");
}

// ---- algebra -----------------------------------------------------------------------------------
// cuBLAS is column-major, where a row-major matrix is its transpose: C' = op(B)' op(A)', and a
// lower triangle is an upper one.

namespace {

cublasStatus_t any_gemm(cublasHandle_t h, cublasOperation_t oa, cublasOperation_t ob, int m, int n,
                        int k, const double* alpha, const double* a, int lda, const double* b,
                        int ldb, const double* beta, double* c, int ldc) {
    return cublasDgemm(h, oa, ob, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
cublasStatus_t any_gemm(cublasHandle_t h, cublasOperation_t oa, cublasOperation_t ob, int m, int n,
                        int k, const float* alpha, const float* a, int lda, const float* b, int ldb,
                        const float* beta, float* c, int ldc) {
    return cublasSgemm(h, oa, ob, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
cublasStatus_t any_syrk(cublasHandle_t h, int n, int k, const double* alpha, const double* a,
                        int lda, const double* beta, double* c, int ldc) {
    return cublasDsyrk(h, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_N, n, k, alpha, a, lda, beta, c, ldc);
}
cublasStatus_t any_syrk(cublasHandle_t h, int n, int k, const float* alpha, const float* a, int lda,
                        const float* beta, float* c, int ldc) {
    return cublasSsyrk(h, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_N, n, k, alpha, a, lda, beta, c, ldc);
}
cusolverStatus_t potrf_size(cusolverDnHandle_t h, int n, double* a, int lda, int* size) {
    return cusolverDnDpotrf_bufferSize(h, CUBLAS_FILL_MODE_UPPER, n, a, lda, size);
}
cusolverStatus_t potrf_size(cusolverDnHandle_t h, int n, float* a, int lda, int* size) {
    return cusolverDnSpotrf_bufferSize(h, CUBLAS_FILL_MODE_UPPER, n, a, lda, size);
}
cusolverStatus_t any_potrf(cusolverDnHandle_t h, int n, double* a, int lda, double* work, int size,
                           int* status) {
    return cusolverDnDpotrf(h, CUBLAS_FILL_MODE_UPPER, n, a, lda, work, size, status);
}
cusolverStatus_t any_potrf(cusolverDnHandle_t h, int n, float* a, int lda, float* work, int size,
                           int* status) {
    return cusolverDnSpotrf(h, CUBLAS_FILL_MODE_UPPER, n, a, lda, work, size, status);
}
cublasStatus_t any_trsm(cublasHandle_t h, cublasSideMode_t side, cublasOperation_t o, int m, int n,
                        const double* alpha, const double* l, int ldl, double* b, int ldb) {
    return cublasDtrsm(h, side, CUBLAS_FILL_MODE_UPPER, o, CUBLAS_DIAG_NON_UNIT, m, n, alpha, l,
                       ldl, b, ldb);
}
cublasStatus_t any_trsm(cublasHandle_t h, cublasSideMode_t side, cublasOperation_t o, int m, int n,
                        const float* alpha, const float* l, int ldl, float* b, int ldb) {
    return cublasStrsm(h, side, CUBLAS_FILL_MODE_UPPER, o, CUBLAS_DIAG_NON_UNIT, m, n, alpha, l,
                       ldl, b, ldb);
}
cusolverStatus_t potri_size(cusolverDnHandle_t h, int n, double* a, int lda, int* size) {
    return cusolverDnDpotri_bufferSize(h, CUBLAS_FILL_MODE_UPPER, n, a, lda, size);
}
cusolverStatus_t potri_size(cusolverDnHandle_t h, int n, float* a, int lda, int* size) {
    return cusolverDnSpotri_bufferSize(h, CUBLAS_FILL_MODE_UPPER, n, a, lda, size);
}
cusolverStatus_t any_potri(cusolverDnHandle_t h, int n, double* a, int lda, double* work, int size,
                           int* status) {
    return cusolverDnDpotri(h, CUBLAS_FILL_MODE_UPPER, n, a, lda, work, size, status);
}
cusolverStatus_t any_potri(cusolverDnHandle_t h, int n, float* a, int lda, float* work, int size,
                           int* status) {
    return cusolverDnSpotri(h, CUBLAS_FILL_MODE_UPPER, n, a, lda, work, size, status);
}
cusolverStatus_t any_potrs(cusolverDnHandle_t h, int n, const double* l, int ldl, double* b,
                           int* status) {
    return cusolverDnDpotrs(h, CUBLAS_FILL_MODE_UPPER, n, 1, l, ldl, b, n, status);
}
cusolverStatus_t any_potrs(cusolverDnHandle_t h, int n, const float* l, int ldl, float* b,
                           int* status) {
    return cusolverDnSpotrs(h, CUBLAS_FILL_MODE_UPPER, n, 1, l, ldl, b, n, status);
}

// Memory of one call of cuSOLVER: its work space and its status.
class Workspace {
  public:
    template <class T>
    Workspace(Queue& queue, T*, index_t size)
        : queue_(queue), release_{&queue}, work_(queue_allocate(queue, size, sizeof(T)), release_),
          status_(queue_allocate(queue, 1, sizeof(int)), release_) {}
    template <class T> T* work() const { return static_cast<T*>(work_.get()); }
    int* status() const { return static_cast<int*>(status_.get()); }
    int result() const { // waits
        int info = 0;
        download(queue_, &info, status(), sizeof info);
        return info;
    }
    bool success() const { return result() == 0; }

  private:
    struct Release {
        Queue* queue;
        void operator()(void* p) const { queue_release(*queue, p); }
    };
    Queue& queue_;
    Release release_;
    std::unique_ptr<void, Release> work_, status_;
};

} // namespace

template <class T>
void gemm(Queue& queue, bool transpose_a, bool transpose_b, index_t m, index_t n, index_t k,
          T alpha, const T* a, index_t lda, const T* b, index_t ldb, T beta, T* c, index_t ldc) {
    check(any_gemm(queue.blas(), op(transpose_b), op(transpose_a), narrow(n), narrow(m), narrow(k),
                   &alpha, b, narrow(ldb), a, narrow(lda), &beta, c, narrow(ldc)),
          "gemm");
}

template <class T>
void syrk(Queue& queue, index_t n, index_t k, T alpha, const T* a, index_t lda, T beta, T* c,
          index_t ldc) {
    check(
        any_syrk(queue.blas(), narrow(n), narrow(k), &alpha, a, narrow(lda), &beta, c, narrow(ldc)),
        "syrk");
}

template <class T> bool potrf(Queue& queue, index_t n, T* a, index_t lda) {
    const cusolverDnHandle_t handle = queue.solver();
    int size = 0;
    check(potrf_size(handle, narrow(n), a, narrow(lda), &size), "potrf_bufferSize");
    const Workspace w(queue, a, size);
    check(any_potrf(handle, narrow(n), a, narrow(lda), w.work<T>(), size, w.status()), "potrf");
    return w.success();
}

template <class T> void potri(Queue& queue, index_t n, T* a, index_t lda) {
    const cusolverDnHandle_t handle = queue.solver();
    int size = 0;
    check(potri_size(handle, narrow(n), a, narrow(lda), &size), "potri_bufferSize");
    const Workspace w(queue, a, size);
    check(any_potri(handle, narrow(n), a, narrow(lda), w.work<T>(), size, w.status()), "potri");
}

template <class T> void potrs(Queue& queue, index_t n, const T* l, index_t ldl, T* b) {
    const Workspace w(queue, b, 0);
    check(any_potrs(queue.solver(), narrow(n), l, narrow(ldl), b, w.status()), "potrs");
}

template <class T>
void trsm(Queue& queue, bool left, bool transpose, index_t m, index_t n, const T* l, index_t ldl,
          T* b, index_t ldb) {
    const T one = 1;
    check(any_trsm(queue.blas(), left ? CUBLAS_SIDE_RIGHT : CUBLAS_SIDE_LEFT, op(transpose),
                   narrow(n), narrow(m), &one, l, narrow(ldl), b, narrow(ldb)),
          "trsm");
}

void gemv(Queue& queue, bool transpose, index_t m, index_t n, double alpha, const double* a,
          index_t lda, const double* x, double beta, double* y) {
    check(cublasDgemv(queue.blas(), op(!transpose), narrow(n), narrow(m), &alpha, a, narrow(lda), x,
                      1, &beta, y, 1),
          "gemv");
}

void sytrf(Queue& queue, index_t n, double* a, index_t lda, int* pivots) {
    const cusolverDnHandle_t handle = queue.solver();
    int size = 0;
    check(cusolverDnDsytrf_bufferSize(handle, narrow(n), a, narrow(lda), &size),
          "sytrf_bufferSize");
    const Workspace w(queue, a, size);
    check(cusolverDnDsytrf(handle, CUBLAS_FILL_MODE_UPPER, narrow(n), a, narrow(lda), pivots,
                           w.work<double>(), size, w.status()),
          "sytrf");
    if (const int info = w.result(); info < 0) // > 0: a zero pivot, which is seen in D
        throw BackendError("cuSOLVER: sytrf refused argument " + std::to_string(-info));
}

void sytrs(Queue& queue, index_t n, const double* a, index_t lda, const std::int64_t* pivots,
           double* b) {
    const cusolverDnHandle_t handle = queue.solver();
    std::size_t bytes = 0, host_bytes = 0;
    check(cusolverDnXsytrs_bufferSize(handle, CUBLAS_FILL_MODE_UPPER, n, 1, CUDA_R_64F, a, lda,
                                      pivots, CUDA_R_64F, b, n, &bytes, &host_bytes),
          "sytrs_bufferSize");
    const Workspace w(queue, static_cast<char*>(nullptr), static_cast<index_t>(bytes));
    FASTOPT_REQUIRE(host_bytes <= Queue::staging_bytes, "sytrs wants too much memory of the host");
    // On the host it works in the pinned buffer, which outlives whatever fails on the way.
    check(cusolverDnXsytrs(handle, CUBLAS_FILL_MODE_UPPER, n, 1, CUDA_R_64F, a, lda, pivots,
                           CUDA_R_64F, b, n, w.work<char>(), bytes, queue.staging(), host_bytes,
                           w.status()),
          "sytrs");
    if (const int info = w.result(); info != 0)
        throw BackendError("cuSOLVER: sytrs failed with info " + std::to_string(info));
}

#define FASTOPT_ALGEBRA(T)                                                                         \
    template void gemm<T>(Queue&, bool, bool, index_t, index_t, index_t, T, const T*, index_t,     \
                          const T*, index_t, T, T*, index_t);                                      \
    template void syrk<T>(Queue&, index_t, index_t, T, const T*, index_t, T, T*, index_t);         \
    template bool potrf<T>(Queue&, index_t, T*, index_t);                                          \
    template void potri<T>(Queue&, index_t, T*, index_t);                                          \
    template void potrs<T>(Queue&, index_t, const T*, index_t, T*);                                \
    template void trsm<T>(Queue&, bool, bool, index_t, index_t, const T*, index_t, T*, index_t);
FASTOPT_ALGEBRA(double)
FASTOPT_ALGEBRA(float)
#undef FASTOPT_ALGEBRA

// ---- the device's best
// ---------------------------------------------------------------------------

namespace {

// Seconds that work takes on a stream, from two events in it.
class Stopwatch {
  public:
    explicit Stopwatch(Queue& queue) : queue_(queue) {
        check(cudaEventCreateWithFlags(&from_, cudaEventDefault), "making an event");
        const cudaError_t error = cudaEventCreateWithFlags(&to_, cudaEventDefault);
        if (error != cudaSuccess) (void)cudaEventDestroy(from_);
        check(error, "making an event");
    }
    ~Stopwatch() { (void)cudaEventDestroy(from_), (void)cudaEventDestroy(to_); }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

    template <class Work> double least(int repeats, Work work) { // after one to warm up
        double best = std::numeric_limits<double>::infinity();
        for (int r = 0; r <= repeats; ++r) {
            check(cudaEventRecord(from_, queue_.stream()), "recording an event");
            work();
            check(cudaEventRecord(to_, queue_.stream()), "recording an event");
            check(cudaEventSynchronize(to_), "waiting for an event");
            float milliseconds = 0;
            check(cudaEventElapsedTime(&milliseconds, from_, to_), "reading the device's clock");
            if (r > 0 && milliseconds < best) best = milliseconds;
        }
        return best * 1e-3;
    }

  private:
    Queue& queue_;
    cudaEvent_t from_ = nullptr, to_ = nullptr;
};

template <class T>
double flops(const std::shared_ptr<Queue>& queue, Stopwatch& clock, index_t order, int repeats) {
    const Array<T> a(queue, checked_product(order, order)), b = a.clone(), c = a.clone();
    const double seconds = clock.least(repeats, [&] {
        gemm<T>(*queue, false, false, order, order, order, T(1), a.data(), order, b.data(), order,
                T(0), c.data(), order);
    });
    const double n = static_cast<double>(order);
    return 2 * n * n * n / seconds;
}

} // namespace

CudaRates cuda_rates(index_t copied, index_t order, int repeats) {
    FASTOPT_REQUIRE(copied > 0 && order > 0 && repeats > 0, "sizes and repeats must be positive");
    const auto queue = make_queue();
    Stopwatch clock(*queue);
    const Array<char> from(queue, copied), to(queue, copied);
    const auto bytes = static_cast<std::size_t>(copied);
    CudaRates rates;
    rates.bytes = 2 * static_cast<double>(copied) /
                  clock.least(repeats, [&] { copy(*queue, to.data(), from.data(), bytes); });
    rates.flops_f64 = flops<double>(queue, clock, order, repeats);
    rates.flops_f32 = flops<float>(queue, clock, order, repeats);
    return rates;
}

} // namespace fastopt

// What foreign_arrays.py needs of the emulated device: memory, streams and kernels of somebody
// else's, which run only when something waits for them, as everything there.
#include <cuda_runtime.h>

#include <cstring>
#include <vector>

namespace {

cudaStream_t stream_at(void* handle) { return static_cast<cudaStream_t>(handle); }

template <class T> struct View {
    T* data;
    long row_stride, col_stride; // in numbers; 0: one number for all
    T& at(long i, long j) const { return data[i * row_stride + j * col_stride]; }
};

template <class T>
void enqueue_binary(void* stream, char op, long rows, long cols, View<T> a, View<T> b, T* out) {
    cuda_emu::enqueue(stream_at(stream), [=] {
        for (long i = 0; i < rows; ++i)
            for (long j = 0; j < cols; ++j) {
                const T x = a.at(i, j), y = b.at(i, j);
                out[i * cols + j] = op == '+' ? x + y : op == '-' ? x - y : x * y;
            }
    });
}

template <class T> View<T> view(void* p, const long* strides) {
    return {static_cast<T*>(p), strides[0], strides[1]};
}

} // namespace

#pragma GCC visibility push(default)
extern "C" {
void* foreign_stream() {
    cudaStream_t stream = nullptr;
    return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess ? stream
                                                                                    : nullptr;
}
void foreign_drop_stream(void* stream) { (void)cudaStreamDestroy(stream_at(stream)); }
// 0 where the call was told to fail.
int foreign_wait(void* stream, void* until) { // `stream` for what `until` was given
    cudaEvent_t event = nullptr;
    bool done = cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess;
    if (!done) return 0;
    done = cudaEventRecord(event, stream_at(until)) == cudaSuccess &&
           cudaStreamWaitEvent(stream_at(stream), event) == cudaSuccess;
    (void)cudaEventDestroy(event);
    return done;
}
int foreign_synchronise(void* stream) {
    return cudaStreamSynchronize(stream_at(stream)) == cudaSuccess;
}

void* foreign_allocate(void* stream, std::size_t bytes) {
    void* p = nullptr;
    return cudaMallocAsync(&p, bytes, stream_at(stream)) == cudaSuccess ? p : nullptr;
}
void foreign_free(void* stream, void* p) { (void)cudaFreeAsync(p, stream_at(stream)); }
void foreign_send(void* stream, void* to, const void* from, std::size_t bytes) {
    const char* first = static_cast<const char*>(from);
    cuda_emu::enqueue(stream_at(stream), [to, staged = std::vector<char>(first, first + bytes)] {
        std::memcpy(to, staged.data(), staged.size());
    });
}
void foreign_fetch(void* stream, void* to, const void* from, std::size_t bytes) {
    cuda_emu::enqueue(stream_at(stream), [=] { std::memcpy(to, from, bytes); });
    cuda_emu::synchronise(stream_at(stream));
}
void foreign_binary(void* stream, char op, int is_double, long rows, long cols, void* a,
                    const long* a_strides, void* b, const long* b_strides, void* out) {
    if (is_double)
        enqueue_binary(stream, op, rows, cols, view<double>(a, a_strides),
                       view<double>(b, b_strides), static_cast<double*>(out));
    else
        enqueue_binary(stream, op, rows, cols, view<float>(a, a_strides), view<float>(b, b_strides),
                       static_cast<float*>(out));
}
}
#pragma GCC visibility pop

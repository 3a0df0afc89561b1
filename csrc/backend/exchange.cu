// The exchange with other libraries over the CUDA runtime.
#include "backend/exchange.hpp"

#include "backend/cuda_queue.cuh"
#include "backend/exchange_cuda.cuh"

namespace fastopt {

using gpu::check;

int ordinal(const Queue& queue) { return queue.device(); }
Stream stream_of(const Queue& queue) { return reinterpret_cast<Stream>(queue.stream()); }

Moment::Moment(Queue& queue) : queue_(queue) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
    event_ = event;
}
Moment::~Moment() { (void)cudaEventDestroy(static_cast<cudaEvent_t>(event_)); }

void Moment::set() {
    check(cudaEventRecord(static_cast<cudaEvent_t>(event_), queue_.stream()), "recording an event");
}
void Moment::hold(Stream stream) const {
    // The numbers 1 and 2 are the runtime's own handles of those streams.
    check(cudaStreamWaitEvent(reinterpret_cast<cudaStream_t>(stream),
                              static_cast<cudaEvent_t>(event_)),
          "waiting in a stream");
}
void Moment::wait() const noexcept {
    if (cudaEventSynchronize(static_cast<cudaEvent_t>(event_)) != cudaSuccess)
        wait_for_device(queue_);
}

void wait_for_device(const Queue& queue) noexcept {
    int device = 0; // of this thread, which may be any
    const bool known = cudaGetDevice(&device) == cudaSuccess;
    if (known && device != queue.device()) (void)cudaSetDevice(queue.device());
    (void)cudaDeviceSynchronize();
    if (known && device != queue.device()) (void)cudaSetDevice(device);
}

template <class From, class To> void copy_rows(Queue& queue, const Strided<From>& from, To* to) {
    gpu::apply(queue, checked_product(from.rows, from.cols), gpu::CopyRows<From, To>{from, to});
}
template void copy_rows(Queue&, const Strided<double>&, double*);
template void copy_rows(Queue&, const Strided<float>&, double*);
template void copy_rows(Queue&, const Strided<float>&, float*);

} // namespace fastopt

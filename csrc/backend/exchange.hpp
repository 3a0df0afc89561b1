// What the CUDA backend shares with other libraries on its device: the order of its work with
// theirs, and the numbers of their arrays. Defined by exchange.cu.
#pragma once

#include <cstdint>

#include "backend/queue.hpp"

namespace fastopt {

int ordinal(const Queue& queue); // of its device

// The queue's stream, and anybody's, as the array API's standard writes it: a handle, 1 for the
// legacy default stream, 2 for that of the thread.
using Stream = std::intptr_t;
Stream stream_of(const Queue& queue);

// When this returns, everything that the queue's device was given before is done.
void wait_for_device(const Queue& queue) noexcept;

// A moment in the work of a queue, for which others can wait.
class Moment {
  public:
    explicit Moment(Queue& queue);
    ~Moment();
    Moment(const Moment&) = delete;
    Moment& operator=(const Moment&) = delete;

    void set();                     // now
    void hold(Stream stream) const; // what `stream` is given from now on waits for the moment
    void wait() const noexcept;     // so does the host

  private:
    Queue& queue_;
    void* event_ = nullptr;
};

// A matrix of any layout on the device; strides count numbers.
template <class T> struct Strided {
    const T* data = nullptr;
    index_t rows = 0, cols = 0, row_stride = 0, col_stride = 0;
};
// to (rows x cols, by rows) = from.
template <class From, class To> void copy_rows(Queue& queue, const Strided<From>& from, To* to);

} // namespace fastopt

// The memory seam: arrays that live where the kernels run, and the queue in which they run. Defined
// by queue_cpu.cpp, where kernels run at once on ordinary memory, and by cuda.cu; the backend is
// chosen at link time. Solvers hold their large arrays as `Array`s and hand `data()` to kernels
// only.
#pragma once

#include <memory>
#include <utility>

#include "backend/backend.hpp"
#include "core/types.hpp"

namespace fastopt {

// The order of work of one solve: a CUDA stream and its libraries' handles; nothing on the CPU.
class Queue;
std::shared_ptr<Queue> make_queue(); // BackendError where there is no device

// Whether kernels read and write the host's memory, so that nothing needs to be copied.
bool kernels_on_host();

void* queue_allocate(Queue& queue, index_t n, std::size_t size); // zeroed; or std::bad_alloc
void queue_release(Queue& queue, void* p) noexcept;
// Copies; `from` and `to` may be touched as soon as these return.
void upload(Queue& queue, void* to, const void* from, std::size_t bytes);
void download(Queue& queue, void* to, const void* from, std::size_t bytes);
void copy(Queue& queue, void* to, const void* from, std::size_t bytes); // between kernels' arrays

// The algebra of backend.hpp on kernels' arrays.
template <class T>
void gemm(Queue& queue, bool transpose_a, bool transpose_b, index_t m, index_t n, index_t k,
          T alpha, const T* a, index_t lda, const T* b, index_t ldb, T beta, T* c, index_t ldc);
template <class T>
void syrk(Queue& queue, index_t n, index_t k, T alpha, const T* a, index_t lda, T beta, T* c,
          index_t ldc);
template <class T> bool potrf(Queue& queue, index_t n, T* a, index_t lda);
template <class T>
void trsm(Queue& queue, bool left, bool transpose, index_t m, index_t n, const T* l, index_t ldl,
          T* b, index_t ldb);
void gemv(Queue& queue, bool transpose, index_t m, index_t n, double alpha, const double* a,
          index_t lda, const double* x, double beta, double* y);

// An owning array of n zeros where the kernels run, and its mirror on the host: the same memory on
// the CPU, a copy made on demand elsewhere. Copies of an Array share both.
template <class T> class Array {
  public:
    Array() = default;
    Array(const std::shared_ptr<Queue>& queue, index_t n) : queue_(queue), size_(n) {
        if (kernels_on_host()) {
            mirror_ = Buffer<T>(n);
            data_ = mirror_.owner();
        } else {
            data_ = std::shared_ptr<T>(static_cast<T*>(queue_allocate(*queue, n, sizeof(T))),
                                       [queue](T* p) { queue_release(*queue, p); });
        }
    }

    T* data() const { return data_.get(); } // for kernels and the functions above
    index_t size() const { return size_; }

    // The host's numbers: as they are in the mirror, or first brought up to date.
    T* mirror() const {
        if (mirror_.size() < size_) mirror_ = Buffer<T>(size_);
        return mirror_.data();
    }
    T* fetch() const {
        if (size_ && !kernels_on_host()) download(*queue_, mirror(), data(), bytes());
        return mirror();
    }
    // The kernels' numbers become those of the mirror.
    void send() const {
        if (size_ && !kernels_on_host()) upload(*queue_, data(), mirror(), bytes());
    }
    // Another array with the same numbers.
    Array clone() const {
        if (size_ == 0) return Array();
        const Array other(queue_, size_);
        copy(*queue_, other.data(), data(), bytes());
        return other;
    }
    // For a result: the numbers on the host.
    Buffer<T> take() const {
        fetch();
        return mirror_;
    }

  private:
    std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

    std::shared_ptr<Queue> queue_;
    index_t size_ = 0;
    std::shared_ptr<T> data_;
    mutable Buffer<T> mirror_;
};

// Numbers that kernels read: those of the host, which must stay where they are, or a copy of them
// where kernels run elsewhere; or numbers that somebody else has there.
template <class T> class Input {
  public:
    Input() = default;
    Input(const std::shared_ptr<Queue>& queue, const T* host, index_t n)
        : data_(kernels_on_host() ? host : nullptr) {
        if (kernels_on_host() || n == 0) return;
        copy_ = Array<T>(queue, n);
        upload(*queue, copy_.data(), host, static_cast<std::size_t>(n) * sizeof(T));
        data_ = copy_.data();
    }
    Input(const T* there, std::shared_ptr<const void> owner)
        : data_(there), owner_(std::move(owner)) {}
    const T* data() const { return data_; }

  private:
    const T* data_ = nullptr;
    Array<T> copy_;
    std::shared_ptr<const void> owner_;
};

} // namespace fastopt

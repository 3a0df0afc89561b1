// Memory for arrays of numbers.
#pragma once

#include <cstddef>
#include <memory>

#include "core/types.hpp"

namespace fastopt {

// rows * cols, checked against overflow (throws std::bad_alloc).
index_t checked_product(index_t rows, index_t cols);

// n * size bytes, or std::bad_alloc when the product overflows or memory is short.
void* allocate(index_t n, std::size_t size);
void release(void* p) noexcept;

// An owning array of n numbers, 64-byte aligned, zeroed. Shares ownership so that a view of it
// (a NumPy array) keeps it alive.
template <class T> class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(index_t n)
        : size_(n), data_(static_cast<T*>(allocate(n, sizeof(T))), release) {}

    T* data() const { return data_.get(); }
    index_t size() const { return size_; }
    T& operator[](index_t i) const { return data_.get()[i]; }
    const std::shared_ptr<T>& owner() const { return data_; }

  private:
    index_t size_ = 0;
    std::shared_ptr<T> data_;
};

} // namespace fastopt

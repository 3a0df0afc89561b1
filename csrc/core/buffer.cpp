#include "core/buffer.hpp"

#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

namespace fastopt {
namespace {

constexpr std::size_t alignment = 64;

} // namespace

index_t checked_product(index_t rows, index_t cols) {
    index_t product;
    if (rows < 0 || cols < 0 || __builtin_mul_overflow(rows, cols, &product))
        throw std::bad_alloc();
    return product;
}

void* allocate(index_t n, std::size_t size) {
    const index_t bytes = checked_product(n, static_cast<index_t>(size));
    if (bytes > std::numeric_limits<index_t>::max() - static_cast<index_t>(alignment))
        throw std::bad_alloc();
    const std::size_t padded =
        (static_cast<std::size_t>(bytes) + alignment) / alignment * alignment;
    void* p = std::aligned_alloc(alignment, padded);
    if (!p) throw std::bad_alloc();
    std::memset(p, 0, padded);
    return p;
}

void release(void* p) noexcept { std::free(p); }

} // namespace fastopt

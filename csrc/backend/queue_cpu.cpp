// The memory seam of the CPU: kernels run at once, on ordinary memory.
#include "backend/queue.hpp"

namespace fastopt {

class Queue {};

std::shared_ptr<Queue> make_queue() { return std::make_shared<Queue>(); }
bool kernels_on_host() { return true; }

void* queue_allocate(Queue&, index_t n, std::size_t size) { return allocate(n, size); }
void queue_release(Queue&, void* p) noexcept { release(p); }
void upload(Queue&, void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
void download(Queue&, void* to, const void* from, std::size_t bytes) {
    std::memcpy(to, from, bytes);
}
void copy(Queue&, void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }

template <class T>
void gemm(Queue&, bool ta, bool tb, index_t m, index_t n, index_t k, T alpha, const T* a,
          index_t lda, const T* b, index_t ldb, T beta, T* c, index_t ldc) {
    gemm<T>(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
template <class T>
void syrk(Queue&, index_t n, index_t k, T alpha, const T* a, index_t lda, T beta, T* c,
          index_t ldc) {
    syrk<T>(n, k, alpha, a, lda, beta, c, ldc);
}
template <class T> bool potrf(Queue&, index_t n, T* a, index_t lda) { return potrf<T>(n, a, lda); }
template <class T>
void trsm(Queue&, bool left, bool transpose, index_t m, index_t n, const T* l, index_t ldl, T* b,
          index_t ldb) {
    trsm<T>(left, transpose, m, n, l, ldl, b, ldb);
}
void gemv(Queue&, bool transpose, index_t m, index_t n, double alpha, const double* a, index_t lda,
          const double* x, double beta, double* y) {
    gemv<double>(transpose, m, n, alpha, a, lda, x, beta, y);
}

#define FASTOPT_ALGEBRA(T)                                                                         \
    template void gemm<T>(Queue&, bool, bool, index_t, index_t, index_t, T, const T*, index_t,     \
                          const T*, index_t, T, T*, index_t);                                      \
    template void syrk<T>(Queue&, index_t, index_t, T, const T*, index_t, T, T*, index_t);         \
    template bool potrf<T>(Queue&, index_t, T*, index_t);                                          \
    template void trsm<T>(Queue&, bool, bool, index_t, index_t, const T*, index_t, T*, index_t);
FASTOPT_ALGEBRA(double)
FASTOPT_ALGEBRA(float)
#undef FASTOPT_ALGEBRA

} // namespace fastopt

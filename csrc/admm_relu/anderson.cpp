#include "admm_relu/anderson.hpp"

#include <algorithm>
#include <cmath>

namespace fastopt {
namespace {

constexpr double reject = 3;
constexpr double regularisation = 1e-10; // of the trace

} // namespace

template <class T>
Anderson<T>::Anderson(index_t n1, index_t n2, index_t memory)
    : n1_(n1), n2_(n2), memory_(memory), g_(n1 + n2), rn_(n1 + n2),
      dg_(checked_product(memory, n1 + n2)), dr_(checked_product(memory, n1 + n2)),
      gram_(static_cast<std::size_t>(memory * memory)) {}

template <class T> double Anderson<T>::inner(const T* a, const T* b, double w1, double w2) const {
    double sum = w1 * static_cast<double>(dot(n1_, a, b));
    if (n2_ > 0) sum += w2 * static_cast<double>(dot(n2_, a + n1_, b + n1_));
    return sum;
}

template <class T> void Anderson<T>::clear() {
    count_ = head_ = 0;
    started_ = false;
}

template <class T> bool Anderson<T>::next(T* r, const T* rn, double w1, double w2) {
    const index_t n = n1_ + n2_;
    T* slot = dg_.data() + head_ * n; // g of this point, then its difference to the last
    for (index_t i = 0; i < n; ++i) slot[i] = rn[i] - r[i];
    const double size = std::sqrt(inner(slot, slot, w1, w2));
    if (started_ && !(size <= reject * accepted_)) {
        std::copy(rn_.data(), rn_.data() + n, r);
        clear();
        return false;
    }
    accepted_ = size;
    if (!started_) {
        started_ = true;
        std::copy(slot, slot + n, g_.data());
        std::copy(rn, rn + n, rn_.data());
        std::copy(rn, rn + n, r);
        return true;
    }
    T* step = dr_.data() + head_ * n;
    for (index_t i = 0; i < n; ++i) {
        const T g = slot[i];
        slot[i] = g - g_[i];
        g_[i] = g;
        step[i] = rn[i] - rn_[i];
        rn_[i] = rn[i];
    }
    count_ = std::min(count_ + 1, memory_);
    for (index_t j = 0; j < count_; ++j)
        gram_[head_ * memory_ + j] = gram_[j * memory_ + head_] =
            inner(slot, dg_.data() + j * n, w1, w2);
    head_ = (head_ + 1) % memory_;

    // min ||g - dG gamma||: regularised normal equations
    const index_t m = count_;
    std::vector<double> a(static_cast<std::size_t>(m * m)), gamma(static_cast<std::size_t>(m));
    double trace = 0;
    for (index_t i = 0; i < m; ++i) trace += gram_[i * memory_ + i];
    for (index_t i = 0; i < m; ++i) {
        for (index_t j = 0; j < m; ++j) a[i * m + j] = gram_[i * memory_ + j];
        a[i * m + i] += regularisation * trace;
        gamma[i] = inner(dg_.data() + i * n, g_.data(), w1, w2);
    }
    std::copy(rn, rn + n, r);
    if (!(trace > 0) || !potrf(m, a.data(), m)) return true;
    potrs(m, 1, a.data(), m, gamma.data(), 1);
    for (index_t j = 0; j < m; ++j) axpy(n, static_cast<T>(-gamma[j]), dr_.data() + j * n, r);
    return true;
}

template class Anderson<double>;
template class Anderson<float>;

} // namespace fastopt

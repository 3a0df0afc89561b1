#include "admm_relu/anderson.hpp"

#include <algorithm>
#include <cmath>

namespace fastopt {
namespace {

constexpr double reject = 3;
constexpr double regularisation = 1e-10; // of the trace

} // namespace

template <class T>
Anderson<T>::Anderson(index_t n1, index_t n2, index_t memory, int threads,
                      std::shared_ptr<Queue> queue, const Sharing& sharing)
    : steps_(std::move(queue), threads, sharing), n1_(n1), n2_(n2), memory_(memory),
      g_(steps_.queue(), n1 + n2), rn_(steps_.queue(), n1 + n2),
      dg_(steps_.queue(), checked_product(memory, n1 + n2)),
      dr_(steps_.queue(), checked_product(memory, n1 + n2)),
      gram_(static_cast<std::size_t>(memory * memory)) {}

template <class T> void Anderson<T>::clear() {
    count_ = head_ = 0;
    started_ = false;
}

template <class T> bool Anderson<T>::next(T* r, const T* rn, double w1, double w2) {
    const index_t n = n1_ + n2_;
    const Sharing& sharing = steps_.sharing();
    w1 *= sharing.share_of_all(sharing.weights), w2 *= sharing.share_of_all(sharing.samples);
    T* slot = dg_.data() + head_ * n; // g of this point, then its difference to the last
    steps_.subtract(n, rn, r, slot);
    double square = steps_.inner(n1_, n2_, slot, slot, w1, w2);
    sum_over_ranks(sharing.comm(), &square, 1);
    const double size = std::sqrt(square);
    if (started_ && !(size <= reject * accepted_)) {
        steps_.copy(n, rn_.data(), r);
        clear();
        return false;
    }
    accepted_ = size;
    if (!started_) {
        started_ = true;
        steps_.copy(n, slot, g_.data());
        steps_.copy(n, rn, rn_.data());
        steps_.copy(n, rn, r);
        return true;
    }
    steps_.next_differences(n, rn, rn_.data(), g_.data(), slot, dr_.data() + head_ * n);
    count_ = std::min(count_ + 1, memory_);
    const index_t m = count_;
    std::vector<double> a(static_cast<std::size_t>(m * m)), row(static_cast<std::size_t>(2 * m));
    double* gamma = row.data() + m;
    steps_.inners(m, dg_.data(), n1_, n2_, slot, g_.data(), w1, w2, row.data(), gamma);
    sum_over_ranks(sharing.comm(), row.data(), 2 * m);
    for (index_t j = 0; j < m; ++j)
        gram_[head_ * memory_ + j] = gram_[j * memory_ + head_] = row[j];
    head_ = (head_ + 1) % memory_;

    // min ||g - dG gamma||: regularised normal equations
    double trace = 0;
    for (index_t i = 0; i < m; ++i) trace += gram_[i * memory_ + i];
    for (index_t i = 0; i < m; ++i) {
        for (index_t j = 0; j < m; ++j) a[i * m + j] = gram_[i * memory_ + j];
        a[i * m + i] += regularisation * trace;
    }
    steps_.copy(n, rn, r);
    if (!(trace > 0) || !potrf(m, a.data(), m)) return true;
    potrs(m, 1, a.data(), m, gamma, 1);
    steps_.subtract_rows(m, gamma, dr_.data(), n, r);
    return true;
}

template class Anderson<double>;
template class Anderson<float>;

} // namespace fastopt

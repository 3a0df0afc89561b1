#include "sketch_newton/glm.hpp"

#include <algorithm>

namespace fastopt {

Glm::Glm(const DataMatrix<double>& a, std::vector<double> y, std::vector<double> sample_weight,
         Family family, double l2, double factor, int threads)
    : a_(a), y_(std::move(y)), sample_weight_(std::move(sample_weight)), family_(family), l2_(l2),
      factor_(factor), threads_(threads), w_(a.queue, a.rows),
      targets_(a.queue, y_.data(), static_cast<index_t>(y_.size())),
      sample_weights_(a.queue, sample_weight_.empty() ? nullptr : sample_weight_.data(),
                      static_cast<index_t>(sample_weight_.size())) {}

void Glm::move_to(const double* x) {
    const index_t n = a_.cols;
    if (!x_.empty() && std::equal(x_.begin(), x_.end(), x)) return;
    x_.clear();       // nothing is known if the pass or the exchange throws
    g_.resize(n + 1); // f travels between the ranks behind its gradient
    g_[n] = sum_losses(x);
    sum_over_ranks(a_.whole.comm, g_.data(), n + 1);
    f_ = g_[n];
    double square = 0;
    for (index_t j = 0; j < n; ++j) {
        square += x[j] * x[j];
        g_[j] += l2_ * x[j];
    }
    f_ += 0.5 * l2_ * square;
    x_.assign(x, x + n);
}

double Glm::value(const double* x) {
    move_to(x);
    return f_;
}

void Glm::gradient(const double* x, double* g) {
    move_to(x);
    std::copy_n(g_.begin(), a_.cols, g);
}

const double* Glm::weights(const double* x) {
    move_to(x);
    return w_.fetch();
}

} // namespace fastopt

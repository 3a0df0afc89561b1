#include "admm_relu/losses.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/vmath.hpp"

namespace fastopt {

LossKind loss_kind(const std::string& name) {
    const std::pair<const char*, LossKind> words[] = {{"squared", LossKind::squared},
                                                      {"logistic", LossKind::logistic},
                                                      {"softmax", LossKind::softmax},
                                                      {"hinge", LossKind::hinge},
                                                      {"squared_hinge", LossKind::squared_hinge},
                                                      {"huber", LossKind::huber},
                                                      {"quantile", LossKind::quantile}};
    for (const auto& [word, kind] : words)
        if (name == word) return kind;
    throw std::invalid_argument("unknown loss '" + name + "'");
}

Loss::Loss(LossKind kind, index_t n, index_t c, const std::vector<double>& y,
           const std::vector<double>& weights, double parameter, int threads,
           std::shared_ptr<Queue> queue, const Sharing& sharing)
    : kind_(kind), n_(n), c_(c), parameter_(parameter), threads_(threads),
      y_(queue, static_cast<index_t>(y.size())),
      weights_(queue, static_cast<index_t>(weights.size())),
      steps_(std::move(queue), threads, sharing) {
    std::copy(y.begin(), y.end(), y_.mirror());
    std::copy(weights.begin(), weights.end(), weights_.mirror());
    y_.send(), weights_.send();
}

double Loss::typical_curvature() const {
    const double n = over_samples(static_cast<double>(n_));
    double mean = 1;
    if (weights_.size() > 0) {
        mean = 0;
        for (index_t j = 0; j < n_; ++j) mean += weight(j) / n;
        mean = over_samples(mean);
    }
    switch (kind_) {
    case LossKind::logistic:
        return 0.1 * mean;
    case LossKind::softmax:
        return 0.05 * mean;
    case LossKind::hinge:
        return 0.4 * mean;
    case LossKind::quantile: {
        double spread = 0; // |l'| over the size of the targets
        for (index_t i = 0; i < size(); ++i)
            spread += std::abs(y()[i]) / (n * static_cast<double>(c_));
        spread = over_samples(spread);
        return spread > 0 ? 0.4 * mean / spread : mean;
    }
    default:
        return mean;
    }
}

} // namespace fastopt

// Anderson acceleration (type II) of a fixed-point map r -> rn, safeguarded: a residual that grows
// past `reject` times the last accepted one sends the iteration back to the last plain step.
#pragma once

#include <vector>

#include "admm_relu/admm_steps.hpp"

namespace fastopt {

template <class T> class Anderson {
  public:
    // The state has two segments, of n1 and n2 numbers, whose inner products have weights of their
    // own: weights, and predictions where the loss is split.
    Anderson(index_t n1, index_t n2, index_t memory, int threads = 1,
             std::shared_ptr<Queue> queue = make_queue(), const Sharing& sharing = {});

    // r <- the next point, from r and rn = map(r). Returns false when it fell back.
    bool next(T* r, const T* rn, double weight1, double weight2);
    void clear();

  private:
    AdmmSteps steps_;
    index_t n1_, n2_, memory_, count_ = 0, head_ = 0;
    bool started_ = false;
    double accepted_ = 0;      // ||g|| of the last accepted point
    Array<T> g_, rn_;          // of the last accepted point: residual and plain step
    Array<T> dg_, dr_;         // differences of residuals and of plain steps (memory rows)
    std::vector<double> gram_; // <dg_i, dg_j>
};

} // namespace fastopt

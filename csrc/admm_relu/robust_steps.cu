// The loops of a robust loss over its samples, on a CUDA device: a thread a sample.
#include "admm_relu/admm_launch.cuh"
#include "admm_relu/robust.hpp"
#include "admm_relu/robust_cuda.cuh"

namespace fastopt {
namespace {

using namespace gpu;

RobustArguments arguments(const Loss& loss, index_t n, index_t d, const double* x,
                          const Array<double>& radius) {
    return {static_cast<index_t>(loss.kind()),
            n,
            d,
            x,
            radius.data(),
            loss.targets().data(),
            loss.kernel_weights()};
}

} // namespace

void RobustLoss::worst(const double* q, double* z) const {
    each(loss_.steps(), n_, WorstPrediction{arguments(loss_, n_, d_, x_, radius_), q, z});
}

void RobustLoss::slopes(const double* q, double* t) const {
    each(loss_.steps(), n_, DualSlopes{arguments(loss_, n_, d_, x_, radius_), q, t});
}

double RobustLoss::excess(const double* t) const {
    each(loss_.steps(), n_, DualExcess{arguments(loss_, n_, d_, x_, radius_), t, worst_.data()});
    return reduce<double, Plus>(loss_.steps(), n_, Value{worst_.data()});
}

void RobustLoss::prox(const double* a, double rho, double* q, double* t) const {
    over(*loss_.steps().queue(), n_, robust_prox, n_,
         RobustProx{arguments(loss_, n_, d_, x_, radius_), rho, a, q, t});
}

} // namespace fastopt

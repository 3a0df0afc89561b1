// The pass over the data of a generalised linear model on the CPU: blocks of rows on the thread
// pool.
#include <cmath>

#include "core/vmath.hpp"
#include "sketch_newton/glm.hpp"

namespace fastopt {
namespace {

#include "sketch_newton/glm_functors.inl"

template <Family family> double all_losses(index_t first, index_t last, WeighedLoss<family> loss) {
    double sum = 0;
    for (index_t i = first; i < last; ++i) sum += loss(i);
    return sum;
}

} // namespace

double Glm::sum_losses(const double* x) {
    const RowBlocks b = row_blocks(a_);
    DataMatrix<double> own = a_; // the ranks add when f is known too
    own.whole = {};
    std::vector<double> losses(static_cast<std::size_t>(b.n_blocks)); // of each, added in order
    const double *y = targets_.data(), *s = sample_weights_.data();
    accumulate_rows(own, x, g_.data(), threads_, [&](index_t i, index_t end, double* z) {
        double* w = w_.data();
        losses[i / b.rows_per_block] =
            family_ == Family::gaussian
                ? all_losses(i, end, WeighedLoss<Family::gaussian>{factor_, y, s, z, w})
            : family_ == Family::logistic
                ? all_losses(i, end, WeighedLoss<Family::logistic>{factor_, y, s, z, w})
            : family_ == Family::poisson
                ? all_losses(i, end, WeighedLoss<Family::poisson>{factor_, y, s, z, w})
                : all_losses(i, end, WeighedLoss<Family::gamma>{factor_, y, s, z, w});
    });
    double sum = 0;
    for (const double part : losses) sum += part;
    return sum;
}

} // namespace fastopt

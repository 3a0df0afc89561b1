// The pass over the data of a generalised linear model on a CUDA device: A is read twice, by a
// product with x and by one with the losses' slopes; two numbers a row are read and written between
// them. Two waits: for x, and for the sum and A'r.
#include <algorithm>

#include "sketch_newton/data_cuda.cuh"
#include "sketch_newton/glm.hpp"

namespace fastopt {
namespace gpu {
#include "sketch_newton/glm_functors.inl"
} // namespace gpu

namespace {

template <Family family, class... Args>
void sum(Queue& queue, index_t n, double* part, Args... args) {
    gpu::reduce<double, gpu::Plus>(queue, n, gpu::WeighedLoss<family>{args...}, part);
}

} // namespace

double Glm::sum_losses(const double* x) {
    Queue& queue = *a_.queue;
    const index_t rows = a_.rows, n = a_.cols;
    if (rows_.size() == 0) {
        rows_ = Array<double>(a_.queue, rows), at_ = Array<double>(a_.queue, n);
        slope_ = Array<double>(a_.queue, n + gpu::sum_blocks); // A'r; the sum
    }
    std::copy_n(x, n, at_.mirror());
    at_.send();
    double *z = rows_.data(), *total = slope_.data() + n;
    multiply(queue, a_, at_.data(), z);
    const auto run =
        family_ == Family::gaussian
            ? sum<Family::gaussian, double, const double*, const double*, double*, double*>
        : family_ == Family::logistic
            ? sum<Family::logistic, double, const double*, const double*, double*, double*>
        : family_ == Family::poisson
            ? sum<Family::poisson, double, const double*, const double*, double*, double*>
            : sum<Family::gamma, double, const double*, const double*, double*, double*>;
    run(queue, rows, total, factor_, targets_.data(), sample_weights_.data(), z, w_.data());
    multiply_transposed(queue, a_, z, slope_.data());
    const double* result = slope_.fetch();
    std::copy_n(result, n, g_.data());
    return result[n];
}

} // namespace fastopt

// Every kernel of the engine for CUDA devices: the kernel seams of the solvers, defined by
// launches.
#include <algorithm>

#include "backend/cuda_queue.cuh"
#include "cbo/cbo_cuda.cuh"

namespace fastopt {
namespace {

using namespace gpu;

constexpr index_t polarize_blocks = 128;
constexpr std::size_t shared_doubles = block_size * sizeof(double);

template <class T> MoveArguments<T> arguments(const Move<T>& m, index_t n) {
    return {m.x,
            m.center,
            m.best,
            m.gradient,
            m.rows,
            m.lower,
            m.upper,
            nullptr,
            nullptr,
            nullptr,
            n,
            m.d,
            m.center_stride,
            m.draw.key,
            m.draw.iteration,
            m.draw.stream,
            m.clip ? 1u : 0u,
            m.drift,
            m.diffusion,
            m.truncation,
            m.memory_drift,
            m.memory_diffusion,
            m.gradient_weight};
}

// Threads that for_noise wants.
index_t noise_items(const index_t* rows, index_t n, index_t d) {
    return rows ? n * (d / (4 * lanes) + 2) * lanes : (n * d / (4 * lanes) + 2) * lanes;
}

} // namespace

template <class T>
CboSteps<T>::CboSteps(std::shared_ptr<Queue> queue, index_t n, index_t d, int threads)
    : queue_(std::move(queue)), n_(n), d_(d), threads_(threads), block_rows_(rows_of_block(d)),
      report_(queue_, 3), best_(queue_, most_blocks), mean_(queue_, d) {
    const index_t n_blocks = (n + block_rows_ - 1) / block_rows_;
    partial_ = Array<double>(queue_, checked_product(n_blocks, d + 1));
}

template <class T>
void CboSteps<T>::gather(const T* x, const index_t* rows, index_t n, const char* integer,
                         const T* lower, const T* upper, T* out) {
    over(*queue_, n * d_, gpu::gather<T>, x, rows, n, d_, integer, lower, upper, out);
}

template <class T>
void CboSteps<T>::scatter(const double* from, const index_t* rows, index_t n, double* to) {
    over(*queue_, n, gpu::scatter, from, rows, n, to);
}

template <class T> typename CboSteps<T>::Best CboSteps<T>::tidy(double* f, double* v, index_t n) {
    static_assert(sizeof(Best) == sizeof(Ranked), "the same three numbers");
    Ranked* best = reinterpret_cast<Ranked*>(best_.data());
    const index_t grid = blocks_for(n);
    const std::size_t shared = block_size / warp_size * sizeof(Ranked);
    launch(queue_->stream(), grid, block_size, shared, gpu::tidy, f, v, n, best);
    launch(queue_->stream(), 1, block_size, shared, gpu::best_of, best, grid);
    Best result;
    download(*queue_, &result, best, sizeof result);
    return result;
}

template <class T>
void CboSteps<T>::energies(const double* f, const double* v, const index_t* rows, index_t n,
                           double penalty, double* e) {
    over(*queue_, n, gpu::energies, f, v, rows, n, penalty, e);
}

template <class T>
void CboSteps<T>::remember(const T* x, const double* f, const double* v, const index_t* rows,
                           index_t n, double penalty, T* y, double* y_f, double* y_v) {
    over(*queue_, n * warp_size, gpu::remember<T>, x, f, v, rows, n, d_, penalty, y, y_f, y_v);
}

template <class T> typename CboSteps<T>::Spread CboSteps<T>::spread(const double* e, index_t n) {
    launch(queue_->stream(), 1, block_size, shared_doubles, gpu::spread, e, n, report_.data());
    const double* r = report_.fetch();
    return {r[0], r[1], r[2]};
}

template <class T>
double CboSteps<T>::choose_alpha(const double* e, index_t n, double e_min, double alpha,
                                 double target) {
    launch(queue_->stream(), 1, block_size, shared_doubles, gpu::choose_alpha, e, n, e_min, alpha,
           target, report_.data());
    return report_.fetch()[0];
}

template <class T>
void CboSteps<T>::gibbs(const double* e, index_t n, double alpha, double e_min, double* w) {
    over(*queue_, n, gpu::gibbs, e, n, alpha, e_min, w);
}

template <class T>
void CboSteps<T>::weighted_mean(const T* x, const index_t* rows, index_t n, const double* w,
                                const Shares&, double* c) {
    const index_t n_blocks = (n + block_rows_ - 1) / block_rows_;
    over(*queue_, n_blocks * (d_ + 1), gpu::weighted_sums<T>, w, x, rows, n, d_, block_rows_,
         n_blocks, partial_.data());
    over(*queue_, d_, gpu::divide_sums, partial_.data(), n_blocks, d_, mean_.data());
    std::copy_n(mean_.fetch(), d_, c);
}

template <class T> void CboSteps<T>::move(const Move<T>& m, index_t n) {
    MoveArguments<T> a = arguments(m, n);
    if (m.isotropic) {
        if (scale_.size() == 0) scale_ = Array<T>(queue_, 2 * n_);
        a.to_center = scale_.data(), a.to_best = scale_.data() + n_;
        over(*queue_, n * sum_lanes, row_scales<T>, a, scale_.data(), scale_.data() + n_);
    }
    const auto kernel = m.isotropic
                            ? (m.best ? gpu::move<T, true, true> : gpu::move<T, true, false>)
                            : (m.best ? gpu::move<T, false, true> : gpu::move<T, false, false>);
    over(*queue_, noise_items(m.rows, n, d_), kernel, a);
}

template <class T> void CboSteps<T>::hop(const Move<T>& m, const T* step, index_t n) {
    MoveArguments<T> a = arguments(m, n);
    a.step = step;
    over(*queue_, noise_items(m.rows, n, d_), gpu::hop<T>, a);
}

template <class T> void CboSteps<T>::correlated_move(const Move<T>& m, const T* factor, index_t n) {
    if (xi_.size() < n * d_) xi_ = Array<T>(queue_, n * d_), eta_ = Array<T>(queue_, n * d_);
    void (*const draw)(T*, index_t, Key, std::uint64_t, std::uint64_t) = gpu::normals;
    over(*queue_, noise_items(nullptr, n, d_) * 2, draw, xi_.data(), n * d_, m.draw.key,
         m.draw.iteration, std::uint64_t{m.draw.stream});
    gemm<T>(*queue_, false, true, n, d_, d_, T(1), xi_.data(), d_, factor, d_, T(0), eta_.data(),
            d_);
    over(*queue_, n * d_, gpu::move_along<T>, arguments(m, n), eta_.data());
}

template <class T>
void CboSteps<T>::covariance(const double* w, const T* x, const T* c, index_t n,
                             T* lower_triangle) {
    if (xi_.size() < n * d_) xi_ = Array<T>(queue_, n * d_), eta_ = Array<T>(queue_, n * d_);
    over(*queue_, n * d_, gpu::weighted_deviation<T>, w, x, c, n, d_, xi_.data());
    syrk<T>(*queue_, d_, n, T(1), xi_.data(), d_, T(0), lower_triangle, d_);
}

template <class T>
void CboSteps<T>::polarize(const T* x, const double* e, index_t n, double alpha, double e_min,
                           const T* inverse_width, T* centers) {
    const index_t grid = std::min(n, polarize_blocks);
    if (reach_.size() < grid * n) reach_ = Array<double>(queue_, checked_product(grid, n));
    launch(queue_->stream(), grid, block_size, shared_doubles, gpu::polarize<T>, x, e, n, d_, alpha,
           e_min, inverse_width, reach_.data(), centers);
}

template <class T>
void CboSteps<T>::responsibility(const T* x, const T* c, index_t n, index_t m,
                                 const T* inverse_width, double* p) {
    over(*queue_, n, gpu::responsibility<T>, x, c, n, m, d_, inverse_width, p);
}

template <class T>
void evaluate_resident(Queue& queue, ObjectiveId id, const T* x, index_t n, index_t d,
                       const T* shift, const T* rotation, T* scratch, double* f) {
    if (shift || rotation) {
        over(queue, n * d, gpu::transform<T>, x, n, d, shift, rotation, scratch);
        x = scratch;
    }
    using namespace gpu::objectives;
    const index_t items = n * 64 / static_cast<index_t>(sizeof(T));
    switch (id) {
#define FASTOPT_OBJECTIVE(name, ...)                                                               \
    case ObjectiveId::name:                                                                        \
        return over(queue, items, gpu::evaluate<__VA_ARGS__, T>, x, n, d, f);
        FASTOPT_OBJECTIVES(FASTOPT_OBJECTIVE)
#undef FASTOPT_OBJECTIVE
    }
}

template class CboSteps<double>;
template class CboSteps<float>;
template void evaluate_resident(Queue&, ObjectiveId, const double*, index_t, index_t, const double*,
                                const double*, double*, double*);
template void evaluate_resident(Queue&, ObjectiveId, const float*, index_t, index_t, const float*,
                                const float*, float*, double*);

} // namespace fastopt

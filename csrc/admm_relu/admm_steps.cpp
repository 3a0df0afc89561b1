// The steps of admm_relu on the CPU: loops in order, blocks of numbers on the thread pool.
#include "admm_relu/admm_steps.hpp"

#include <algorithm>
#include <cmath>

#include "admm_relu/cone_projection.hpp"
#include "core/parallel.hpp"
#include "core/vmath.hpp"

namespace fastopt {
namespace {

#include "admm_relu/admm_functors.inl"

constexpr index_t flat_tile = 16384;

template <class F> void each(AdmmSteps& steps, index_t n, F f) {
    if (n <= flat_tile) {
        for (index_t i = 0; i < n; ++i) f(i);
        return;
    }
    parallel_for((n + flat_tile - 1) / flat_tile, steps.threads(), [&](index_t b) {
        for (index_t i = b * flat_tile; i < std::min(n, (b + 1) * flat_tile); ++i) f(i);
    });
}

double length(index_t n, const double* a) { return std::sqrt(dot(n, a, a)); }
double squared(double x) { return x * x; }

} // namespace

double AdmmSteps::dot(index_t n, const double* a, const double* b) { return fastopt::dot(n, a, b); }

template <class T>
AdmmSteps::Distances AdmmSteps::distances(index_t n, const double* state, const double* x,
                                          const double* last, const T* y) {
    double from_state = 0, from_last = 0, from_y = 0;
    for (index_t i = 0; i < n; ++i) {
        from_state += squared(state[i] - x[i]);
        from_last += squared(x[i] - last[i]);
        from_y += squared(x[i] - static_cast<double>(y[i]));
    }
    return {length(n, x), std::sqrt(from_state), std::sqrt(from_last), std::sqrt(from_y)};
}

template <class T>
double AdmmSteps::inner(index_t n1, index_t n2, const T* a, const T* b, double w1, double w2) {
    double sum = w1 * static_cast<double>(fastopt::dot(n1, a, b));
    if (n2 > 0) sum += w2 * static_cast<double>(fastopt::dot(n2, a + n1, b + n1));
    return sum;
}

template <class T>
void AdmmSteps::inners(index_t count, const T* rows, index_t n1, index_t n2, const T* a, const T* b,
                       double w1, double w2, double* with_a, double* with_b) {
    for (index_t j = 0; j < count; ++j) with_a[j] = inner(n1, n2, a, rows + j * (n1 + n2), w1, w2);
    for (index_t j = 0; j < count; ++j) with_b[j] = inner(n1, n2, rows + j * (n1 + n2), b, w1, w2);
}

template <class T>
void AdmmSteps::subtract_rows(index_t count, const double* gamma, const T* rows, index_t n, T* r) {
    for (index_t j = 0; j < count; ++j) axpy(n, static_cast<T>(-gamma[j]), rows + j * n, r);
}

template <class T>
void AdmmSteps::row_dots(index_t count, index_t n, const T* a, const T* b, double* out) {
    for (index_t k = 0; k < count; ++k)
        out[k] = static_cast<double>(fastopt::dot(n, a + k * n, b + k * n));
}

void AdmmSteps::block_norms(index_t blocks, index_t w, const double* v, double* norm) {
    for (index_t b = 0; b < blocks; ++b) norm[b] = length(w, v + b * w);
}

double AdmmSteps::sum_of_norms(index_t blocks, index_t w, const double* v) {
    double sum = 0;
    for (index_t b = 0; b < blocks; ++b) sum += length(w, v + b * w);
    return sum;
}

double AdmmSteps::largest(index_t n, const double* x) {
    double worst = 0;
    for (index_t i = 0; i < n; ++i) worst = std::max(worst, x[i]);
    return worst;
}

void AdmmSteps::shrink(index_t blocks, index_t w, double level, const double* norm,
                       const double* from, double* to) {
    for (index_t b = 0; b < blocks; ++b) {
        const double factor = shrink_factor(norm[b], level);
        for (index_t i = b * w; i < (b + 1) * w; ++i) to[i] = from[i] * factor;
    }
}

std::uint64_t AdmmSteps::signature(index_t blocks, const double* norm, double level,
                                   const ActiveSets& sets) {
    std::uint64_t h = hash_start;
    for (index_t b = 0; b < blocks; ++b) {
        if (!(norm[b] > level)) continue;
        h = mixed(h, static_cast<std::uint64_t>(b) + 1);
        if (!sets.on_host.empty())
            for (const index_t row : sets[b].rows)
                h = mixed(h, static_cast<std::uint64_t>(row) << 20);
    }
    return h;
}

#include "admm_relu/admm_steps.inl"

} // namespace fastopt

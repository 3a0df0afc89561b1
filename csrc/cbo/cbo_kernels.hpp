// The kernels of consensus-based optimisation: what one block of particles does in each line of the
// loop in cbo.cpp. Particles are rows; `rows` (or nullptr for all) lists the particles of a batch.
#pragma once

#include "cbo/objectives.hpp"
#include "core/philox.hpp"
#include "core/types.hpp"

namespace fastopt {

// x_i <- x_i - drift D - memory_drift E - gradient_weight g_i
//        + diffusion S(D) xi + memory_diffusion S(E) zeta,     D = x_i - c_i, E = x_i - y_i,
// folded into the box; S(D) = min(|D_k|, truncation) per coordinate, or min(||D||, truncation).
template <class T> struct Move {
    index_t d = 0;
    T* x = nullptr;
    const T* center = nullptr;   // c: one row, or one row for each particle
    index_t center_stride = 0;   // 0 or d
    const T* best = nullptr;     // y, with memory
    const T* gradient = nullptr; // g, with gradient drift
    const index_t* rows = nullptr;
    index_t first = 0; // the particle of row 0: its noise is the same wherever it is stored
    T drift = 0, diffusion = 0, truncation = 0;
    T memory_drift = 0, memory_diffusion = 0, gradient_weight = 0;
    const T* lower = nullptr; // d bounds, perhaps infinite
    const T* upper = nullptr;
    bool isotropic = false, clip = false;
    Draw draw; // stream + 1 is used by memory
};

template <class T> struct CboKernels {
    // Native objective `id` at rows [0, n) of x; see objectives.inl.
    void (*evaluate)(ObjectiveId id, const T* x, index_t n, index_t d, const T* shift,
                     const T* rotation, T* scratch, double* f);

    // Particles rows[r] (or r) for r0 <= r < r1 by the rule above.
    void (*move)(const Move<T>& m, index_t r0, index_t r1);
    // x_i <- x_i - drift (x_i - c_i) + diffusion eta_i, eta (r1 - r0 rows) given: correlated noise.
    void (*move_along)(const Move<T>& m, const T* eta, index_t r0, index_t r1);
    // x_i <- c + step_k xi_k: fresh points around the consensus.
    void (*hop)(const Move<T>& m, const T* step, index_t r0, index_t r1);

    // w_i = exp(-alpha (e_i - e_min)), 0 for e_i = inf; alpha = inf: 1 for the best, else 0.
    void (*gibbs)(const double* e, index_t n, double alpha, double e_min, double* w);
    // sums[0] = sum w_i, sums[1] = sum w_i^2 of those weights.
    void (*gibbs_sums)(const double* e, index_t n, double alpha, double e_min, double* sums);
    // sums[0] += sum_r w_r, sums[1 + k] += sum_r w_r x_{r,k}.
    void (*weighted_sum)(const double* w, const T* x, const index_t* rows, index_t d, index_t r0,
                         index_t r1, double* sums);
    // out_r = sqrt(w_r) (x_r - c): rows whose Gram matrix is the weighted covariance.
    void (*weighted_deviation)(const double* w, const T* x, const T* c, index_t d, index_t r0,
                               index_t r1, T* out);
    // c_i = sum_j omega_ij x_j, omega_ij ~ exp(-alpha e_j - |(x_i - x_j) / width|^2 / 2), for rows
    // r0 <= i < r1; alpha is finite and `scratch` holds n numbers.
    void (*polarize)(const T* x, const double* e, index_t n, index_t d, double alpha, double e_min,
                     const T* inverse_width, index_t r0, index_t r1, double* scratch, T* centers);
    // p_im = softmax_m(-|(x_i - c_m) / width|^2 / 2) for the M rows c_m.
    void (*responsibility)(const T* x, const T* c, index_t m, index_t d, const T* inverse_width,
                           index_t r0, index_t r1, double* p);
};

} // namespace fastopt

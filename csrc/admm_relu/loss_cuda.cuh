// What loss_functors.inl says for one sample, for kernels: a thread a sample. `counting` samples
// have weights above 0; `weighted` and `soft`(max) are 1 or 0.
#pragma once

#include "admm_relu/admm_cuda.cuh"
#include "admm_relu/losses.hpp"

namespace fastopt {
namespace gpu {

FASTOPT_HD double natural_log(double x) { return vlog(x); }
FASTOPT_HD double log_one_plus(double x) { // x in [0, 1]; what 1 + x loses is put back
    const double u = 1 + x;
    return u == 1 ? x : vlog(u) * (x / (u - 1));
}
#include "admm_relu/loss_functors.inl"

// What the functors of a loss share. Rows of softmax have n as their stride; `scratch` holds five
// of c n numbers.
struct LossArguments {
    index_t kind_number, n, c;
    double parameter;
    const double* y;
    const double* weights; // null: all one
    double* scratch;

    FASTOPT_HD LossKind kind() const { return static_cast<LossKind>(kind_number); }
    FASTOPT_HD double weight(index_t j) const { return weights ? weights[j] : 1.0; }
    FASTOPT_HD double* row(int k, index_t j) const { return scratch + k * c * n + j; }
};
// Bytes: reads 8 n (2 c + weighted + soft c); writes 8 n soft c.
struct LossValue {
    LossArguments loss;
    const double* z;
    FASTOPT_HD double operator()(index_t j) const {
        const LossArguments& a = loss;
        double l = 0;
        if (a.kind() == LossKind::softmax)
            l = softmax_value(a.c, a.n, z + j, a.y + j, a.row(0, j), a.n);
        else
            for (index_t i = j; i < a.c * a.n; i += a.n)
                l += loss_value(a.kind(), z[i], a.y[i], a.parameter);
        return a.weight(j) * l;
    }
};
// Bytes: reads 8 n (2 c + weighted + soft c); writes 8 n (c + soft c).
struct LossGradient {
    LossArguments loss;
    const double* z;
    double* t;
    FASTOPT_HD void operator()(index_t j) const {
        const LossArguments& a = loss;
        const double s = a.weight(j);
        const bool soft = a.kind() == LossKind::softmax;
        const double* p = a.row(0, 0);
        if (soft) softmax(a.c, z + j, a.n, a.row(0, j), a.n);
        for (index_t i = j; i < a.c * a.n; i += a.n)
            t[i] = s * (soft ? p[i] - a.y[i] : loss_slope(a.kind(), z[i], a.y[i], a.parameter));
    }
};
// Outputs behind one whose t is outside its interval are not read.
// Bytes: reads 8 (n weighted + 2 c counting); writes 0.
struct LossConjugate {
    LossArguments loss;
    const double* t;
    FASTOPT_HD double operator()(index_t j) const {
        const LossArguments& a = loss;
        const double s = a.weight(j);
        if (!(s > 0)) return 0;
        const double l = row_conjugate(a.kind(), a.c, a.n, t + j, a.y + j, s, a.parameter);
        return l == HUGE_VAL ? l : s * l;
    }
};
// Softmax needs less where a sample is at its minimum already.
// Bytes: reads T c n + 8 (n weighted + c counting (1 + 5 soft)); writes T c n + 40 c counting soft.
template <class T> struct LossProx {
    LossArguments loss;
    double rho;
    const T* r;
    T* z;
    FASTOPT_HD void operator()(index_t j) const {
        const LossArguments& a = loss;
        const double s = a.weight(j), k = rho / s;
        const bool soft = s > 0 && a.kind() == LossKind::softmax;
        const double* out = a.row(1, 0);
        if (soft) {
            for (index_t i = j; i < a.c * a.n; i += a.n) a.row(0, 0)[i] = static_cast<double>(r[i]);
            softmax_prox(a.c, a.row(0, j), a.n, a.y + j, a.n, k, a.row(1, j), a.n, a.row(2, j));
        }
        for (index_t i = j; i < a.c * a.n; i += a.n) {
            const double at = static_cast<double>(r[i]);
            const double moved = soft    ? out[i]
                                 : s > 0 ? loss_prox(a.kind(), at, a.y[i], k, a.parameter)
                                         : at;
            z[i] = static_cast<T>(moved);
        }
    }
};
// Bytes: reads 8 n (weighted + 2 c); writes 8 n c.
struct LossCurvature {
    LossArguments loss;
    const double* z;
    double* h;
    FASTOPT_HD void operator()(index_t i) const {
        const LossArguments& a = loss;
        h[i] = loss_curvature(a.kind(), z[i], a.y[i], a.weight(i % a.n), a.parameter);
    }
};

} // namespace gpu
} // namespace fastopt

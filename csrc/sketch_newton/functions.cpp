#include "sketch_newton/functions.hpp"

#include <algorithm>

namespace fastopt {

void GramCurvature::multiply(const double* v, double* out) const {
    const Gram& q = gram_;
    const index_t n = q.a.cols;
    multiply_gram(q.a, q.w, v, out, threads_);
    if (q.dense)
        gemv<double>(false, n, n, 1.0, q.dense, n, v, 1.0, out);
    else if (q.diagonal)
        for (index_t j = 0; j < n; ++j) out[j] += q.diagonal[j] * v[j];
    else
        for (index_t j = 0; j < n; ++j) out[j] += q.scalar * v[j];
}

void form(const Curvature& w, index_t n, int threads, double* out) {
    if (const double* dense = w.dense()) {
        std::copy_n(dense, n * n, out);
        return;
    }
    if (const Gram* q = w.gram()) {
        weighted_gram(q->a, q->w, out, threads);
        for (index_t i = 0; i < n; ++i) {
            if (q->dense)
                for (index_t j = 0; j <= i; ++j) out[i * n + j] += q->dense[i * n + j];
            else
                out[i * n + i] += q->diagonal ? q->diagonal[i] : q->scalar;
        }
        for (index_t i = 0; i < n; ++i)
            for (index_t j = 0; j < i; ++j) out[j * n + i] = out[i * n + j];
        return;
    }
    std::vector<double> unit(static_cast<std::size_t>(n), 0.0);
    for (index_t i = 0; i < n; ++i) {
        unit[i] = 1;
        w.multiply(unit.data(), out + i * n); // W is symmetric: row i is column i
        unit[i] = 0;
    }
    for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < i; ++j)
            out[i * n + j] = out[j * n + i] = 0.5 * (out[i * n + j] + out[j * n + i]);
}

} // namespace fastopt

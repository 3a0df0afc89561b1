#include "sketch_newton/functions.hpp"

#include <algorithm>

namespace fastopt {

void GramCurvature::multiply(const double* v, double* out) const {
    if (kernels_on_host()) return steps_.multiply(v, out);
    const index_t n = gram_.a.cols;
    const Input<double> in(gram_.a.queue, v, n);
    const Array<double> product(gram_.a.queue, n);
    steps_.multiply(in.data(), product.data());
    std::copy_n(product.fetch(), n, out);
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

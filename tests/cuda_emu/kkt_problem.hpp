// KKT systems with W = A' diag(w) A + R on both sides, for the tests of the linear solvers.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "sketch_newton/kkt_solvers.hpp"

namespace kkt_problem {

using namespace fastopt;
using Numbers = std::vector<double>;

inline Numbers numbers(index_t n, unsigned seed) {
    std::mt19937_64 engine(seed);
    std::normal_distribution<double> normal;
    Numbers v(static_cast<std::size_t>(n));
    for (double& x : v) x = normal(engine);
    return v;
}

inline bool close(const double* a, const double* b, index_t n, double tolerance) {
    double scale = 0, worst = 0;
    for (index_t i = 0; i < n; ++i) scale = std::fmax(scale, std::fabs(b[i]));
    for (index_t i = 0; i < n; ++i)
        if (!(std::fabs(a[i] - b[i]) <= worst)) worst = std::fabs(a[i] - b[i]);
    return worst <= tolerance * scale;
}

enum class Rest { scalar, diagonal, dense };

// W = A' diag(w) A + R and J, on both sides.
struct Problem {
    Problem(index_t rows, index_t n_, index_t m_, Rest rest, bool negative)
        : n(n_), m(m_), a(numbers(rows * n, 1)), w(numbers(rows, 2)), j(numbers(m * n, 3)),
          diagonal(static_cast<std::size_t>(n)), dense(static_cast<std::size_t>(n * n)) {
        for (double& x : w) x = negative ? x : std::fabs(x);
        for (index_t i = 0; i < n; ++i) diagonal[i] = 1.0 / static_cast<double>(i + 1);
        for (index_t i = 0; i < n * n; ++i) dense[i] = i / n == i % n ? 2.0 : 0.1;
        q.a.rows = rows, q.a.cols = n, q.a.values = a.data();
        q.a.place(options.queue);
        q.w = w.data(), q.scalar = 0.5;
        if (rest == Rest::diagonal) q.diagonal = diagonal.data();
        if (rest == Rest::dense) q.dense = dense.data();
        curvature = std::make_unique<GramCurvature>(q, 1);
        full.resize(static_cast<std::size_t>(n * n));
        form(*curvature, n, 1, full.data()); // by the host
        system = {n, m, curvature.get(), j.data(), 0, 0};
    }
    Numbers kkt() const {
        Numbers k(static_cast<std::size_t>((n + m) * (n + m)));
        full_kkt(system, full.data(), k.data());
        return k;
    }
    // What the eigenvalues of K say.
    Shape shape() const {
        const index_t size = n + m;
        Numbers k = kkt(), values(static_cast<std::size_t>(size));
        syev(size, k.data(), size, values.data());
        const double zero = 1e-12 * std::fmax(std::fabs(values.front()), std::fabs(values.back()));
        index_t negative = 0, null = 0;
        for (const double v : values) negative += v < -zero, null += std::fabs(v) <= zero;
        if (null > 0 || negative < m) return Shape::singular;
        return negative > m ? Shape::indefinite : Shape::right;
    }
    double relative_residual(const Numbers& r, const Numbers& d) const {
        const index_t size = n + m;
        Numbers k = kkt(), rest(r);
        gemv<double>(false, size, size, 1.0, k.data(), size, d.data(), 1.0, rest.data());
        return euclid(rest.data(), size) / euclid(r.data(), size);
    }
    Numbers exact_step(const Numbers& r) const { // by the host
        const index_t size = n + m;
        Numbers k = kkt(), d(r);
        std::vector<int> pivots(d.size());
        for (double& x : d) x = -x;
        sytrf(size, k.data(), size, pivots.data());
        sytrs(size, k.data(), size, pivots.data(), d.data());
        return d;
    }
    index_t n, m;
    Numbers a, w, j, diagonal, dense, full;
    KktOptions options = with_queue();
    Gram q;
    std::unique_ptr<GramCurvature> curvature;
    KktSystem system;

    static KktOptions with_queue() {
        KktOptions o;
        o.queue = make_queue(), o.threads = 1, o.key = {5, 0xf0000007u};
        return o;
    }
};

} // namespace kkt_problem

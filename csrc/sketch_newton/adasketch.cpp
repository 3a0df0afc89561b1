// The method of Hong, Na, Mahoney, Kolar to the letter, with randomised Kaczmarz rows (canonical
// sketches) and the true gradient of the merit function: grad_x M uses Hess_xx L.
#include <algorithm>
#include <cmath>

#include "core/random.hpp"
#include "sketch_newton/kkt_steps.hpp"
#include "sketch_newton/newton_parts.hpp"

namespace fastopt {
namespace {

constexpr double xi_b = 0.1, beta = 0.1, nu = 1.5, theta = 1; // the paper's constants
constexpr double least_xi_g = 1e-2;  // of sigma_min(J)^2: below it the paper's method stops
constexpr double least_delta = 1e-6; // the authors' floors and ceilings
constexpr double eta_limit = 1e8;
constexpr index_t most_rows = 100000; // of Kaczmarz for one direction
enum Stream : std::uint32_t { kaczmarz_rows = 32 };

double frobenius(const double* a, index_t count) {
    double sum = 0;
    for (index_t i = 0; i < count; ++i) sum += a[i] * a[i];
    return std::sqrt(sum);
}

// The smallest eigenvalue of Z'WZ, Z an orthonormal basis of the null space of J; +inf when empty.
double least_reduced_curvature(const std::vector<double>& j, const double* w, index_t n,
                               index_t m) {
    const index_t k = n - m;
    if (k <= 0) return std::numeric_limits<double>::infinity();
    // eigenvectors of J'J for its n - m smallest eigenvalues span the null space
    Buffer<double> jj(n * n), values(n);
    if (m > 0) syrk<double>(n, m, 1.0, j.data(), n, 0.0, jj.data(), n);
    constexpr double unknown = -std::numeric_limits<double>::infinity(); // J or W overflows
    if (!syev(n, jj.data(), n, values.data())) return unknown;
    Buffer<double> wz(k * n), reduced(k * k), low(k);
    gemm<double>(false, false, k, n, n, 1.0, jj.data(), n, w, n, 0.0, wz.data(), n);
    gemm<double>(false, true, k, k, n, 1.0, wz.data(), n, jj.data(), n, 0.0, reduced.data(), k);
    return syev(k, reduced.data(), k, low.data()) ? low[0] : unknown;
}

} // namespace

bool AdaSketch::step(ScaledFunctions& s, NewtonPoint& p, std::vector<double>& l, Merit& merit,
                     const KktOptions& o, double& alpha) {
    const index_t n = s.n(), m = s.m(), size = n + m;
    Buffer<double> w(n * n);
    const auto curvature = s.curvature(p, 1.0, l);
    form(*curvature, n, s.threads(), w.data());

    double xi_g = std::numeric_limits<double>::infinity();
    if (m > 0) {
        Buffer<double> jj(m * m), values(m);
        gemm<double>(false, true, m, m, n, 1.0, p.j.data(), n, p.j.data(), n, 0.0, jj.data(), m);
        if (!syev(m, jj.data(), m, values.data())) return false;
        xi_g = values[0];
        if (xi_g < least_xi_g) return false;
    }
    // B = Hess_xx L + t I, Psi, Upsilon
    const double size_w = frobenius(w.data(), n * n), size_j = frobenius(p.j.data(), m * n);
    const double t = least_reduced_curvature(p.j, w.data(), n, m) < 1e-6 ? xi_b + size_w : 0.0;
    const auto queue = o.queue ? o.queue : make_queue();
    const Array<double> placed(queue, checked_product(size, size)), rest(queue, size),
        at(queue, size);
    double* k = placed.mirror();
    for (index_t i = 0; i < n; ++i) {
        std::copy_n(w.data() + i * n, n, k + i * size);
        k[i * size + i] += t;
    }
    const double size_b = [&] {
        double sum = 0;
        for (index_t i = 0; i < n; ++i)
            for (index_t jx = 0; jx < n; ++jx) sum += k[i * size + jx] * k[i * size + jx];
        return std::sqrt(sum);
    }();
    for (index_t i = 0; i < m; ++i)
        for (index_t jx = 0; jx < n; ++jx)
            k[(n + i) * size + jx] = k[jx * size + n + i] = p.j[i * n + jx];
    const double psi =
        20 * std::fmax(size_b * size_b, 1.0) / (std::fmin(xi_g, 1.0) * std::fmin(xi_b, 1.0));
    const double upsilon = std::fmax(std::fmax(size_j, size_w), 1.0);
    const double size_k = frobenius(k, size * size);
    const auto trial_delta = [&] {
        return (0.5 - beta) * merit.eta2 /
               ((1 + merit.eta1 + merit.eta2) * upsilon * upsilon * psi * psi);
    };
    delta = std::fmax(std::fmin(delta, trial_delta()), least_delta);

    // r = K d + [g_L; c], d = 0
    std::vector<double> r(size), d(size, 0.0), slope(size);
    lagrangian_gradient(p, l.data(), r.data());
    std::copy(p.c.begin(), p.c.end(), r.begin() + n);
    const double first = norm(r);
    std::vector<double> row_square(size);
    for (index_t i = 0; i < size; ++i) {
        const double length = frobenius(k + i * size, size);
        row_square[i] = length * length;
    }
    placed.send();
    std::copy(r.begin(), r.end(), rest.mirror());
    rest.send();
    double product = 0;
    for (;;) {
        std::uint32_t word = 0;
        for (index_t rows = 0; size_k * psi * norm(r) > theta * delta * first && rows < most_rows;
             ++rows) {
            fill_words(&word, static_cast<std::uint64_t>(draws++), 1, {o.key, 0, kaczmarz_rows});
            const index_t i = scale_word(word, static_cast<std::uint32_t>(size));
            if (row_square[i] == 0) continue;
            const double factor = r[i] / row_square[i];
            const double* row = placed.data() + i * size;
            add(*queue, size, -factor, row, at.data());
            gemv(*queue, false, size, size, -factor, placed.data(), size, row, 1.0, rest.data());
            std::copy_n(rest.fetch(), size, r.begin());
            if (rows % 256 == 0) s.poll();
        }
        std::copy_n(at.fetch(), size, d.begin());
        merit.gradient(p, l.data(), *curvature, slope.data());
        product = dot(slope, d);
        if (merit.eta1 > eta_limit || merit.eta2 < 1 / eta_limit) break;
        if (product <= -0.5 * merit.eta2 * first * first) break;
        merit.eta1 *= nu * nu, merit.eta2 /= nu;
        delta = std::fmax(std::fmin(delta / (nu * nu * nu * nu), trial_delta()), least_delta);
    }
    const double now = merit.value(p, l.data());
    for (alpha = 1; alpha > 1e-16; alpha *= 0.5) {
        NewtonPoint q;
        q.x = p.x;
        std::vector<double> lq(l);
        for (index_t i = 0; i < n; ++i) q.x[i] += alpha * d[i];
        for (index_t i = 0; i < m; ++i) lq[i] += alpha * d[n + i];
        if (!s.values(q) || !s.derivatives(q)) continue;
        if (merit.value(q, lq.data()) > now + alpha * beta * product) continue;
        p = std::move(q), l = std::move(lq);
        return true;
    }
    return false;
}

} // namespace fastopt

#include <cmath>

#include "sketch_newton/kkt_solvers.hpp"

namespace fastopt {

Shape Minres::solve(const double* r, double rtol, double* d) {
    const index_t size = k_.size(), most = 10 * size + 50;
    using Vector = std::vector<double>;
    const std::size_t count = static_cast<std::size_t>(size);
    Vector v_old(count, 0.0), v(count), q(count), p_old(count, 0.0), p_older(count, 0.0), p(count);
    for (index_t i = 0; i < size; ++i) d[i] = 0, v[i] = -r[i];
    const double first = euclid(v.data(), size);
    if (first == 0) return Shape::right;
    for (double& x : v) x /= first;
    // K V_k = V_{k+1} T_k; T = Q R by Givens rotations (c, s); d = V R^-1 Q' first e_1.
    double beta = 0, c = 1, c_old = 1, s = 0, s_old = 0, rhs = first;
    for (index_t k = 0; k < most; ++k) {
        poll();
        k_.multiply(v.data(), q.data());
        ++iterations;
        double alpha = 0;
        for (index_t i = 0; i < size; ++i) alpha += v[i] * q[i];
        for (index_t i = 0; i < size; ++i) q[i] -= alpha * v[i] + beta * v_old[i];
        const double beta_next = euclid(q.data(), size);
        // The column (beta, alpha, beta_next) of T after the last two rotations.
        const double r3 = s_old * beta, mid = c_old * beta;
        const double r2 = c * mid + s * alpha, bottom = c * alpha - s * mid;
        const double r1 = std::hypot(bottom, beta_next);
        c_old = c, s_old = s;
        if (r1 == 0) return Shape::singular;
        c = bottom / r1, s = beta_next / r1;
        const double step = c * rhs;
        rhs *= -s;
        for (index_t i = 0; i < size; ++i) {
            p[i] = (v[i] - r2 * p_old[i] - r3 * p_older[i]) / r1;
            d[i] += step * p[i];
        }
        p_older.swap(p_old), p_old.swap(p);
        if (!std::isfinite(rhs)) return Shape::singular;
        if (std::fabs(rhs) <= rtol * first) return Shape::right;
        if (beta_next <= 1e-14 * std::fabs(r1)) break; // the Krylov space is exhausted
        for (index_t i = 0; i < size; ++i) {
            const double next = q[i] / beta_next;
            v_old[i] = v[i], v[i] = next;
        }
        beta = beta_next;
    }
    return Shape::inaccurate;
}

} // namespace fastopt

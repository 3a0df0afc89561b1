#include <cmath>

#include "sketch_newton/kkt_solvers.hpp"

namespace fastopt {

Shape Minres::solve(const double* r, double rtol, double* d) {
    const index_t most = 10 * size_ + 50;
    const double first = steps_.start(r);
    Shape shape = first == 0 ? Shape::right : Shape::inaccurate;
    // K V_k = V_{k+1} T_k; T = Q R by Givens rotations (c, s); d = V R^-1 Q' first e_1.
    double beta = 0, c = 1, c_old = 1, s = 0, s_old = 0, rhs = first;
    for (index_t k = 0; k < most && first != 0; ++k) {
        poll();
        const auto [alpha, beta_next] = steps_.lanczos(beta);
        ++iterations;
        // The column (beta, alpha, beta_next) of T after the last two rotations.
        const double r3 = s_old * beta, mid = c_old * beta;
        const double r2 = c * mid + s * alpha, bottom = c * alpha - s * mid;
        const double r1 = std::hypot(bottom, beta_next);
        c_old = c, s_old = s;
        if (r1 == 0) return Shape::singular;
        c = bottom / r1, s = beta_next / r1;
        steps_.advance(r1, r2, r3, c * rhs, beta_next);
        rhs *= -s;
        if (!std::isfinite(rhs)) return Shape::singular;
        if (std::fabs(rhs) <= rtol * first) {
            shape = Shape::right;
            break;
        }
        if (beta_next <= 1e-14 * std::fabs(r1)) break; // the Krylov space is exhausted
        beta = beta_next;
    }
    steps_.finish(d);
    return shape;
}

} // namespace fastopt

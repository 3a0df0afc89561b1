#include <algorithm>
#include <cmath>

#include "sketch_newton/newton_parts.hpp"

namespace fastopt {
namespace {

constexpr index_t most_steps = 300;
constexpr index_t first_order_steps = 8;         // then the second-order terms of c join
constexpr index_t second_order_dimension = 2000; // above it they are never formed
constexpr double stationary = 1e-8;              // |J'c| beside max(1, |J|) |c|

// (J'J + S + mu I) dx = -J'c with S = sum_i c_i Hess c_i or none; false when not positive definite.
bool full_step(const NewtonPoint& p, const double* second, const std::vector<double>& jc, double mu,
               std::vector<double>& dx) {
    const index_t n = static_cast<index_t>(p.x.size()), m = static_cast<index_t>(p.c.size());
    Buffer<double> h(n * n);
    if (second) std::copy_n(second, n * n, h.data());
    syrk<double>(n, m, 1.0, p.j.data(), n, 1.0, h.data(), n);
    for (index_t k = 0; k < n; ++k) h[k * n + k] += mu;
    if (!potrf<double>(n, h.data(), n)) return false;
    for (index_t k = 0; k < n; ++k) dx[k] = -jc[k];
    trsm(true, false, n, 1, h.data(), n, dx.data(), 1);
    trsm(true, true, n, 1, h.data(), n, dx.data(), 1);
    return true;
}

// The same without S by the small side: dx = -J' (J J' + mu I)^-1 c.
bool short_step(const NewtonPoint& p, double mu, std::vector<double>& dx) {
    const index_t n = static_cast<index_t>(p.x.size()), m = static_cast<index_t>(p.c.size());
    Buffer<double> h(m * m);
    gemm<double>(false, true, m, m, n, 1.0, p.j.data(), n, p.j.data(), n, 0.0, h.data(), m);
    for (index_t i = 0; i < m; ++i) h[i * m + i] += mu;
    if (!potrf<double>(m, h.data(), m)) return false;
    std::vector<double> y(p.c);
    trsm(true, false, m, 1, h.data(), m, y.data(), 1);
    trsm(true, true, m, 1, h.data(), m, y.data(), 1);
    gemv<double>(true, m, n, -1.0, p.j.data(), n, y.data(), 0.0, dx.data());
    return true;
}

// From a stationary point of |c|^2 / 2 that is a saddle point or a maximum: a point near it along
// negative curvature of J'J + sum c_i Hess c_i where |c| is less.
bool leave_saddle(ScaledFunctions& s, NewtonPoint& p) {
    const index_t n = s.n(), m = s.m();
    const auto second = s.curvature(p, 0.0, p.c);
    std::vector<double> jv(m);
    const LeastCurvature least = least_curvature(
        n, 0, nullptr,
        [&](const double* v, double* out) {
            second->multiply(v, out);
            gemv<double>(false, m, n, 1.0, p.j.data(), n, v, 0.0, jv.data());
            gemv<double>(true, m, n, 1.0, p.j.data(), n, jv.data(), 1.0, out);
        },
        s.monitor());
    if (!(least.value < -1e-6 * least.largest)) return false;
    const double size = norm(p.c);
    for (double t = 0.1 * std::fmax(1.0, norm(p.x)); t > 1e-6; t *= 0.1) {
        for (const double side : {t, -t}) {
            NewtonPoint trial;
            trial.x = p.x;
            for (index_t i = 0; i < n; ++i) trial.x[i] += side * least.v[i];
            if (!s.values(trial) || !(norm(trial.c) < size) || !s.derivatives(trial)) continue;
            p = std::move(trial);
            return true;
        }
    }
    return false;
}

} // namespace

Restored restore(ScaledFunctions& s, NewtonPoint& p,
                 const std::function<bool(const NewtonPoint&)>& accept) {
    const index_t n = s.n(), m = s.m();
    double mu = 1e-4;
    std::vector<double> jc(n), dx(n);
    Buffer<double> second;
    for (index_t k = 0; k < most_steps; ++k) {
        gemv<double>(true, m, n, 1.0, p.j.data(), n, p.c.data(), 0.0, jc.data());
        const double size = norm(p.c);
        if (accept(p)) return Restored::accepted;
        if (norm_inf(jc) <= stationary * std::fmax(1.0, norm_inf(p.j)) * size) {
            if (leave_saddle(s, p)) continue;
            return Restored::stationary;
        }
        const bool second_order = k >= first_order_steps && n <= second_order_dimension;
        if (second_order) {
            second = Buffer<double>(n * n);
            form(*s.curvature(p, 0.0, p.c), n, s.threads(), second.data());
        }
        bool moved = false;
        while (!moved && mu < 1e20) {
            const bool solved =
                second_order || m > n
                    ? full_step(p, second_order ? second.data() : nullptr, jc, mu, dx)
                    : short_step(p, mu, dx);
            if (!solved || !finite(dx)) {
                mu *= 4;
                continue;
            }
            NewtonPoint trial;
            trial.x = p.x;
            for (index_t i = 0; i < n; ++i) trial.x[i] += dx[i];
            if (trial.x == p.x) // no digit of x can move any more
                return norm_inf(jc) <= 1e-5 * std::fmax(1.0, norm_inf(p.j)) * size
                           ? Restored::stationary
                           : Restored::failed;
            const double promised = -dot(jc, dx) / 2;
            const bool good = s.values(trial) && norm(trial.c) < size;
            const double gained = good ? (size - norm(trial.c)) * (size + norm(trial.c)) / 2 : 0;
            if (good && s.derivatives(trial)) {
                mu = std::fmax(gained > 0.25 * promised ? mu / 8 : mu * 2, 1e-20);
                p = std::move(trial);
                moved = true;
            } else {
                mu *= 4;
            }
        }
        if (!moved) return Restored::failed;
    }
    return Restored::failed;
}

} // namespace fastopt

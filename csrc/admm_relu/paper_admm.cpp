// The published splitting (Bai, Gautam, Sojoudi, algorithm 3.1): u = v carries the norms and
// s = G u >= 0, G = blkdiag(E_i X), the cones. With unit dual steps q = G u + nu is the whole state
// of the constraints: s = q_+, nu = -q_-, s - nu = |q|. The u-step
//     (rv I + rs G'G + F'F) u = F'y + rv (v - lambda) + rs G'|q|
// has G'G = I (x) X'X, so that with rv I + rs X'X = C C' and X -> X C'^-1 it is a graph projection.
#include <algorithm>
#include <cmath>

#include "admm_relu/program.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

constexpr index_t penalty_checks[] = {50, 150, 400};
constexpr index_t group = 16; // blocks per task
constexpr index_t row_tile = 256;
constexpr index_t largest_cone = 128; // d up to which the final weights are made feasible
constexpr index_t check_every = 10;

} // namespace

template <class T>
PaperSolver<T>::PaperSolver(Program& program, index_t max_dense)
    : program_(program), x_(program.shape.n * program.shape.d),
      gates_(program.shape.n_gates * program.shape.n), max_dense_(max_dense) {
    if (!kernels_on_host())
        throw std::invalid_argument("method='admm' runs on the CPU only: use device='cpu', or "
                                    "method='conic'");
    for (index_t i = 0; i < x_.size(); ++i) x_[i] = static_cast<T>(program.x()[i]);
    for (index_t i = 0; i < gates_.size(); ++i) gates_[i] = static_cast<T>(program.gates()[i]);
}

template <class T>
AdmmResult PaperSolver<T>::solve(double beta, const AdmmOptions& o, const double* warm,
                                 AdmmMonitor& monitor) {
    const Clock clock(o.maxtime);
    const ProgramShape& shape = program_.shape;
    const index_t n = shape.n, d = shape.d, p = shape.n_gates, size = shape.size();
    const index_t m = shape.c * n, nb = shape.blocks();
    const int threads = program_.threads();
    const bool squared = program_.loss.kind() == LossKind::squared;
    const index_t tiles = (nb + group - 1) / group;

    Buffer<T> u(size), a(size), ut(size), gq(size), b(m), zeta(m), mu(m), z(m), arg(m);
    Buffer<T> q(checked_product(nb, n)), xt(n * d), work(checked_product(nb, n));
    Buffer<double> v(size), v_prev(size), lambda(size), c(d * d), fz(m), theta(m), zero(m);
    std::vector<double> part(static_cast<std::size_t>(4 * tiles));
    std::vector<double> answer;
    index_t next_check = 0;
    AdmmResult result;
    double primal = unlimited, dual = unlimited, rv = 1, rs = 1;
    const double rz = squared ? 1 : program_.loss.typical_curvature();

    // The value of the network whose neurons are the blocks of v: what its ReLUs really predict.
    const auto network_value = [&](const double* at) {
        parallel_for((n + row_tile - 1) / row_tile, threads, [&](index_t t) { // reads X once
            const index_t first = t * row_tile, w = std::min(row_tile, n - first);
            std::vector<double> pre(static_cast<std::size_t>(nb * w));
            gemm(false, true, nb, w, d, 1.0, at, d, program_.x() + first * d, d, 0.0, pre.data(),
                 w);
            for (index_t k = 0; k < shape.c; ++k) std::fill_n(fz.data() + k * n + first, w, 0.0);
            for (index_t k = 0; k < nb; ++k) {
                const double sign = k < nb / shape.signs ? 1 : -1;
                double* out = fz.data() + k / p % shape.c * n + first;
                for (index_t j = 0; j < w; ++j)
                    out[j] += pre[k * w + j] > 0 ? sign * pre[k * w + j] : 0.0;
            }
        });
        return program_.loss.value(fz.data()) + beta * program_.penalty(at);
    };
    double fun = program_.objective(v.data(), beta, fz.data());
    // The network that stands for v, its value and a bound: with feasible weights and the bound of
    // the cones in few columns, else the value of what the ReLUs predict and the gated bound.
    const auto evaluate = [&](index_t nit) {
        const bool cones = shape.cone && d <= largest_cone;
        answer.assign(v.data(), v.data() + size);
        if (!std::all_of(answer.begin(), answer.end(), [](double x) { return std::isfinite(x); }))
            std::fill(answer.begin(), answer.end(), 0.0);
        if (cones) program_.make_feasible(answer.data());
        fun = cones ? program_.objective(answer.data(), beta, fz.data())
                    : network_value(answer.data());
        for (index_t i = 0; i < m; ++i) fz[i] = zeta[i];
        program_.loss.gradient(fz.data(), theta.data());
        if (!program_.loss.smooth() && nit > 0)
            for (index_t i = 0; i < m; ++i) theta[i] = rz * mu[i];
        const double bound = program_.dual(theta.data(), beta, !cones);
        if (!(bound > result.dual)) return;
        result.dual = bound;
        result.theta.assign(theta.data(), theta.data() + m);
    };
    const auto finish = [&](Status status, index_t nit) {
        result.status = status, result.nit = nit, result.rho = rv, result.rho_cone = rs;
        evaluate(nit);
        result.fun = fun, result.dual = rounded_bound(result.dual, fun);
        result.penalty = program_.penalty(answer.data());
        result.violation = program_.violation(answer.data());
        result.weights = std::move(answer);
        return result;
    };
    const auto record = [&](index_t nit) {
        if (!o.record_history) return;
        AdmmHistory& h = result.history;
        h.nit.push_back(static_cast<double>(nit)), h.time.push_back(clock.seconds());
        h.fun.push_back(fun), h.dual.push_back(-unlimited);
        h.primal_residual.push_back(primal), h.dual_residual.push_back(dual);
        h.rho.push_back(rv);
    };
    record(0);

    // Penalties by the data's scales. The gated bound max ||X'D_i t|| stands in for beta_max where
    // cone projections would be dear.
    program_.loss.gradient(zero.data(), theta.data());
    double norm2_x = 0, reach = 0;
    for (index_t j = 0; j < n; ++j) norm2_x += dot(d, program_.x() + j * d, program_.x() + j * d);
    if (d <= largest_cone)
        result.beta_max = reach = program_.beta_max();
    else
        reach = program_.gated_dual_norm(theta.data());
    if (beta >= reach) return finish(Status::converged, 0);
    const double rms_t = std::sqrt(dot(m, theta.data(), theta.data()) / m);
    const double rms_x = std::sqrt(norm2_x / (n * d));
    rv = o.rho > 0 ? o.rho : 4 * rz * norm2_x / d * beta / reach;
    rs = o.rho_cone > 0 ? o.rho_cone : 25 * rz * beta / (d * rms_x * rms_t);

    if (warm) std::copy(warm, warm + size, v.data());
    std::unique_ptr<Design<T>> design;
    std::unique_ptr<GraphProjection<T>> graph;
    Buffer<T> ct(d * d);
    const auto factor = [&] { // C C' = rv I + rs X'X;  X C'^-1
        for (index_t i = 0; i < d * d; ++i) ct[i] = 0;
        const index_t nt = (d + row_tile - 1) / row_tile;
        parallel_for(nt * nt, threads, [&](index_t t) {
            const index_t i0 = t / nt * row_tile, j0 = t % nt * row_tile;
            if (i0 < j0) return;
            gemm(true, false, std::min(row_tile, d - i0), std::min(row_tile, d - j0), n,
                 static_cast<T>(rs), x_.data() + i0, d, x_.data() + j0, d, T(0),
                 ct.data() + i0 * d + j0, d);
        });
        for (index_t i = 0; i < d; ++i) ct[i * d + i] += static_cast<T>(rv);
        if (!tiled_potrf(d, ct.data(), threads))
            throw BackendError("rv I + rs X'X is not positive definite in this precision: use "
                               "dtype='float64'");
        std::copy(x_.data(), x_.data() + n * d, xt.data());
        parallel_for((n + row_tile - 1) / row_tile, threads, [&](index_t t) {
            const index_t w = std::min(row_tile, n - t * row_tile);
            trsm(false, true, w, d, ct.data(), d, xt.data() + t * row_tile * d, d);
        });
        result.factorisations += 1;
        if (!graph) {
            design =
                std::make_unique<Design<T>>(n, d, p, shape.c, xt.data(), gates_.data(), threads);
        }
        graph.reset();
        graph = std::make_unique<GraphProjection<T>>(*design, shape.signs, max_dense_);
        graph->set(rz);
    };
    factor();
    for (index_t i = 0; i < m; ++i) b[i] = static_cast<T>(program_.loss.y()[i]);

    for (index_t k = 0; k < o.maxiter; ++k) {
        monitor.poll();
        parallel_for(tiles, threads, [&](index_t t) { // a = C^-1 (rv (v - lambda) + rs G'|q|)
            const index_t b0 = t * group, w = std::min(group, nb - b0);
            for (index_t i = b0 * d; i < (b0 + w) * d; ++i)
                a[i] = static_cast<T>(rv * (v[i] - lambda[i])) + static_cast<T>(rs) * gq[i];
            trsm(false, true, w, d, ct.data(), d, a.data() + b0 * d, d);
        });
        if (!squared)
            for (index_t i = 0; i < m; ++i) b[i] = z[i] - mu[i];
        graph->project(a.data(), b.data(), ut.data(), zeta.data(), true, 1e-6);
        std::copy(v.data(), v.data() + size, v_prev.data());
        parallel_for(tiles, threads, [&](index_t t) {
            const index_t b0 = t * group, w = std::min(group, nb - b0);
            T* block = u.data() + b0 * d;
            std::copy(ut.data() + b0 * d, ut.data() + (b0 + w) * d, block);
            trsm(false, false, w, d, ct.data(), d, block, d); // u = C'^-1 (.)
            double off_v = 0, size_v = 0, off_s = 0, size_s = 0;
            for (index_t i = b0; i < b0 + w; ++i) { // v = shrink(u + lambda), lambda += u - v
                double norm = 0;
                for (index_t j = i * d; j < (i + 1) * d; ++j) {
                    lambda[j] += u[j];
                    norm += lambda[j] * lambda[j];
                }
                norm = std::sqrt(norm);
                const double factor_v = norm > beta / rv ? 1 - beta / rv / norm : 0.0;
                for (index_t j = i * d; j < (i + 1) * d; ++j) {
                    v[j] = factor_v * lambda[j];
                    lambda[j] -= v[j];
                    off_v += (u[j] - v[j]) * (u[j] - v[j]);
                    size_v += v[j] * v[j];
                }
            }
            if (shape.cone) { // q = G u - q_-;  G'|q|
                T* pre = work.data() + b0 * n;
                gemm(false, true, w, n, d, T(1), block, d, x_.data(), d, T(0), pre, n);
                for (index_t i = 0; i < w; ++i) {
                    const T* gate = gates_.data() + (b0 + i) % p * n;
                    T* state = q.data() + (b0 + i) * n;
                    T* out = pre + i * n;
                    for (index_t j = 0; j < n; ++j) {
                        const T e = 2 * gate[j] - 1, g = e * out[j];
                        const T next = g + (state[j] < 0 ? state[j] : T(0));
                        const T s = next > 0 ? next : T(0);
                        state[j] = next;
                        out[j] = e * (next < 0 ? -next : next);
                        off_s += static_cast<double>((g - s) * (g - s));
                        size_s += static_cast<double>(s * s);
                    }
                }
                gemm(false, false, w, d, n, T(1), pre, n, x_.data(), d, T(0), gq.data() + b0 * d,
                     d);
            }
            part[4 * t] = off_v, part[4 * t + 1] = size_v;
            part[4 * t + 2] = off_s, part[4 * t + 3] = size_s;
        });
        if (!squared) {
            for (index_t i = 0; i < m; ++i) arg[i] = zeta[i] + mu[i];
            program_.loss.prox(arg.data(), rz, z.data());
            for (index_t i = 0; i < m; ++i) mu[i] = arg[i] - z[i];
        }
        double sums[4] = {0, 0, 0, 0}, moved = 0, size_l = 0;
        for (index_t t = 0; t < 4 * tiles; ++t) sums[t % 4] += part[t];
        for (index_t i = 0; i < size; ++i) {
            moved += (v[i] - v_prev[i]) * (v[i] - v_prev[i]);
            size_l += lambda[i] * lambda[i];
        }
        primal = std::sqrt(sums[0] / std::max(sums[1], 1e-300));
        if (sums[3] > 0) primal = std::max(primal, std::sqrt(sums[2] / sums[3]));
        dual = std::sqrt(moved / std::max(size_l, 1e-300));
        if (!std::isfinite(moved)) return finish(Status::not_finite, k + 1);
        if (monitor.wanted() || (o.record_history && (k + 1) % check_every == 0)) {
            fun = network_value(v.data());
            record(k + 1);
        }
        if (monitor.wanted() &&
            monitor.stop({k + 1, size, v.data(), fun, -unlimited, primal, dual}))
            return finish(Status::stopped_by_callback, k + 1);
        if (k > 0 && primal <= o.tol && dual <= o.tol && k >= next_check) { // and near the optimum?
            evaluate(k + 1);
            if (d > largest_cone || fun - result.dual <= o.gap_tol * std::abs(fun))
                return finish(Status::converged, k + 1);
            next_check = k + std::max<index_t>(10, k / 4);
        }
        if (clock.over()) return finish(Status::maxtime, k + 1);

        if (!shape.cone || o.rho_cone > 0 ||
            std::find(std::begin(penalty_checks), std::end(penalty_checks), k + 1) ==
                std::end(penalty_checks))
            continue;
        double norm2_s = 0, norm2_nu = 0;
        for (index_t i = 0; i < nb; ++i) { // the two parts of q
            double s2 = 0, nu2 = 0;
            for (index_t j = i * n; j < (i + 1) * n; ++j)
                (q[j] > 0 ? s2 : nu2) += static_cast<double>(q[j]) * static_cast<double>(q[j]);
            norm2_s += s2, norm2_nu += nu2;
        }
        if (!(norm2_s > 0) || !(norm2_nu > 0)) continue;
        const double f = std::min(10.0, std::max(0.1, 2 * std::sqrt(norm2_nu / norm2_s)));
        if (f < 2 && f > 0.5) continue;
        rs *= f;
        for (index_t i = 0; i < nb * n; ++i)
            if (q[i] < 0) q[i] /= static_cast<T>(f);
        parallel_for(tiles, threads, [&](index_t t) {
            const index_t b0 = t * group, w = std::min(group, nb - b0);
            for (index_t i = b0; i < b0 + w; ++i)
                for (index_t j = 0; j < n; ++j) {
                    const T e = 2 * gates_[i % p * n + j] - 1, x = q[i * n + j];
                    work[i * n + j] = e * (x < 0 ? -x : x);
                }
            gemm(false, false, w, d, n, T(1), work.data() + b0 * n, n, x_.data(), d, T(0),
                 gq.data() + b0 * d, d);
        });
        factor();
    }
    return finish(Status::maxiter, o.maxiter);
}

template class PaperSolver<double>;
template class PaperSolver<float>;

} // namespace fastopt

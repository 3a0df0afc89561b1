// The published splitting (Bai, Gautam, Sojoudi, algorithm 3.1): u = v carries the norms and
// s = G u >= 0, G = blkdiag(E_i X), the cones. With unit dual steps q = G u + nu is the whole state
// of the constraints: s = q_+, nu = -q_-, s - nu = |q|. The u-step
//     (rv I + rs G'G + F'F) u = F'y + rv (v - lambda) + rs G'|q|
// has G'G = I (x) X'X, so that with rv I + rs X'X = C C' and X -> X C'^-1 it is a graph projection.
#include <algorithm>
#include <cmath>

#include "admm_relu/paper_steps.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"

namespace fastopt {
namespace {

constexpr index_t penalty_checks[] = {50, 150, 400};
constexpr index_t largest_cone = 128; // d up to which the final weights are made feasible
constexpr index_t check_every = 10;

} // namespace

template <class T>
PaperSteps<T>::PaperSteps(Program& program)
    : a(program.steps.array<T>(program.shape.size())), ut(a.clone()),
      v(program.steps.array<double>(program.shape.size())), lambda(v.clone()), program_(program),
      steps_(program.steps), n_(program.shape.n), d_(program.shape.d), p_(program.shape.n_gates),
      nb_(program.shape.blocks()), x_(steps_.array<T>(n_ * d_)), gates_(steps_.array<T>(p_ * n_)),
      xt_(steps_.array<T>(n_ * d_)), factor_(steps_.array<T>(d_ * d_)), u_(a.clone()),
      gq_(a.clone()), q_(steps_.array<T>(checked_product(nb_, n_))), work_(q_.clone()) {
    steps_.convert(n_ * d_, program.kernel_x.data(), x_.data());
    steps_.convert(p_ * n_, program.kernel_gates.data(), gates_.data());
}

void no_cone_system() {
    throw BackendError("rv I + rs X'X is not positive definite in this precision: scale X, or use "
                       "dtype='float64'");
}

template <class T>
AdmmResult PaperSolver<T>::solve(double beta, const AdmmOptions& o, const double* warm,
                                 AdmmMonitor& monitor) {
    const Clock clock(o.maxtime);
    const ProgramShape& shape = program_.shape;
    const index_t n = shape.n, d = shape.d, size = shape.size();
    const index_t m = shape.c * n;
    const bool squared = program_.loss.kind() == LossKind::squared;

    AdmmSteps& steps = program_.steps;
    PaperSteps<T> paper(program_);
    const Array<double>& v = paper.v;
    const auto b = steps.array<T>(m), zeta = steps.array<T>(m), mu = steps.array<T>(m),
               z = steps.array<T>(m), arg = steps.array<T>(m);
    const auto fz = steps.array<double>(m), theta = steps.array<double>(m),
               zero = steps.array<double>(m), nothing = steps.array<double>(size),
               answer = steps.array<double>(size);
    index_t next_check = 0;
    AdmmResult result;
    double primal = unlimited, dual = unlimited, rv = 1, rs = 1;
    const double rz = squared ? 1 : program_.loss.typical_curvature();

    // The value of the network whose neurons are the blocks of v: what its ReLUs really predict.
    const auto network_value = [&](const double* at) {
        paper.relu_predict(at, fz.data());
        return program_.loss.value(fz.data()) + beta * program_.penalty(at);
    };
    double fun = program_.objective(v.data(), beta, fz.data());
    // The network that stands for v, its value and a bound: with feasible weights and the bound of
    // the cones in few columns, else the value of what the ReLUs predict and the gated bound.
    const auto evaluate = [&](index_t nit) {
        const bool cones = shape.cone && d <= largest_cone;
        if (std::isfinite(program_.penalty(v.data())))
            steps.copy(size, v.data(), answer.data());
        else
            steps.copy(size, nothing.data(), answer.data());
        if (cones) program_.make_feasible(answer.data());
        fun = cones ? program_.objective(answer.data(), beta, fz.data())
                    : network_value(answer.data());
        steps.convert(m, zeta.data(), fz.data());
        program_.loss.gradient(fz.data(), theta.data());
        if (!program_.loss.smooth() && nit > 0) {
            steps.convert(m, mu.data(), theta.data());
            steps.scale(m, rz, theta.data(), theta.data());
        }
        const double bound = program_.dual(theta.data(), beta, !cones);
        if (!(bound > result.dual)) return;
        result.dual = bound;
        const double* t = theta.fetch();
        result.theta.assign(t, t + m);
    };
    const auto finish = [&](Status status, index_t nit) {
        result.status = status, result.nit = nit, result.rho = rv, result.rho_cone = rs;
        evaluate(nit);
        result.fun = fun,
        result.dual = rounded_bound(result.dual, fun, program_.loss.value(zero.data()));
        result.penalty = program_.penalty(answer.data());
        result.violation = program_.violation(answer.data());
        const double* weights = answer.fetch();
        result.weights.assign(weights, weights + size);
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
        result.beta_max = reach = program_.gated_dual_norm(theta.data());
    if (beta >= reach) return finish(Status::converged, 0);
    const double rms_t = std::sqrt(steps.dot(m, theta.data(), theta.data()) / m);
    const double rms_x = std::sqrt(norm2_x / (n * d));
    rv = o.rho > 0 ? o.rho : 4 * rz * norm2_x / d * beta / reach;
    rs = o.rho_cone > 0 ? o.rho_cone : 25 * rz * beta / (d * rms_x * rms_t);

    if (warm) {
        std::copy(warm, warm + size, v.mirror());
        v.send();
    }
    std::unique_ptr<GraphProjection<T>> graph;
    const auto factor = [&] {
        paper.factor(rv, rs);
        result.factorisations += 1;
        graph.reset();
        graph = std::make_unique<GraphProjection<T>>(paper.design(), shape.signs, max_dense_);
        graph->set(rz);
    };
    factor();
    steps.convert(m, program_.loss.targets().data(), b.data());
    result.setup = clock.seconds();

    for (index_t k = 0; k < o.maxiter; ++k) {
        monitor.poll();
        paper.right_hand_side(rv, rs);
        if (!squared) steps.subtract(m, z.data(), mu.data(), b.data());
        graph->project(paper.a.data(), b.data(), paper.ut.data(), zeta.data(), true, 1e-6);
        const auto sums = paper.advance(beta / rv);
        if (!squared) {
            steps.add(m, zeta.data(), mu.data(), arg.data());
            program_.loss.prox(arg.data(), rz, z.data());
            steps.subtract(m, arg.data(), z.data(), mu.data());
        }
        primal = std::sqrt(sums.off_v / std::max(sums.size_v, 1e-300));
        if (sums.size_s > 0) primal = std::max(primal, std::sqrt(sums.off_s / sums.size_s));
        dual = std::sqrt(sums.moved / std::max(sums.size_l, 1e-300));
        if (!std::isfinite(sums.moved)) return finish(Status::not_finite, k + 1);
        if (monitor.wanted() || (o.record_history && (k + 1) % check_every == 0)) {
            fun = network_value(v.data());
            record(k + 1);
        }
        if (monitor.wanted() &&
            monitor.stop({k + 1, size, v.fetch(), fun, -unlimited, primal, dual}))
            return finish(Status::stopped_by_callback, k + 1);
        if (k > 0 && primal <= o.tol && dual <= o.tol && k >= next_check) { // and near the optimum?
            evaluate(k + 1);
            if (d > largest_cone || std::abs(fun - result.dual) <= o.gap_tol * std::abs(fun))
                return finish(Status::converged, k + 1);
            next_check = k + std::max<index_t>(10, k / 4);
        }
        if (clock.over()) return finish(Status::maxtime, k + 1);

        // The gated reach may be far above beta_max, and rv then so small that no block comes
        // through the threshold: let half of the longest first u do so.
        if (k == 0 && d > largest_cone && o.rho <= 0 && !(sums.size_v > 0)) {
            const auto length = steps.array<double>(shape.blocks());
            steps.block_norms(shape.blocks(), d, paper.lambda.data(), length.data());
            const double next = 2 * beta / steps.largest(shape.blocks(), length.data());
            if (next > rv && std::isfinite(next)) {
                steps.scale(size, rv / next, paper.lambda.data(), paper.lambda.data());
                rv = next;
                factor();
            }
        }

        if (!shape.cone || o.rho_cone > 0 ||
            std::find(std::begin(penalty_checks), std::end(penalty_checks), k + 1) ==
                std::end(penalty_checks))
            continue;
        const auto squares = paper.cone_squares();
        if (!(squares.s > 0) || !(squares.nu > 0)) continue;
        const double f = std::min(10.0, std::max(0.1, 2 * std::sqrt(squares.nu / squares.s)));
        if (f < 2 && f > 0.5) continue;
        rs *= f;
        paper.rescale_cones(f);
        factor();
    }
    return finish(Status::maxiter, o.maxiter);
}

template PaperSteps<double>::PaperSteps(Program&);
template PaperSteps<float>::PaperSteps(Program&);
template class PaperSolver<double>;
template class PaperSolver<float>;

} // namespace fastopt

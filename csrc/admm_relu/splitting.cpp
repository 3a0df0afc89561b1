// Douglas-Rachford (two-block ADMM) for the convex program, with the cone inside the prox:
//     v = shrink(Proj_K(r), beta/rv)                      exactly feasible at every iteration
//     u = (I + F'F/rv)^-1 (2v - r + F'y/rv)               squared loss
//     r = Anderson(r, r + 1.9 (u - v))
// Other losses split z = F u as well: z = prox_{L/rz}(r_z), and (u, zeta) is the projection of
// (2v - r, 2z - r_z) on the graph of F. v gives a true upper bound, L'(F u) a lower one.
#include <algorithm>
#include <cmath>

#include "admm_relu/anderson.hpp"
#include "admm_relu/program.hpp"
#include "core/clock.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

constexpr index_t check_every = 20; // the duality gap costs one or two iterations
constexpr index_t penalty_checks[] = {20, 60, 180};
constexpr double newton_radius = 1e-2; // ||u - v|| / ||v|| below which Newton is tried
constexpr int newton_steps = 10;
constexpr double warm_newton = 10; // price of Newton steps that a warm start is worth

double distance(index_t n, const double* a, const double* b) {
    double sum = 0;
    for (index_t i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return std::sqrt(sum);
}
double length(index_t n, const double* a) { return std::sqrt(dot(n, a, a)); }

} // namespace

template <class T> struct SplittingSolver<T>::State {
    State(Program& p, const AdmmOptions& o, double b, bool split_loss)
        : program(p), options(o), beta(b), size(p.shape.size()), m(p.shape.predictions()),
          split(split_loss ? m : 0), r(size + split), rn(size + split), a(size), target(m), u(size),
          turned(p.robust ? 2 * size : 0), zeta(m), v(size), v_prev(size), z(m), z_prev(m),
          u64(size), zeta64(m), r64(size + split), fz(m), theta(p.shape.dual_size()), trial(size),
          best(size), polished(size), norm(static_cast<std::size_t>(p.shape.blocks())),
          sets(p.shape.cone ? static_cast<std::size_t>(p.shape.blocks()) : 0) {}

    Program& program;
    const AdmmOptions& options;
    const double beta;
    const index_t size, m, split; // weights; predictions; predictions when the loss is split
    double rv = 1, rz = 1;
    Buffer<T> r, rn, a, target, u, turned, zeta;
    Buffer<double> v, v_prev, z, z_prev, u64, zeta64, r64, fz, theta, trial, best, polished;
    std::vector<double> norm;
    std::vector<ActiveSet> sets;
    double best_fun = unlimited, best_dual = -unlimited;
    std::vector<double> best_theta;
    std::uint64_t signature = 0;
    index_t settled = 0;

    double gap() const { return best_fun - best_dual; }
    bool certified() const { return gap() <= options.gap_tol * std::abs(best_fun); }

    // v = shrink(Proj_K(r), beta/rv)
    void prox(const double* from, double* to, std::vector<ActiveSet>& active) {
        const ProgramShape& s = program.shape;
        const index_t w = s.width(), nb = s.blocks();
        const double level = beta / rv;
        if (s.cone) program.cones().project(nb, from, level, active, to, norm.data());
        for (index_t b = 0; b < nb; ++b) {
            if (!s.cone) {
                norm[b] = length(w, from + b * w);
                std::copy(from + b * w, from + (b + 1) * w, to + b * w);
            }
            const double factor = norm[b] > level ? 1 - level / norm[b] : 0.0;
            for (index_t i = 0; i < w; ++i) to[b * w + i] *= factor;
        }
    }

    // Which blocks and rows are active, as one number; counts how long it stayed.
    void watch() {
        std::uint64_t h = 1469598103934665603u;
        const auto mix = [&h](std::uint64_t x) { h = (h ^ x) * 1099511628211u; };
        for (std::size_t b = 0; b < norm.size(); ++b) {
            if (!(norm[b] > beta / rv)) continue;
            mix(b + 1);
            if (!sets.empty())
                for (const index_t row : sets[b].rows) mix(static_cast<std::uint64_t>(row) << 20);
        }
        settled = h == signature ? settled + 1 : 0;
        signature = h;
    }

    double take(const double* candidate) { // remembers the best feasible weights
        const double fun = program.objective(candidate, beta, fz.data());
        if (fun < best_fun) {
            best_fun = fun;
            std::copy(candidate, candidate + size, best.data());
        }
        return fun;
    }

    // The dual value that a prediction's gradient certifies, or theta. -F'theta is near rv (r - v),
    // so the rows active in r are where its projection starts.
    void bound(const double* prediction, const std::vector<ActiveSet>& active) {
        program.gradient(prediction, theta.data());
        bound(active);
    }
    void bound(const std::vector<ActiveSet>& active) {
        program.dual_sets() = active;
        for (ActiveSet& set : program.dual_sets())
            for (double& mu : set.mu) mu *= rv;
        keep(program.dual(theta.data(), beta));
    }
    void keep(double value) {
        if (value > best_dual) {
            best_dual = value;
            best_theta.assign(theta.data(), theta.data() + theta.size());
        }
    }

    // r = v - F'L'(F v)/rv: the fixed point that belongs to an optimal v.
    void fixed_point(const double* at, double* out) {
        program.predict(at, fz.data());
        program.gradient(fz.data(), theta.data());
        program.pull_back(theta.data(), out);
        for (index_t i = 0; i < size; ++i) out[i] = at[i] - out[i] / rv;
    }

    // Flops of a Newton step on the active faces of v, in iterations.
    double newton_price() const {
        const ProgramShape& s = program.shape;
        const index_t w = s.width();
        double columns = 0;
        for (index_t b = 0; b < s.blocks(); ++b)
            if (norm[b] > beta / rv) columns += w - (sets.empty() ? 0 : sets[b].size());
        const double n = s.n, face = columns / s.c, iteration = n * (8.0 * s.half() / s.c + 2 * n);
        return face * face * (n + face / 3) / iteration;
    }

    // Newton steps from v while the objective after the prox falls; true when one was accepted.
    bool polish(index_t& steps, const Clock& clock) {
        if (program.robust) return false;
        Buffer<double> point(size), next(size), step(size), from(size);
        std::copy(v.data(), v.data() + size, point.data());
        std::vector<ActiveSet> face(sets);
        double fun = program.objective(point.data(), beta, fz.data());
        bool any = false;
        for (int k = 0; k < newton_steps && !clock.over(); ++k) {
            if (!newton_direction(program, beta, point.data(), fz.data(), face, step.data())) break;
            bool accepted = false;
            double t = 1;
            for (int half = 0; half < 3 && !accepted; ++half, t *= 0.25) {
                for (index_t i = 0; i < size; ++i) trial[i] = point[i] + t * (step[i] - point[i]);
                fixed_point(trial.data(), from.data());
                std::vector<ActiveSet> trial_sets(face);
                prox(from.data(), next.data(), trial_sets);
                const double value = program.objective(next.data(), beta, fz.data());
                if (!(value < fun)) continue;
                accepted = any = true;
                ++steps;
                const double decrease = fun - value;
                fun = value;
                std::copy(next.data(), next.data() + size, point.data());
                face = std::move(trial_sets);
                take(point.data());
                bound(fz.data(), face);
                if (certified() || decrease <= 1e-15 * std::abs(fun)) k = newton_steps;
            }
            if (!accepted) break;
        }
        if (!any) return false;
        std::copy(point.data(), point.data() + size, polished.data());
        return true;
    }

    // u = the projection of a, zeta = F u.
    void project(GraphProjection<T>& graph, bool want_zeta, double tolerance) {
        if (!program.robust)
            return graph.project(a.data(), target.data(), u.data(), zeta.data(), want_zeta,
                                 tolerance);
        to_design(program.shape, a.data(), turned.data());
        graph.project(turned.data(), target.data(), turned.data() + size, zeta.data(), want_zeta,
                      tolerance);
        from_design(program.shape, turned.data() + size, u.data());
    }

    // z = prox_{L/rz}(r_z); of a robust loss with its dual point.
    void loss_prox() {
        const double* from = r64.data() + size;
        if (program.robust)
            program.robust->prox(from, rz, z.data(), theta.data());
        else
            program.loss.prox(from, rz, z.data());
    }

    // The state that has v (and F v) as its prox, with the multipliers that the gradient says.
    void restart() {
        fixed_point(v.data(), r64.data());
        for (index_t i = 0; i < size; ++i) r[i] = static_cast<T>(r64[i]);
        for (index_t i = 0; i < split; ++i) r[size + i] = static_cast<T>(fz[i] + theta[i] / rz);
    }

    // Balances the penalty of one split: r is its state, x its prox, y its projection. Returns the
    // factor for rho, 1 for none.
    double rebalance(index_t n, const double* state, const double* x, const double* x_prev,
                     const double* y) const {
        const double size_x = length(n, x), multiplier = distance(n, state, x);
        if (!(size_x > 0)) return 5;
        const double q = multiplier / size_x;
        const double primal = distance(n, x, y) / size_x;
        const double dual = distance(n, x, x_prev) / std::max(multiplier, 1e-300);
        const double s = primal > 0 && dual > 0 ? std::sqrt(primal / dual) : 1.0;
        const double f = std::sqrt(q * s);
        return f > 3 || f < 1.0 / 3 ? std::min(10.0, std::max(0.1, f)) : 1.0;
    }
};

template <class T>
SplittingSolver<T>::SplittingSolver(Program& program, index_t max_dense) : program_(program) {
    const ProgramShape& s = program.shape;
    if constexpr (std::is_same_v<T, float>) {
        const index_t d = program.design.d();
        const double* x = program.robust ? program.ones.data() : program.x();
        x_ = Buffer<T>(s.n * d), gates_ = Buffer<T>(s.n_gates * s.n);
        for (index_t i = 0; i < s.n * d; ++i) x_[i] = static_cast<T>(x[i]);
        for (index_t i = 0; i < s.n_gates * s.n; ++i)
            gates_[i] = static_cast<T>(program.gates()[i]);
        design_ = std::make_unique<Design<T>>(s.n, d, s.n_gates, s.outputs(), x_.data(),
                                              gates_.data(), program.threads());
        graph_ = std::make_unique<GraphProjection<T>>(*design_, s.signs, max_dense);
    } else {
        graph_ = std::make_unique<GraphProjection<T>>(program.design, s.signs, max_dense);
    }
}

template <class T> SplittingSolver<T>::~SplittingSolver() = default;

template <class T>
AdmmResult SplittingSolver<T>::solve(double beta, const AdmmOptions& o, const double* warm,
                                     AdmmMonitor& monitor) {
    const Clock clock(o.maxtime);
    const bool squared = program_.loss.kind() == LossKind::squared && !program_.robust;
    const ProgramShape& shape = program_.shape;
    GraphProjection<T>& graph = *graph_;
    State s(program_, o, beta, !squared);
    const index_t size = s.size, m = s.m;
    AdmmResult result;
    double primal = unlimited, dual = unlimited;

    const auto finish = [&](Status status, index_t nit) {
        result.status = status, result.nit = nit;
        result.weights.assign(s.best.data(), s.best.data() + size);
        result.theta = s.best_theta;
        result.fun = s.best_fun, result.dual = rounded_bound(s.best_dual, s.best_fun);
        result.penalty = program_.penalty(s.best.data());
        result.violation = program_.violation(s.best.data());
        result.rho = s.rv;
        last_rv_ = s.rv, last_rz_ = s.rz, last_sets_ = std::move(s.sets);
        result.factorisations = graph.factorisations(),
        result.cg_iterations = graph.cg_iterations();
        return result;
    };
    const auto record = [&](index_t nit) {
        if (!o.record_history) return;
        AdmmHistory& h = result.history;
        h.nit.push_back(static_cast<double>(nit)), h.time.push_back(clock.seconds());
        h.fun.push_back(s.best_fun), h.dual.push_back(s.best_dual);
        h.primal_residual.push_back(primal), h.dual_residual.push_back(dual);
        h.rho.push_back(s.rv);
    };

    // At v = 0 the gradient is L'(0): when it is dual feasible, 0 is the answer.
    result.beta_max = program_.beta_max();
    s.take(s.best.data());
    program_.gradient(s.z.data(), s.theta.data()); // predictions 0
    s.keep(program_.dual_of_norm(s.theta.data(), beta, result.beta_max));
    record(0);
    if (beta >= result.beta_max) return finish(Status::converged, 0);

    double norm2_x = 0;
    for (index_t j = 0; j < shape.n; ++j)
        norm2_x += dot(shape.d, program_.x() + j * shape.d, program_.x() + j * shape.d);
    s.rz = squared ? 1 : program_.loss.typical_curvature();
    s.rv = o.rho > 0 ? o.rho : 20 * s.rz * norm2_x / shape.d * beta / result.beta_max;
    if (program_.robust) s.rz *= norm2_x / (shape.n * shape.d); // slopes instead of values
    if (!(s.rv > 0)) s.rv = 1;
    if (warm && o.rho <= 0 && last_rv_ > 0) s.rv = last_rv_, s.rz = last_rz_; // and its factor
    if (o.rho <= 0 && o.rho_start > 0) s.rv = o.rho_start;

    Anderson<T> anderson(size, s.split, std::max<index_t>(o.memory, 1));
    if (squared) {
        for (index_t i = 0; i < m; ++i) s.target[i] = static_cast<T>(program_.loss.y()[i]);
        graph.fix_target(s.target.data());
    } else {
        graph.fix_target(nullptr);
    }
    index_t newton_wait = 4, newton_next = 0;
    if (warm) {
        if (!last_sets_.empty()) s.sets = std::move(last_sets_);
        std::copy(warm, warm + size, s.v.data());
        s.restart();
        // Newton from the warm start: along a path it often needs no factorisation at all.
        for (index_t i = 0; i < size; ++i) s.r64[i] = s.r[i];
        s.prox(s.r64.data(), s.v.data(), s.sets);
        s.take(s.v.data());
        if (o.polish && s.newton_price() <= warm_newton && s.polish(result.newton_steps, clock)) {
            record(0);
            if (s.certified()) return finish(Status::converged, 0);
            std::copy(s.polished.data(), s.polished.data() + size, s.v.data());
            s.restart();
        }
    }
    graph.set(s.rz / s.rv);
    result.setup = clock.seconds();

    for (index_t k = 0; k < o.maxiter; ++k) {
        monitor.poll();
        for (index_t i = 0; i < size + s.split; ++i) s.r64[i] = s.r[i];
        s.prox(s.r64.data(), s.v.data(), s.sets); // v
        if (!squared) s.loss_prox();              // z
        for (index_t i = 0; i < size; ++i) s.a[i] = static_cast<T>(2 * s.v[i] - s.r64[i]);
        for (index_t i = 0; i < s.split; ++i)
            s.target[i] = static_cast<T>(2 * s.z[i] - s.r64[size + i]);
        const bool check = (k + 1) % check_every == 0 || k + 1 == o.maxiter;
        s.project(graph, check || !squared,
                  std::max(1e-11, std::min(1e-4, 0.02 * primal))); // u, zeta = F u
        for (index_t i = 0; i < size; ++i) s.u64[i] = s.u[i];
        for (index_t i = 0; i < m; ++i) s.zeta64[i] = s.zeta[i];
        const T relax = static_cast<T>(o.relaxation);
        for (index_t i = 0; i < size; ++i)
            s.rn[i] = s.r[i] + relax * (s.u[i] - static_cast<T>(s.v[i]));
        for (index_t i = 0; i < s.split; ++i)
            s.rn[size + i] = s.r[size + i] + relax * (s.zeta[i] - static_cast<T>(s.z[i]));

        const double size_v = length(size, s.v.data()),
                     off = distance(size, s.u64.data(), s.v.data());
        primal = size_v > 0 ? off / size_v : unlimited;
        dual = distance(size, s.v.data(), s.v_prev.data()) /
               std::max(distance(size, s.r64.data(), s.v.data()), 1e-300);
        s.watch();

        if (check || monitor.wanted()) s.take(s.v.data());
        if (check && program_.robust) {
            s.bound(s.sets);
        } else if (check && program_.loss.smooth()) {
            s.bound(s.zeta64.data(), s.sets);
        } else if (check) { // the subgradient at z that its prox found
            for (index_t i = 0; i < m; ++i) s.theta[i] = s.rz * (s.r64[size + i] - s.z[i]);
            s.bound(s.sets);
        }
        bool polished = false;
        if (o.polish && s.settled >= 2 && primal < newton_radius && k >= newton_next) {
            // The best point only: the state goes on.
            polished = s.polish(result.newton_steps, clock);
            newton_next = k + newton_wait;
            newton_wait *= 2;
        }
        if (check || polished) record(k + 1);
        if (!std::isfinite(off)) return finish(Status::not_finite, k + 1);
        if (monitor.wanted() &&
            monitor.stop({k + 1, size, s.best.data(), s.best_fun, s.best_dual, primal, dual}))
            return finish(Status::stopped_by_callback, k + 1);
        if (s.certified()) return finish(Status::converged, k + 1);
        if (clock.over()) return finish(Status::maxtime, k + 1);

        const bool rebalancing =
            o.rho <= 0 && std::find(std::begin(penalty_checks), std::end(penalty_checks), k + 1) !=
                              std::end(penalty_checks);
        double fv = 1, fz = 1;
        if (rebalancing) {
            fv = s.rebalance(size, s.r64.data(), s.v.data(), s.v_prev.data(), s.u64.data());
            if (!squared)
                fz = s.rebalance(m, s.r64.data() + size, s.z.data(), s.z_prev.data(),
                                 s.zeta64.data());
        }
        std::copy(s.v.data(), s.v.data() + size, s.v_prev.data());
        if (!squared) std::copy(s.z.data(), s.z.data() + m, s.z_prev.data());
        if (fv != 1 || fz != 1) { // the multipliers rho (rn - x) stay
            for (index_t i = 0; i < size; ++i)
                s.r[i] = static_cast<T>(s.v[i] + (s.rn[i] - s.v[i]) / fv);
            for (index_t i = 0; i < s.split; ++i)
                s.r[size + i] = static_cast<T>(s.z[i] + (s.rn[size + i] - s.z[i]) / fz);
            s.rv *= fv, s.rz *= fz;
            graph.set(s.rz / s.rv);
            anderson.clear();
        } else if (o.memory > 0) {
            anderson.next(s.r.data(), s.rn.data(), s.rv, s.rz);
        } else {
            std::copy(s.rn.data(), s.rn.data() + size + s.split, s.r.data());
        }
    }
    return finish(Status::maxiter, o.maxiter);
}

template class SplittingSolver<double>;
template class SplittingSolver<float>;

} // namespace fastopt

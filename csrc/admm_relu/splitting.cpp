// Douglas-Rachford (two-block ADMM) for the convex program, with the cone inside the prox:
//     v = shrink(Proj_K(r), beta/rv)                      exactly feasible at every iteration
//     u = (I + F'F/rv)^-1 (2v - r + F'y/rv)               squared loss
//     r = Anderson(r, r + 1.9 (u - v))
// Other losses split z = F u as well: z = prox_{L/rz}(r_z), and (u, zeta) is the projection of
// (2v - r, 2z - r_z) on the graph of F. v gives a true upper bound, L'(F u) a lower one.
#include <algorithm>
#include <cmath>
#include <utility>

#include "admm_relu/anderson.hpp"
#include "admm_relu/program.hpp"
#include "core/clock.hpp"

namespace fastopt {
namespace {

constexpr index_t check_every = 20; // the duality gap costs one or two iterations
constexpr index_t penalty_checks[] = {20, 60, 180};
constexpr double newton_radius = 1e-2; // ||u - v|| / ||v|| below which Newton is tried
constexpr int newton_steps = 10;
constexpr double warm_newton = 10; // price of Newton steps that a warm start is worth

} // namespace

template <class T> struct SplittingSolver<T>::State {
    State(Program& p, const AdmmOptions& o, double b, bool split_loss)
        : program(p), steps(p.steps), options(o), beta(b), size(p.shape.size()),
          m(p.shape.predictions()), split(split_loss ? m : 0), r(numbers(size + split)),
          rn(numbers(size + split)), a(numbers(size)), target(numbers(m)), u(numbers(size)),
          turned(numbers(p.robust ? 2 * size : 0)), zeta(numbers(m)), v(doubles(size)),
          v_prev(doubles(size)), z(doubles(m)), z_prev(doubles(m)), zeta64(doubles(m)),
          r64(doubles(size + split)), fz(doubles(m)), theta(doubles(p.shape.dual_size())),
          trial(doubles(size)), best(doubles(size)), polished(doubles(size)),
          norm(doubles(p.shape.blocks())), sets(p.shape.cone ? p.shape.blocks() : 0) {}

    Array<T> numbers(index_t n) const { return steps.template array<T>(n); }
    Array<double> doubles(index_t n) const { return steps.template array<double>(n); }

    Program& program;
    AdmmSteps& steps;
    const AdmmOptions& options;
    const double beta;
    const index_t size, m, split; // weights; predictions; predictions when the loss is split
    double rv = 1, rz = 1;
    Array<T> r, rn, a, target, u, turned, zeta;
    Array<double> v, v_prev, z, z_prev, zeta64, r64, fz, theta, trial, best, polished, norm;
    ActiveSets sets;
    double best_fun = unlimited, best_dual = -unlimited;
    std::vector<double> best_theta;
    std::uint64_t signature = 0;
    index_t settled = 0;

    double gap() const { return best_fun - best_dual; }
    // By size: a bound above the value, by more than rounding, certifies nothing.
    bool certified() const { return std::abs(gap()) <= options.gap_tol * std::abs(best_fun); }

    // v = shrink(Proj_K(r), beta/rv)
    void prox(const double* from, double* to, ActiveSets& active) {
        const ProgramShape& s = program.shape;
        const index_t w = s.width(), nb = s.blocks();
        const double level = beta / rv;
        if (s.cone)
            program.cones().project(nb, from, level, active, to, norm.data());
        else
            steps.block_norms(nb, w, from, norm.data());
        steps.shrink(nb, w, level, norm.data(), s.cone ? to : from, to);
    }

    // Counts how long the active blocks and rows stayed the same.
    void watch() {
        const std::uint64_t now =
            steps.signature(program.shape.blocks(), norm.data(), beta / rv, sets);
        settled = any_rank(program.sharing().weights, now != signature) ? 0 : settled + 1;
        signature = now;
    }

    double take(const Array<double>& candidate) { // remembers the best feasible weights
        const double fun = program.objective(candidate.data(), beta, fz.data());
        if (fun < best_fun) {
            best_fun = fun;
            steps.copy(size, candidate.data(), best.data());
        }
        return fun;
    }

    // The dual value that a prediction's gradient certifies, or theta. -F'theta is near rv (r - v),
    // so the rows active in r are where its projection starts.
    void bound(const double* prediction, const ActiveSets& active) {
        program.gradient(prediction, theta.data());
        bound(active);
    }
    void bound(const ActiveSets& active) {
        ActiveSets& sets_of_dual = program.dual_sets();
        sets_of_dual = ActiveSets(active);
        for (ActiveSet& set : sets_of_dual.on_host)
            for (double& mu : set.mu) mu *= rv;
        steps.scale(sets_of_dual.mu.size(), rv, sets_of_dual.mu.data(), sets_of_dual.mu.data());
        keep(program.dual(theta.data(), beta));
    }
    void keep(double value) {
        if (value > best_dual) {
            best_dual = value;
            const double* t = theta.fetch();
            best_theta.assign(t, t + theta.size());
        }
    }

    // r = v - F'L'(F v)/rv: the fixed point that belongs to an optimal v.
    void fixed_point(const double* at, double* out) {
        program.predict(at, fz.data());
        program.gradient(fz.data(), theta.data());
        program.pull_back(theta.data(), out);
        steps.gradient_step(size, rv, at, out);
    }

    // Flops of a Newton step on the active faces of v, in iterations.
    double newton_price() const {
        const ProgramShape& s = program.shape;
        const index_t w = s.width();
        const double* length = norm.fetch();
        const std::vector<index_t> rows = sets.sizes();
        double columns = 0;
        for (index_t b = 0; b < s.blocks(); ++b)
            if (length[b] > beta / rv) columns += w - (rows.empty() ? 0 : rows[b]);
        sum_over_ranks(program.sharing().weights, &columns, 1);
        const double n = s.samples(), face = columns / s.c;
        const double iteration = n * (8.0 * s.all_half() / s.c + 2 * n);
        return face * face * (n + face / 3) / iteration;
    }

    // Newton steps from v while the objective after the prox falls; true when one was accepted.
    bool polish(index_t& steps_taken, const Clock& clock) {
        if (program.robust) return false;
        const Array<double> point = v.clone(), next = doubles(size), step = doubles(size),
                            from = doubles(size);
        ActiveSets face(sets);
        double fun = program.objective(point.data(), beta, fz.data());
        bool any = false;
        for (int k = 0; k < newton_steps && !clock.over(); ++k) {
            if (!newton_direction(program, beta, point.data(), fz.data(), face, step.data())) break;
            bool accepted = false;
            double t = 1;
            for (int half = 0; half < 3 && !accepted; ++half, t *= 0.25) {
                steps.between(size, t, point.data(), step.data(), trial.data());
                fixed_point(trial.data(), from.data());
                ActiveSets trial_sets(face);
                prox(from.data(), next.data(), trial_sets);
                const double value = program.objective(next.data(), beta, fz.data());
                if (!(value < fun)) continue;
                accepted = any = true;
                ++steps_taken;
                const double decrease = fun - value;
                fun = value;
                steps.copy(size, next.data(), point.data());
                face = std::move(trial_sets);
                take(point);
                bound(fz.data(), face);
                if (certified() || decrease <= 1e-15 * std::abs(fun)) k = newton_steps;
            }
            if (!accepted) break;
        }
        if (!any) return false;
        steps.copy(size, point.data(), polished.data());
        return true;
    }

    // u = the projection of a, zeta = F u.
    void project(GraphProjection<T>& graph, bool want_zeta, double tolerance) {
        if (!program.robust)
            return graph.project(a.data(), target.data(), u.data(), zeta.data(), want_zeta,
                                 tolerance);
        program.to_design(program.shape.signs, a.data(), turned.data());
        graph.project(turned.data(), target.data(), turned.data() + size, zeta.data(), want_zeta,
                      tolerance);
        program.from_design(program.shape.signs, turned.data() + size, u.data());
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
        steps.convert(size, r64.data(), r.data());
        if (split) steps.add_multiplier(split, rz, fz.data(), theta.data(), r.data() + size);
    }

    // Of the whole program, given those of the part that a rank has of a shared array.
    static AdmmSteps::Distances over_ranks(Communicator* comm, AdmmSteps::Distances own) {
        double* lengths[] = {&own.length, &own.from_state, &own.from_last, &own.from_y};
        double squares[4];
        for (int i = 0; comm && i < 4; ++i) squares[i] = *lengths[i] * *lengths[i];
        sum_over_ranks(comm, squares, 4);
        for (int i = 0; comm && i < 4; ++i) *lengths[i] = std::sqrt(squares[i]);
        return own;
    }

    // Balances the penalty of one split: a state, its prox x and its projection y, given their
    // distances. Returns the factor for rho, 1 for none.
    static double rebalance(const AdmmSteps::Distances& x) {
        if (!(x.length > 0)) return 5;
        const double q = x.from_state / x.length;
        const double primal = x.from_y / x.length;
        const double dual = x.from_last / std::max(x.from_state, 1e-300);
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
        const double* x = program.robust ? program.ones.data() : program.kernel_x.data();
        AdmmSteps& steps = program.steps;
        x_ = steps.array<T>(s.n * d), gates_ = steps.array<T>(s.n_gates * s.n);
        steps.convert(s.n * d, x, x_.data());
        steps.convert(s.n_gates * s.n, program.kernel_gates.data(), gates_.data());
        design_ =
            std::make_unique<Design<T>>(s.n, d, s.n_gates, s.outputs(), x_.data(), gates_.data(),
                                        program.threads(), steps.queue(), steps.sharing());
        graph_ = std::make_unique<GraphProjection<T>>(*design_, s.signs, max_dense);
    } else {
        graph_ = std::make_unique<GraphProjection<T>>(program.design, s.signs, max_dense);
    }
}

template <class T> SplittingSolver<T>::~SplittingSolver() = default;

template <class T>
AdmmResult SplittingSolver<T>::solve(double beta, const AdmmOptions& o, const double* warm,
                                     AdmmMonitor& monitor) {
    const Sharing& sharing = program_.sharing();
    const Clock clock(o.maxtime, sharing.comm());
    const bool squared = program_.loss.kind() == LossKind::squared && !program_.robust;
    const ProgramShape& shape = program_.shape;
    GraphProjection<T>& graph = *graph_;
    State s(program_, o, beta, !squared);
    AdmmSteps& steps = program_.steps;
    const index_t size = s.size, m = s.m;
    AdmmResult result;
    double primal = unlimited, dual = unlimited, value_at_zero = 0;

    const auto finish = [&](Status status, index_t nit) {
        result.status = status, result.nit = nit;
        result.penalty = program_.penalty(s.best.data());
        result.violation = program_.violation(s.best.data());
        const double* best = s.best.fetch();
        result.weights.assign(best, best + size);
        result.theta = s.best_theta;
        result.fun = s.best_fun,
        result.dual = rounded_bound(s.best_dual, s.best_fun, value_at_zero);
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
    s.take(s.best);
    value_at_zero = s.best_fun;
    program_.gradient(s.z.data(), s.theta.data()); // predictions 0
    s.keep(program_.dual_of_norm(s.theta.data(), beta, result.beta_max));
    record(0);
    if (beta >= result.beta_max) return finish(Status::converged, 0);

    double norm2_x = 0;
    for (index_t j = 0; j < shape.n; ++j)
        norm2_x += dot(shape.d, program_.x() + j * shape.d, program_.x() + j * shape.d);
    sum_over_ranks(sharing.samples, &norm2_x, 1);
    s.rz = squared ? 1 : program_.loss.typical_curvature();
    s.rv = o.rho > 0 ? o.rho : 20 * s.rz * norm2_x / shape.d * beta / result.beta_max;
    if (program_.robust) s.rz *= norm2_x / (shape.n * shape.d); // slopes instead of values
    if (!(s.rv > 0)) s.rv = 1;
    if (warm && o.rho <= 0 && last_rv_ > 0) s.rv = last_rv_, s.rz = last_rz_; // and its factor
    if (o.rho <= 0 && o.rho_start > 0) s.rv = o.rho_start;

    Anderson<T> anderson(size, s.split, std::max<index_t>(o.memory, 1), program_.threads(),
                         steps.queue(), sharing);
    if (squared) {
        steps.convert(m, program_.loss.targets().data(), s.target.data());
        graph.fix_target(s.target.data());
    } else {
        graph.fix_target(nullptr);
    }
    index_t newton_wait = 4, newton_next = 0;
    if (warm) {
        if (last_sets_.blocks > 0) s.sets = std::exchange(last_sets_, ActiveSets());
        std::copy(warm, warm + size, s.v.mirror());
        s.v.send();
        s.restart();
        // Newton from the warm start: along a path it often needs no factorisation at all.
        steps.convert(size, s.r.data(), s.r64.data());
        s.prox(s.r64.data(), s.v.data(), s.sets);
        s.take(s.v);
        if (o.polish && s.newton_price() <= warm_newton && s.polish(result.newton_steps, clock)) {
            record(0);
            if (s.certified()) return finish(Status::converged, 0);
            steps.copy(size, s.polished.data(), s.v.data());
            s.restart();
        }
    }
    graph.set(s.rz / s.rv);
    result.setup = clock.seconds();

    for (index_t k = 0; k < o.maxiter; ++k) {
        monitor.poll();
        steps.convert(size + s.split, s.r.data(), s.r64.data());
        s.prox(s.r64.data(), s.v.data(), s.sets); // v
        if (!squared) s.loss_prox();              // z
        steps.reflect(size, s.v.data(), s.r64.data(), s.a.data());
        if (!squared) steps.reflect(m, s.z.data(), s.r64.data() + size, s.target.data());
        const bool check = (k + 1) % check_every == 0 || k + 1 == o.maxiter;
        s.project(graph, check || !squared,
                  std::max(1e-11, std::min(1e-4, 0.02 * primal))); // u, zeta = F u
        steps.relax(size, o.relaxation, s.r.data(), s.u.data(), s.v.data(), s.rn.data());
        if (!squared)
            steps.relax(m, o.relaxation, s.r.data() + size, s.zeta.data(), s.z.data(),
                        s.rn.data() + size);

        const auto of_v =
            s.over_ranks(sharing.weights, steps.distances(size, s.r64.data(), s.v.data(),
                                                          s.v_prev.data(), s.u.data()));
        const double off = of_v.from_y;
        primal = of_v.length > 0 ? off / of_v.length : unlimited;
        dual = of_v.from_last / std::max(of_v.from_state, 1e-300);
        s.watch();

        if (check || monitor.wanted()) s.take(s.v);
        if (check && program_.robust) {
            s.bound(s.sets);
        } else if (check && program_.loss.smooth()) {
            steps.convert(m, s.zeta.data(), s.zeta64.data());
            s.bound(s.zeta64.data(), s.sets);
        } else if (check) { // the subgradient at z that its prox found
            steps.scaled_difference(m, s.rz, s.r64.data() + size, s.z.data(), s.theta.data());
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
            any_rank(sharing.comm(), monitor.stop({k + 1, size, s.best.fetch(), s.best_fun,
                                                   s.best_dual, primal, dual})))
            return finish(Status::stopped_by_callback, k + 1);
        if (s.certified()) return finish(Status::converged, k + 1);
        if (clock.over()) return finish(Status::maxtime, k + 1);

        const bool rebalancing =
            o.rho <= 0 && std::find(std::begin(penalty_checks), std::end(penalty_checks), k + 1) !=
                              std::end(penalty_checks);
        double fv = 1, fz = 1;
        if (rebalancing) {
            fv = s.rebalance(of_v);
            if (!squared)
                fz = s.rebalance(s.over_ranks(sharing.samples,
                                              steps.distances(m, s.r64.data() + size, s.z.data(),
                                                              s.z_prev.data(), s.zeta.data())));
        }
        steps.copy(size, s.v.data(), s.v_prev.data());
        if (!squared) steps.copy(m, s.z.data(), s.z_prev.data());
        if (fv != 1 || fz != 1) { // the multipliers rho (rn - x) stay
            steps.rescale(size, fv, s.v.data(), s.rn.data(), s.r.data());
            if (!squared) steps.rescale(m, fz, s.z.data(), s.rn.data() + size, s.r.data() + size);
            s.rv *= fv, s.rz *= fz;
            graph.set(s.rz / s.rv);
            anderson.clear();
        } else if (o.memory > 0) {
            anderson.next(s.r.data(), s.rn.data(), s.rv, s.rz);
        } else {
            steps.copy(size + s.split, s.rn.data(), s.r.data());
        }
    }
    return finish(Status::maxiter, o.maxiter);
}

template class SplittingSolver<double>;
template class SplittingSolver<float>;

} // namespace fastopt

#include "sketch_newton/newton.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "sketch_newton/newton_parts.hpp"

namespace fastopt {
namespace {

constexpr double armijo = 1e-4, eps = std::numeric_limits<double>::epsilon();
constexpr double shortest = 1e-6;          // step lengths below it count as failure
constexpr double nu = 1.5;                 // eta1 *= nu^2, eta2 /= nu
constexpr double largest_multiplier = 1e3; // of a least-squares start; larger ones start at zero
constexpr int patience = 3;                // short steps, or failures, in a row
constexpr double regular = 1e-8;           // dc for a rank-deficient Jacobian
constexpr int most_saddles = 10;

class Newton {
  public:
    Newton(NewtonFunctions& functions, NewtonMonitor& monitor, const std::vector<double>& x0,
           index_t m, const NewtonOptions& options)
        : o_(options), s_(functions, monitor, static_cast<index_t>(x0.size()), m, options),
          n_(static_cast<index_t>(x0.size())), m_(m), x0_(x0),
          filter_mode_(options.globalisation == Globalisation::filter) {}

    NewtonResult run() {
        Status status;
        try {
            status = start();
            if (status == Status::running) status = loop();
        } catch (const Stop& stop) {
            status = stop.status;
        }
        return finish(status);
    }

  private:
    // ---- the loop ----------------------------------------------------------------------------

    // One iteration: one evaluation of g, J and Hess L, one factorisation or preconditioner of the
    // KKT matrix, one to three solves, and a value of f and c for each trial point (of g and J too
    // while the merit function judges).
    Status loop() {
        for (;;) {
            const bool done = converged();
            if (k_ > 0 && tell()) return Status::stopped_by_callback;
            if (done && !leave_saddle()) return Status::converged;
            if (done) {
                ++k_;
                continue;
            }
            if (k_ >= o_.maxiter) return Status::maxiter;
            if (Status st = escape(); st != Status::running) return st;
            const bool moved = o_.globalisation == Globalisation::adasketch ? paper_step() : step();
            if (!moved) {
                if (Status st = recover(); st != Status::running) return st;
            }
            ++k_;
        }
    }

    Status start() {
        p_.x = x0_;
        constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
        p_.f = unknown, p_.c.assign(m_, unknown);
        p_.g.assign(n_, unknown), p_.j.assign(m_ * n_, unknown);
        best_ = p_, best_l_.assign(m_, 0.0);
        best_residual_ = {unknown, unknown, unknown};
        const bool known = s_.values(p_) && s_.derivatives(p_);
        best_ = p_;
        if (!known) return Status::not_finite;
        s_.choose_scale(p_);
        filter_.reset(norm_one(p_.c));
        reset_multipliers();
        f0_ = p_.f;
        best_ = p_, best_l_ = l_, best_residual_ = s_.residual(p_, l_);
        // Square systems, and objectives that say nothing, are solved for c = 0 first.
        if (m_ > 0 && o_.globalisation != Globalisation::adasketch &&
            (m_ >= n_ || norm_inf(p_.g) == 0)) {
            NewtonPoint q = p_;
            if (to_feasibility(q)) settle(std::move(q));
        }
        return Status::running;
    }

    // The KKT residual of the user's problem meets tol, with the current or with least-squares
    // multipliers. |g + J'l| is wanted below tol itself; where |g| is large and two more steps do
    // not bring it there, below tol |g|.
    bool converged() {
        Residual r = s_.residual(p_, l_);
        if (m_ > 0 && r.primal <= std::fmax(1e-3, o_.tol)) {
            std::vector<double> l = least_squares_multipliers(p_);
            const Residual other = s_.residual(p_, l);
            if (other.dual < r.dual && (other.dual <= o_.tol || ten_times_better(l))) {
                l_ = std::move(l), r = other;
            }
        }
        residual_ = r;
        const bool meets = r.worst() <= o_.tol, best_meets = best_residual_.worst() <= o_.tol;
        if (meets != best_meets ? meets : r.absolute() <= best_residual_.absolute())
            best_ = p_, best_l_ = l_, best_residual_ = r;
        if (!meets) return false;
        return r.dual_abs <= o_.tol || ++close_ > 2;
    }

    bool ten_times_better(const std::vector<double>& l) const {
        std::vector<double> a(n_), b(n_);
        lagrangian_gradient(p_, l.data(), a.data());
        lagrangian_gradient(p_, l_.data(), b.data());
        return norm(a) <= 0.1 * norm(b) &&
               merit_.value(p_, l.data()) <= merit_.value(p_, l_.data());
    }

    // At a KKT point that may be a saddle point or a maximum: x0 itself, one reached by shifted
    // steps, or by a linear solver that sees no inertia. A move along negative curvature that
    // lowers f on the constraints, if there is one.
    bool leave_saddle() {
        const bool suspect = k_ == 0 || dw_ > 0 || blind();
        if (!suspect || !o_.second_order || o_.globalisation == Globalisation::adasketch ||
            n_saddles_ == most_saddles)
            return false;
        try {
            w_ = s_.curvature(p_, 1.0, l_);
            const LeastCurvature least = least_curvature();
            if (!least.negative()) return false;
            for (double t = 0.1 * std::fmax(1.0, norm(p_.x)); t > 1e-6; t *= 0.1)
                for (const double side : {t, -t})
                    if (slide(least, side)) return true;
        } catch (const Stop&) {
        }
        return false; // the KKT point stands
    }

    bool blind() const { return solver_ && !solver_->exact() && !solver_->checks_curvature(); }

    LeastCurvature least_curvature() {
        const auto multiply = [this](const double* v, double* out) { w_->multiply(v, out); };
        return fastopt::least_curvature(n_, m_, p_.j.data(), multiply, s_.monitor());
    }

    // f falls by t^2 |curvature| / 2 along the constraints, to second order.
    bool slide(const LeastCurvature& least, double t) {
        NewtonPoint q = trial_at(least.v, t);
        if (!s_.values(q) || !s_.derivatives(q)) return false;
        const bool feasible = s_.residual(q, l_).primal <= o_.tol;
        if (!feasible && !to_feasibility(q)) return false;
        const double fall = std::fmax(0.05 * t * t * -least.value, 10 * eps * std::fabs(p_.f));
        if (!(q.f < p_.f - fall)) return false;
        settle(std::move(q));
        best_ = p_, best_l_ = l_, best_residual_ = s_.residual(p_, l_);
        alpha_ = std::fabs(t), dw_ = 0, failures_ = 0, close_ = 0, ++n_saddles_;
        reference_ = std::numeric_limits<double>::infinity();
        filter_.reset(norm_one(p_.c));
        return true;
    }

    Status escape() const {
        // From a start that is itself far out nothing can be told by |x|.
        const double size = norm_inf(p_.x), out = std::fmax(1.0, norm_inf(x0_));
        const bool near = norm_inf(p_.c) <= 1e-3 + 1e-6 * norm_inf(p_.j) * size;
        const bool far = (out < 1e20 && size > 1e15 * out) ||
                         (p_.f < -1e20 * std::fmax(1.0, std::fabs(f0_)) && near);
        return far ? Status::unbounded : Status::running;
    }

    bool tell() {
        const Residual& r = residual_;
        NewtonRecord record;
        record.nit = k_;
        record.nfev = s_.functions().evaluations();
        record.fun = s_.user_value(p_.f);
        record.constr_violation = r.primal;
        record.optimality = r.dual_abs;
        record.step = alpha_;
        record.seconds = s_.seconds();
        record.shift = dw_;
        record.inner_iterations = solver_ ? solver_->iterations : sketch_.draws;
        record.sketch_rows = solver_ ? solver_->sketch_rows : 0;
        if (o_.record_history) history_.push_back(record);
        record.x = &p_.x;
        return any_rank(o_.comm, s_.monitor().stop(record));
    }

    // ---- one step -----------------------------------------------------------------------------

    bool step() {
        w_ = s_.curvature(p_, 1.0, l_);
        lagrangian_gradient(p_, l_.data(), (gl_.resize(n_), gl_.data()));
        r_ = gl_;
        r_.insert(r_.end(), p_.c.begin(), p_.c.end());
        residual_norm_ = norm(r_);
        choose();
        if (!direction(forcing())) return false;
        if (fast_accept()) return moves();
        if (feasible_descent()) return moves();
        if (!filter_mode_) {
            if (merit_step()) return leave_merit_when_slow();
            to_filter();
        }
        if (!filter_step()) return false;
        slow_ = alpha_ < 0.05 ? slow_ + 1 : 0;
        if (slow_ >= patience && residual_.primal > o_.tol) {
            slow_ = 0;
            return false;
        }
        return moves();
    }

    bool paper_step() {
        const bool ok = sketch_.step(s_, p_, l_, merit_, o_.kkt, alpha_);
        w_ = nullptr;
        return ok;
    }

    void choose() {
        if (solver_) return;
        LinearSolver solver = o_.kkt.linear_solver;
        if (solver == LinearSolver::automatic) {
            Choice choice = choose_solver(*w_, n_, m_);
            solver = choice.solver, reason_ = choice.reason;
        } else {
            reason_ = "asked for";
        }
        solver_ = make_solver(solver, o_.kkt);
        solver_->poll = [this] { s_.poll(); };
    }

    // Eisenstat, Walker: quadratic convergence, and no solve more accurate than its step deserves.
    double forcing() {
        const double ratio = last_norm_ > 0 ? residual_norm_ / last_norm_ : 1.0;
        const double wanted = std::fmin(0.1, 0.9 * ratio * ratio);
        last_norm_ = residual_norm_;
        return std::fmax(wanted, std::fmax(1e-12, std::fmin(0.1, 0.1 * o_.tol / residual_norm_)));
    }

    // d = [dx; dl] with the inertia (or, from an inexact solve, the curvature) of a descent step.
    bool direction(double rtol) {
        const bool first = dw_last_ == 0;
        double dw = std::fmax(dw_floor_, 0.0), dc = 0;
        if (blind() && n_saddles_ > 0) { // it has led to a saddle point before
            const LeastCurvature least = least_curvature();
            if (least.value < 0) dw = std::fmax(dw, -1.5 * least.value);
        }
        bool same = false;
        for (;;) {
            s_.poll();
            k_system_ = {n_, m_, w_.get(), p_.j.data(), dw, dc};
            Shape shape = solver_->factor(k_system_, same);
            same = true;
            if (shape == Shape::not_finite) throw Stop{Status::not_finite};
            if (shape == Shape::right) {
                d_.assign(n_ + m_, 0.0);
                shape = solver_->solve(r_.data(), rtol, d_.data());
                if (shape == Shape::right && !finite(d_)) shape = Shape::singular;
                if (shape == Shape::right && !solver_->exact() && !solver_->checks_curvature() &&
                    !curves_up(dw))
                    shape = Shape::indefinite;
                if (shape == Shape::inaccurate && finite(d_) && curves_up(dw) && descends())
                    shape = Shape::right;
                else if (shape == Shape::inaccurate)
                    shape = Shape::singular;
            }
            if (shape == Shape::right) break;
            if (shape == Shape::singular && dc == 0 && m_ > 0) {
                dc = regular;
                continue;
            }
            if (dw == 0)
                dw = first ? 1e-4 : std::fmax(1e-20, dw_last_ / 3);
            else
                dw *= first ? 100 : 8;
            if (!(dw < 1e40)) {
                std::vector<double> v(n_, 1.0), wv(n_);
                w_->multiply(v.data(), wv.data());
                if (!finite(wv)) throw Stop{Status::not_finite};
                singular_ = true;
                return false;
            }
        }
        dw_ = dw;
        if (dw > 0) dw_last_ = dw;
        cap();
        return true;
    }

    bool curves_up(double dw) const { // dx'(W + dw I)dx >= 1e-8 |dx|^2
        std::vector<double> dx(d_.begin(), d_.begin() + n_), wdx(n_);
        w_->multiply(dx.data(), wdx.data());
        const double size = dot(dx, dx);
        if (dot(dx, wdx) + dw * size >= 1e-8 * size) return true;
        // Away from the null space of J the curvature may have any sign: penalise J dx.
        if (m_ == 0) return false;
        std::vector<double> jdx(m_);
        gemv<double>(false, m_, n_, 1.0, p_.j.data(), n_, dx.data(), 0.0, jdx.data());
        return dot(jdx, jdx) > 1e-4 * size;
    }

    bool descends() const {
        const Slopes t = slopes();
        return t.at(merit_) <= 0 || (m_ == 0 && dot(p_.g, dx()) < 0);
    }

    std::vector<double> dx() const { return {d_.begin(), d_.begin() + n_}; }

    void cap() { // |dx| <= 1e3 max(1, |x|)
        const double size = norm(dx()), most = 1e3 * std::fmax(1.0, norm(p_.x));
        if (size > most)
            for (double& v : d_) v *= most / size;
    }

    NewtonPoint trial_at(const std::vector<double>& d, double alpha) const {
        NewtonPoint t;
        t.x = p_.x;
        for (index_t i = 0; i < n_; ++i) t.x[i] += alpha * d[i];
        return t;
    }
    std::vector<double> multipliers_at(const std::vector<double>& d, double alpha) const {
        std::vector<double> l(l_);
        for (index_t i = 0; i < m_; ++i) l[i] += alpha * d[n_ + i];
        return l;
    }

    bool accept(NewtonPoint&& p, std::vector<double>&& l, double alpha) {
        before_ = p_.x;
        p_ = std::move(p), l_ = std::move(l), alpha_ = alpha;
        failures_ = 0, dw_floor_ = 0;
        return true;
    }

    // False when three steps in a row have not moved x beyond rounding.
    bool moves() {
        double change = 0;
        for (index_t i = 0; i < n_; ++i)
            change = std::fmax(change, std::fabs(p_.x[i] - before_[i]));
        still_ = change <= 4 * eps * std::fmax(1.0, norm_inf(p_.x)) ? still_ + 1 : 0;
        return still_ < patience;
    }

    void try_full() {
        full_ = trial_at(d_, 1.0), full_l_ = multipliers_at(d_, 1.0);
        full_values_ = s_.values(full_), full_derivatives_ = false;
    }

    // The full step is taken without a line search when it cuts the KKT residual.
    bool fast_accept() {
        try_full();
        if (!full_values_ || !o_.fast_accept) return false;
        // A point far worse in c alone cannot pass; its derivatives are left for the line search.
        if (norm(full_.c) > 0.9 * residual_norm_) return false;
        full_derivatives_ = s_.derivatives(full_);
        if (!full_derivatives_) return false;
        std::vector<double> gl(n_);
        lagrangian_gradient(full_, full_l_.data(), gl.data());
        const double size = std::hypot(norm(gl), norm(full_.c));
        if (!(size <= 0.9 * std::fmin(reference_, residual_norm_))) return false;
        reference_ = size;
        slow_ = 0;
        return accept(std::move(full_), std::move(full_l_), 1.0);
    }

    // Where x and x + dx are both feasible (no constraints, or linear ones that hold), f itself is
    // the merit function: no gradients at the trials.
    bool feasible_descent() {
        const double slope = dot(p_.g, dx()), held = std::fmax(1e-3 * o_.tol, 1e-13);
        if (!(slope < 0) || norm_inf(p_.c) > held) return false;
        if (full_values_ && norm_inf(full_.c) > held) return false;
        const double slack = 10 * eps * std::fabs(p_.f);
        for (double alpha = 1; alpha >= shortest;) {
            NewtonPoint q = trial_at(d_, alpha);
            const bool known = alpha == 1.0 && full_values_;
            if (known) q.f = full_.f, q.c = full_.c;
            if (!known && (alpha == 1.0 || !s_.values(q))) {
                alpha *= 0.5;
                continue;
            }
            if (norm_inf(q.c) > held) return false;
            if (q.f <= p_.f + armijo * alpha * slope + slack && s_.derivatives(q)) {
                slow_ = 0;
                return accept(std::move(q), multipliers_at(d_, alpha), alpha);
            }
            alpha *= 0.5;
        }
        return false;
    }

    // ---- exact augmented Lagrangian -----------------------------------------------------------

    struct Slopes { // grad M'd = lagrangian + eta1 penalty + eta2 dual
        double lagrangian, penalty, dual;
        double at(const Merit& m) const { return lagrangian + m.eta1 * penalty + m.eta2 * dual; }
    };
    Slopes slopes() const {
        const std::vector<double> step = dx();
        std::vector<double> wg(n_), jdx(m_), jg(m_);
        w_->multiply(gl_.data(), wg.data());
        Slopes t{dot(gl_, step), 0, dot(wg, step)};
        if (m_ > 0) {
            gemv<double>(false, m_, n_, 1.0, p_.j.data(), n_, step.data(), 0.0, jdx.data());
            gemv<double>(false, m_, n_, 1.0, p_.j.data(), n_, gl_.data(), 0.0, jg.data());
            for (index_t i = 0; i < m_; ++i) {
                t.lagrangian += p_.c[i] * d_[n_ + i];
                t.penalty += p_.c[i] * jdx[i];
                t.dual += jg[i] * d_[n_ + i];
            }
        }
        return t;
    }

    bool merit_step() {
        Slopes t = slopes();
        const double square = residual_norm_ * residual_norm_;
        for (double rtol = 1e-4; t.at(merit_) > -0.5 * merit_.eta2 * square;) {
            if (!solver_->exact() && rtol > 1e-9) { // first of all a better direction
                if (!direction(rtol)) return false;
                try_full();
                rtol *= 1e-3;
            } else {
                merit_.eta1 *= nu * nu, merit_.eta2 /= nu;
                if (merit_.eta1 > 1e10 || merit_.eta2 < 1e-10) return false;
            }
            t = slopes();
        }
        const double slope = t.at(merit_), now = merit_.value(p_, l_.data());
        const auto lower = [&](const NewtonPoint& q, const std::vector<double>& l, double alpha) {
            const double then = merit_.value(q, l.data());
            return then <= now + armijo * alpha * slope + 10 * eps * std::fabs(now);
        };
        double alpha = 1;
        if (full_values_ && !full_derivatives_) full_derivatives_ = s_.derivatives(full_);
        if (full_values_ && full_derivatives_) {
            if (lower(full_, full_l_, 1.0))
                return accept(std::move(full_), std::move(full_l_), 1.0);
            if (std::vector<double> d; corrected(full_.c, p_.c, d)) {
                NewtonPoint q = trial_at(d, 1.0);
                std::vector<double> l = multipliers_at(d, 1.0);
                if (s_.values(q) && s_.derivatives(q) && lower(q, l, 1.0))
                    return accept(std::move(q), std::move(l), 1.0);
            }
            // the minimiser of the parabola through M, its slope and this trial
            const double then = merit_.value(full_, full_l_.data());
            alpha = shorten(1.0, now, slope, then);
        } else {
            alpha = 0.5;
        }
        for (; alpha >= shortest;) {
            NewtonPoint q = trial_at(d_, alpha);
            std::vector<double> l = multipliers_at(d_, alpha);
            if (!s_.values(q) || !s_.derivatives(q)) {
                alpha *= 0.5;
                continue;
            }
            if (lower(q, l, alpha)) return accept(std::move(q), std::move(l), alpha);
            alpha = shorten(alpha, now, slope, merit_.value(q, l.data()));
        }
        return false;
    }

    static double shorten(double alpha, double now, double slope, double then) {
        const double best = -slope * alpha * alpha / (2 * (then - now - slope * alpha));
        return std::isfinite(best) ? std::clamp(best, 0.1 * alpha, 0.5 * alpha) : 0.5 * alpha;
    }

    bool leave_merit_when_slow() {
        slow_ = alpha_ < 0.05 ? slow_ + 1 : 0;
        if (slow_ >= patience) to_filter();
        return moves();
    }

    void to_filter() {
        filter_mode_ = true, slow_ = 0;
        filter_.reset(norm_one(p_.c));
    }

    // Second-order correction: the step for the constraints c(x + dx) + c(x), when it changes dx by
    // no more than dx.
    bool corrected(const std::vector<double>& c_then, std::vector<double> c_sum,
                   std::vector<double>& d) {
        if (m_ == 0 || !o_.corrections) return false;
        for (index_t i = 0; i < m_; ++i) c_sum[i] += c_then[i];
        std::vector<double> r(gl_);
        r.insert(r.end(), c_sum.begin(), c_sum.end());
        d.assign(n_ + m_, 0.0);
        if (solver_->solve(r.data(), 1e-4, d.data()) != Shape::right || !finite(d)) return false;
        double change = 0;
        for (index_t i = 0; i < n_; ++i) change += (d[i] - d_[i]) * (d[i] - d_[i]);
        return std::sqrt(change) <= norm(dx());
    }

    // ---- filter -------------------------------------------------------------------------------

    bool filter_step() {
        const double theta = norm_one(p_.c), slope = dot(p_.g, dx());
        const auto acceptable = [&](const NewtonPoint& q, double alpha, bool& f_type) {
            const double theta_q = norm_one(q.c);
            if (!filter_.accepts(theta_q, q.f)) return false;
            f_type = theta <= filter_.theta_min() && slope < 0 &&
                     alpha * std::pow(-slope, 2.3) > std::pow(theta, 1.1);
            const double slack = 10 * eps * std::fabs(p_.f);
            if (f_type) return q.f <= p_.f + 1e-8 * alpha * slope + slack;
            return theta_q <= (1 - 1e-5) * theta || q.f <= p_.f - 1e-8 * theta + slack;
        };
        bool f_type = false;
        const auto take = [&](NewtonPoint& q, std::vector<double> l, double alpha) {
            if (!acceptable(q, alpha, f_type)) return false;
            if (q.j.empty() || static_cast<index_t>(q.g.size()) != n_)
                if (!s_.derivatives(q)) return false;
            if (!f_type) filter_.add(theta, p_.f);
            return accept(std::move(q), std::move(l), alpha);
        };
        for (double alpha = 1; alpha >= shortest; alpha *= 0.5) {
            NewtonPoint q = trial_at(d_, alpha);
            if (alpha == 1.0 && full_values_) {
                q.f = full_.f, q.c = full_.c;
                if (full_derivatives_) q.g = full_.g, q.j = full_.j;
            } else if (!s_.values(q)) {
                continue;
            }
            if (take(q, multipliers_at(d_, alpha), alpha)) return true;
            if (alpha == 1.0 && m_ > 0 && norm_one(q.c) >= theta) {
                if (corrections(q, theta, take)) return true;
            }
        }
        return false;
    }

    // Up to four second-order corrections of a full step that raised the violation.
    template <class Take> bool corrections(const NewtonPoint& q, double theta, const Take& take) {
        std::vector<double> sum = p_.c, then = q.c, d;
        double last = std::fmax(theta, norm_one(then));
        for (int correction = 0; correction < 4; ++correction) {
            if (!corrected(then, sum, d)) return false;
            NewtonPoint z = trial_at(d, 1.0);
            if (!s_.values(z)) return false;
            for (index_t i = 0; i < m_; ++i) sum[i] += then[i];
            then = z.c;
            if (take(z, multipliers_at(d, 1.0), 1.0)) return true;
            if (norm_one(then) > 0.99 * last) return false;
            last = norm_one(then);
        }
        return false;
    }

    // ---- when no step was found ---------------------------------------------------------------

    void reset_multipliers() {
        l_ = least_squares_multipliers(p_);
        if (norm_inf(l_) > largest_multiplier) std::fill(l_.begin(), l_.end(), 0.0);
    }

    Status recover() {
        const bool feasible = m_ == 0 || s_.residual(p_, l_).primal <= o_.tol;
        if (feasible && still_ < patience && failures_++ < patience) {
            if (!filter_mode_) to_filter();
            filter_.reset(norm_one(p_.c));
            if (m_ > 0) l_ = least_squares_multipliers(p_);
            dw_floor_ = std::fmax(1e-4, 100 * std::fmax(dw_floor_, dw_));
            return Status::running;
        }
        if (!feasible && o_.globalisation != Globalisation::adasketch) {
            const double theta = norm_one(p_.c);
            NewtonPoint q = p_;
            if (!filter_mode_) to_filter();
            filter_.add(theta, p_.f);
            ++n_restorations_;
            const Restored end = restore(s_, q, [&](const NewtonPoint& z) {
                const double now = norm_one(z.c);
                return now <= 0.9 * theta && filter_.accepts(now, z.f);
            });
            if (end == Restored::accepted && n_restorations_ < 50) {
                settle(std::move(q));
                return Status::running;
            }
            if (end == Restored::stationary && restarted_) {
                worst_ = std::move(q);
                return Status::infeasible;
            }
        }
        if (!restarted_ && m_ > 0 && o_.globalisation != Globalisation::adasketch) return restart();
        return Status::stalled;
    }

    // Once: from x0 to feasibility, and on with the filter.
    Status restart() {
        restarted_ = true;
        NewtonPoint q;
        q.x = x0_;
        if (!s_.values(q) || !s_.derivatives(q)) return Status::stalled;
        if (to_feasibility(q)) {
            settle(std::move(q));
            failures_ = 0, still_ = 0, reference_ = std::numeric_limits<double>::infinity();
            filter_.reset(norm_one(p_.c));
            return Status::running;
        }
        if (stationary_) {
            worst_ = std::move(q);
            return Status::infeasible;
        }
        return Status::stalled;
    }

    bool to_feasibility(NewtonPoint& q) {
        const std::vector<double> none(m_, 0.0);
        const double wanted = std::fmin(0.1 * o_.tol, 1e-9);
        const Restored end = restore(
            s_, q, [&](const NewtonPoint& z) { return s_.residual(z, none).primal <= wanted; });
        stationary_ = end == Restored::stationary && s_.residual(q, none).primal > o_.tol;
        return end == Restored::accepted || s_.residual(q, none).primal <= o_.tol;
    }

    void settle(NewtonPoint&& q) { // go on from a restored point
        before_ = p_.x, p_ = std::move(q), alpha_ = 1;
        reset_multipliers();
        filter_mode_ = o_.globalisation != Globalisation::adasketch;
        dw_floor_ = 0, slow_ = 0, still_ = 0, last_norm_ = 0;
    }

    // ---- the end ------------------------------------------------------------------------------

    NewtonResult finish(Status status) {
        NewtonResult result;
        NewtonPoint& end = status == Status::infeasible && worst_.x.size() ? worst_ : best_;
        if (status == Status::infeasible && worst_.x.size())
            best_l_ = least_squares_multipliers(end), best_residual_ = s_.residual(end, best_l_);
        if (status == Status::unbounded)
            end = p_, best_l_ = l_, best_residual_ = s_.residual(p_, l_);
        result.status = status;
        result.singular = singular_ && status == Status::stalled;
        result.x = end.x;
        result.l = s_.user_multipliers(best_l_);
        s_.unscale(end);
        result.fun = end.f, result.gradient = end.g, result.c = end.c, result.jacobian = end.j;
        result.optimality = best_residual_.dual_abs;
        result.constr_violation = best_residual_.primal;
        result.kkt_residual = best_residual_.worst();
        result.nit = k_, result.n_restorations = n_restorations_;
        result.eta1 = merit_.eta1, result.eta2 = merit_.eta2, result.shift = dw_;
        result.filter = filter_mode_;
        if (solver_) {
            result.linear_solver = solver_->name(), result.reason = reason_;
            result.inner_iterations = solver_->iterations;
            result.sketch_rows = solver_->sketch_rows, result.n_sketches = solver_->n_sketches;
        } else if (o_.globalisation == Globalisation::adasketch) {
            result.linear_solver = "adasketch", result.reason = "asked for";
            result.inner_iterations = sketch_.draws, result.sketch_rows = 1;
        } else {
            result.linear_solver = "none", result.reason = "x0 needed no step";
        }
        result.history = std::move(history_);
        return result;
    }

    const NewtonOptions& o_;
    ScaledFunctions s_;
    const index_t n_, m_;
    const std::vector<double>& x0_;

    NewtonPoint p_;            // the iterate
    std::vector<double> l_;    // its multipliers
    Residual residual_;        // its KKT residual
    NewtonPoint best_, worst_; // least KKT residual so far; where the violation is stationary
    std::vector<double> best_l_;
    Residual best_residual_;

    std::shared_ptr<const Curvature> w_; // Hess_xx L
    std::unique_ptr<KktSolver> solver_;
    KktSystem k_system_;
    AdaSketch sketch_;
    std::string reason_;
    std::vector<double> gl_, r_, d_, before_;
    double residual_norm_ = 0, last_norm_ = 0;
    double reference_ = std::numeric_limits<double>::infinity(); // of fast_accept
    NewtonPoint full_;                                           // the full step's trial
    std::vector<double> full_l_;
    bool full_values_ = false, full_derivatives_ = false;

    Merit merit_;
    Filter filter_;
    bool filter_mode_, restarted_ = false, stationary_ = false, singular_ = false;
    double f0_ = 0, alpha_ = 0, dw_ = 0, dw_last_ = 0, dw_floor_ = 0;
    int slow_ = 0, still_ = 0, failures_ = 0, close_ = 0, n_saddles_ = 0;
    index_t k_ = 0, n_restorations_ = 0;
    std::vector<NewtonRecord> history_;
};

} // namespace

NewtonResult solve_newton(NewtonFunctions& functions, NewtonMonitor& monitor,
                          const std::vector<double>& x0, index_t m, const NewtonOptions& options) {
    FASTOPT_REQUIRE(!x0.empty(), "x0 must have at least one entry");
    FASTOPT_REQUIRE(options.maxiter >= 0 && options.maxfev >= 1,
                    "maxiter and maxfev must be positive");
    const ScopedPoll poll([&monitor] { monitor.poll(); });
    return Newton(functions, monitor, x0, m, options).run();
}

} // namespace fastopt

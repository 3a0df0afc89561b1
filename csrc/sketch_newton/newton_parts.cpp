#include "sketch_newton/newton_parts.hpp"

#include <algorithm>
#include <cmath>

namespace fastopt {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}
double norm_inf(const std::vector<double>& v) {
    double most = 0;
    for (double x : v) most = std::fmax(most, std::fabs(x));
    return most;
}
double norm(const std::vector<double>& v) {
    const double unit = norm_inf(v);
    if (unit == 0 || !std::isfinite(unit)) return unit;
    double sum = 0;
    for (double x : v) sum += (x / unit) * (x / unit);
    return unit * std::sqrt(sum);
}
double norm_one(const std::vector<double>& v) {
    double sum = 0;
    for (double x : v) sum += std::fabs(x);
    return sum;
}
bool finite(const std::vector<double>& v) {
    return std::all_of(v.begin(), v.end(), [](double x) { return std::isfinite(x); });
}

void lagrangian_gradient(const NewtonPoint& p, const double* l, double* out) {
    const index_t n = static_cast<index_t>(p.x.size()), m = static_cast<index_t>(p.c.size());
    std::copy(p.g.begin(), p.g.end(), out);
    if (m > 0) gemv<double>(true, m, n, 1.0, p.j.data(), n, l, 1.0, out);
}

double Merit::value(const NewtonPoint& p, const double* l) const {
    std::vector<double> gl(p.x.size());
    lagrangian_gradient(p, l, gl.data());
    double m = p.f;
    for (std::size_t i = 0; i < p.c.size(); ++i) m += l[i] * p.c[i];
    return m + 0.5 * eta1 * dot(p.c, p.c) + 0.5 * eta2 * dot(gl, gl);
}

void Merit::gradient(const NewtonPoint& p, const double* l, const Curvature& w, double* out) const {
    const index_t n = static_cast<index_t>(p.x.size()), m = static_cast<index_t>(p.c.size());
    std::vector<double> gl(p.x.size()), wg(p.x.size());
    lagrangian_gradient(p, l, gl.data());
    w.multiply(gl.data(), wg.data());
    for (index_t i = 0; i < n; ++i) out[i] = gl[i] + eta2 * wg[i];
    if (m == 0) return;
    gemv<double>(true, m, n, eta1, p.j.data(), n, p.c.data(), 1.0, out);
    std::copy(p.c.begin(), p.c.end(), out + n);
    gemv<double>(false, m, n, eta2, p.j.data(), n, gl.data(), 1.0, out + n);
}

std::vector<double> least_squares_multipliers(const NewtonPoint& p) {
    const index_t n = static_cast<index_t>(p.x.size()), m = static_cast<index_t>(p.c.size());
    if (m == 0) return {};
    Buffer<double> jt(n * m), b(std::max(n, m));
    for (index_t i = 0; i < m; ++i)
        for (index_t k = 0; k < n; ++k) jt[k * m + i] = p.j[i * n + k];
    for (index_t k = 0; k < n; ++k) b[k] = -p.g[k];
    gelsy(n, m, jt.data(), m, b.data(), 1e-12);
    std::vector<double> l(b.data(), b.data() + m);
    if (!finite(l)) std::fill(l.begin(), l.end(), 0.0);
    return l;
}

// Products that are looked at: a NaN ends the run instead of wandering through a solver.
class FiniteProducts final : public Curvature {
  public:
    FiniteProducts(std::shared_ptr<const Curvature> w, index_t n) : w_(std::move(w)), n_(n) {}
    void multiply(const double* v, double* out) const override {
        w_->multiply(v, out);
        for (index_t i = 0; i < n_; ++i)
            if (!std::isfinite(out[i]) && std::isfinite(v[i])) throw Stop{Status::not_finite};
    }

  private:
    std::shared_ptr<const Curvature> w_;
    index_t n_;
};

// ---- scaled functions -------------------------------------------------------------------------

ScaledFunctions::ScaledFunctions(NewtonFunctions& functions, NewtonMonitor& monitor, index_t n,
                                 index_t m, const NewtonOptions& options)
    : functions_(functions), monitor_(monitor), n_(n), m_(m), options_(options), sc_(m, 1.0),
      clock_(options.maxtime, options.comm) {}

void ScaledFunctions::choose_scale(NewtonPoint& p) {
    if (!options_.scale) return;
    // Powers of two: scaling costs no rounding, and unscale() gives the user's own numbers.
    const auto scale = [](double largest) {
        const double s = std::clamp(largest > 0 ? 100.0 / largest : 1.0, 1e-8, 1.0);
        return std::exp2(std::floor(std::log2(s)));
    };
    sf_ = scale(norm_inf(p.g));
    p.f *= sf_;
    for (double& g : p.g) g *= sf_;
    for (index_t i = 0; i < m_; ++i) {
        double largest = 0;
        for (index_t k = 0; k < n_; ++k) largest = std::fmax(largest, std::fabs(p.j[i * n_ + k]));
        sc_[i] = scale(largest);
        p.c[i] *= sc_[i];
        for (index_t k = 0; k < n_; ++k) p.j[i * n_ + k] *= sc_[i];
    }
}

void ScaledFunctions::poll() const {
    if (clock_.over()) throw Stop{Status::maxtime};
    monitor_.poll();
}

bool ScaledFunctions::values(NewtonPoint& p) {
    if (functions_.evaluations() >= options_.maxfev) throw Stop{Status::maxfev};
    poll();
    p.c.resize(m_);
    p.f = sf_ * functions_.value(p.x.data());
    if (!std::isfinite(p.f)) return false;
    if (m_ > 0) functions_.constraints(p.x.data(), p.c.data());
    for (index_t i = 0; i < m_; ++i) p.c[i] *= sc_[i];
    return finite(p.c);
}

bool ScaledFunctions::derivatives(NewtonPoint& p) {
    p.g.resize(n_), p.j.resize(m_ * n_);
    functions_.gradient(p.x.data(), p.g.data());
    for (double& g : p.g) g *= sf_;
    if (m_ > 0) functions_.jacobian(p.x.data(), p.j.data());
    for (index_t i = 0; i < m_; ++i)
        for (index_t k = 0; k < n_; ++k) p.j[i * n_ + k] *= sc_[i];
    return finite(p.g) && finite(p.j);
}

std::shared_ptr<const Curvature> ScaledFunctions::curvature(const NewtonPoint& p, double sigma,
                                                            const std::vector<double>& l) {
    std::vector<double> weights(l);
    for (index_t i = 0; i < m_; ++i) weights[i] *= sc_[i];
    auto w = functions_.curvature(p.x.data(), sigma * sf_, weights.data());
    const auto check = [](const double* v, index_t count) {
        for (index_t i = 0; v && i < count; ++i)
            if (!std::isfinite(v[i])) throw Stop{Status::not_finite};
    };
    check(w->dense(), n_ * n_);
    if (const Gram* q = w->gram()) {
        check(q->w, q->a.rows), check(q->dense, n_ * n_);
        check(q->diagonal, n_), check(&q->scalar, 1);
    } else if (!w->dense()) {
        w = std::make_shared<FiniteProducts>(std::move(w), n_);
    }
    return w;
}

void ScaledFunctions::unscale(NewtonPoint& p) const {
    p.f /= sf_;
    for (double& g : p.g) g /= sf_;
    for (std::size_t i = 0; i < p.c.size(); ++i) p.c[i] /= sc_[i];
    for (std::size_t i = 0; i < p.j.size(); ++i) p.j[i] /= sc_[i / static_cast<std::size_t>(n_)];
}

std::vector<double> ScaledFunctions::user_multipliers(const std::vector<double>& l) const {
    std::vector<double> out(l);
    for (index_t i = 0; i < m_; ++i) out[i] *= sc_[i] / sf_;
    return out;
}

Residual ScaledFunctions::residual(const NewtonPoint& p, const std::vector<double>& l) const {
    std::vector<double> gl(p.x.size());
    lagrangian_gradient(p, l.data(), gl.data());
    Residual r;
    r.dual_abs = norm_inf(gl) / sf_;
    r.dual = r.dual_abs / std::fmax(1.0, norm_inf(p.g) / sf_);
    for (index_t i = 0; i < m_; ++i) r.primal = std::fmax(r.primal, std::fabs(p.c[i]) / sc_[i]);
    return r;
}

// ---- filter -----------------------------------------------------------------------------------

void Filter::reset(double theta) {
    unit_ = std::fmax(1.0, theta);
    entries_.clear();
}

bool Filter::accepts(double theta, double phi) const {
    if (!(theta <= 1e4 * unit_)) return false;
    return std::none_of(entries_.begin(), entries_.end(), [&](const std::pair<double, double>& e) {
        return theta >= e.first && phi >= e.second;
    });
}

void Filter::add(double theta, double phi) {
    entries_.emplace_back((1 - 1e-5) * theta, phi - 1e-8 * theta);
}

} // namespace fastopt

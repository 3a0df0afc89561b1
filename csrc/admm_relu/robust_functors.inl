// The mathematics of robust.hpp for one sample, for every backend. Included inside a namespace,
// after loss_functors.inl.

// The root in [lo, hi] of an increasing function, given with its slope by f(x, slope): Newton
// inside the bracket, then bisection.
template <class F>
FASTOPT_HD double increasing_root(double lo, double hi, double start, const F& f) {
    constexpr int newton_steps = 30, bisections = 60;
    const double width = hi - lo;
    double x = start;
    for (int i = 0; i < newton_steps + bisections && hi - lo > 1e-16 * width; ++i) {
        double slope = 0;
        const double value = f(x, slope);
        if (value == 0) return x;
        (value < 0 ? lo : hi) = x;
        double next = i < newton_steps ? x - value / slope : 0.5 * (lo + hi);
        if (!(next >= lo && next <= hi)) next = 0.5 * (lo + hi);
        if (vabs(next - x) <= 1e-16 * width) return next;
        x = next;
    }
    return x;
}

// One sample's prox: q(theta, tau) = soft(a - tau x / rho, theta e / rho).
struct RobustRow {
    index_t d, stride; // of a and q
    double y, weight, rho;
    const double* x;
    const double* e;
    const double* a;
    double* q;

    double theta = 0, tau = 0;
    // Sums of q and of its active part: f = x'q, h = e'|q|, and x'x, x's e, e'e where q != 0.
    double f = 0, h = 0, xx = 0, xe = 0, ee = 0;
    FASTOPT_HD void at(double theta_, double tau_) {
        theta = theta_, tau = tau_;
        f = h = xx = xe = ee = 0;
        for (index_t k = 0; k < d; ++k) {
            const double from = a[k * stride] - tau * x[k] / rho, cut = theta * e[k] / rho;
            const double size = vabs(from) - cut;
            if (!(size > 0)) {
                q[k * stride] = 0;
                continue;
            }
            q[k * stride] = ::copysign(size, from);
            const double se = ::copysign(e[k], from);
            f += x[k] * q[k * stride], h += e[k] * size;
            xx += x[k] * x[k], xe += x[k] * se, ee += e[k] * e[k];
        }
    }

    // phi(y f - h): theta = -phi'(margin), which grows with theta.
    FASTOPT_HD double margin() const { return y * f - h; }
    FASTOPT_HD double margin_slope() const { return (xx - 2 * y * xe + ee) / rho; }
    FASTOPT_HD double slack() const { return margin() < 1 ? 1 - margin() : 0.0; }

    // For the squared loss: the tau in [-theta, theta] with the largest dual value, where x'q = y
    // or at an end.
    FASTOPT_HD void best_tau(double theta_) {
        at(theta_, -theta_);
        if (f <= y || !(theta_ > 0)) return;
        at(theta_, theta_);
        if (f >= y) return;
        const double best =
            increasing_root(-theta_, theta_, theta_, [&](double candidate, double& slope) {
                at(theta_, candidate);
                slope = xx / rho;
                return y - f;
            });
        at(theta_, best);
    }

    FASTOPT_HD void solve(LossKind kind) {
        const double s = weight;
        at(0, 0);
        switch (kind) {
        case LossKind::squared: { // theta / s = |f - y| + h, both of which fall with theta
            const double top = s * (vabs(f - y) + h);
            if (!(top > 0)) return;
            const auto residual = [&](double candidate, double& slope) {
                best_tau(candidate);
                const double edge = vabs(tau) < theta ? 0.0 : ::copysign(1.0, tau);
                slope = 1 / s + (edge != 0 ? xx + 2 * edge * xe + ee
                                 : xx > 0  ? ee - xe * xe / xx
                                           : ee) /
                                    rho;
                return candidate / s - (vabs(f - y) + h);
            };
            best_tau(increasing_root(0, top, top / (1 + s * xx / rho), residual));
            return;
        }
        case LossKind::hinge: {
            if (margin() >= 1) return;
            at(s, -s * y);
            if (margin() <= 1) return;
            const double root = increasing_root(0, s, 0.5 * s, [&](double at_, double& slope) {
                at(at_, -at_ * y);
                slope = margin_slope();
                return margin() - 1;
            });
            at(root, -root * y);
            return;
        }
        default: { // theta + s phi'(margin) = 0
            const bool logistic = kind == LossKind::logistic;
            const double top = logistic ? s : s * slack();
            if (!(top > 0)) return;
            const double root = increasing_root(0, top, 0.5 * top, [&](double at_, double& slope) {
                at(at_, -at_ * y);
                const double m = margin(), p = loss_sigmoid(-m);
                const double push = logistic ? p : slack();
                const double bend = logistic ? p * (1 - p) : m < 1 ? 1.0 : 0.0;
                slope = 1 + s * bend * margin_slope();
                return at_ - s * push;
            });
            at(root, -root * y);
            return;
        }
        }
    }
};

// What the functors below share. Slopes Q (d, n), dual points (d + 2, n).
struct RobustArguments {
    index_t kind_number, n, d;
    const double* x;
    const double* radius;
    const double* y;
    const double* weights; // null: all one

    FASTOPT_HD LossKind kind() const { return static_cast<LossKind>(kind_number); }
    FASTOPT_HD double weight(index_t j) const { return weights ? weights[j] : 1.0; }
};
// The adversary's. Bytes: reads 8 (2 n d + d + n); writes 8 n.
struct WorstPrediction {
    RobustArguments a;
    const double* q;
    double* z;
    FASTOPT_HD void operator()(index_t j) const {
        double f = 0, h = 0;
        for (index_t k = 0; k < a.d; ++k) {
            const double slope = q[k * a.n + j];
            f += a.x[j * a.d + k] * slope;
            h += a.radius[k] * vabs(slope);
        }
        const double y = a.y[j];
        z[j] = a.kind() == LossKind::squared ? f + ::copysign(h, f - y) : f - y * h;
    }
};
// Theta and theta, given tau, where no slope is 0.
// Bytes: reads 8 (2 n d + d + n); writes 8 (n d + n).
struct DualSlopes {
    RobustArguments a;
    const double* q;
    double* t;
    FASTOPT_HD void operator()(index_t j) const {
        const double tau = t[(a.d + 1) * a.n + j], theta = vabs(tau);
        t[a.d * a.n + j] = theta;
        for (index_t k = 0; k < a.d; ++k) {
            const double slope = q[k * a.n + j];
            t[k * a.n + j] = tau * a.x[j * a.d + k] +
                             (slope != 0 ? ::copysign(theta * a.radius[k], slope) : 0.0);
        }
    }
};
// Of the squared loss, beside L*(tau). Bytes: reads 8 (2 n + weighted n); writes 8 n.
struct DualExcess {
    RobustArguments a;
    const double* t;
    double* excess;
    FASTOPT_HD void operator()(index_t j) const {
        const double theta = t[a.d * a.n + j], tau = t[(a.d + 1) * a.n + j];
        excess[j] = 0.5 * (theta * theta - tau * tau) / a.weight(j);
    }
};
// It goes over a row of X, A and Q some ten times.
// Bytes: reads 8 (3 n d + d + n + weighted n); writes 8 (2 n d + 2 n).
struct RobustProx {
    RobustArguments a;
    double rho;
    const double* from;
    double* q;
    double* t;
    FASTOPT_HD void operator()(index_t j) const { row(j, a.n, from + j, q + j); }
    // The same with the sample's own numbers elsewhere.
    FASTOPT_HD void row(index_t j, index_t stride, const double* own, double* to) const {
        RobustRow r{a.d, stride, a.y[j], a.weight(j), rho, a.x + j * a.d, a.radius, own, to};
        r.solve(a.kind());
        t[a.d * a.n + j] = r.theta;
        t[(a.d + 1) * a.n + j] = r.tau;
        for (index_t k = 0; k < a.d; ++k) {
            const double middle = r.tau * r.x[k], wide = r.theta * r.e[k];
            t[k * a.n + j] =
                clip(rho * (own[k * stride] - to[k * stride]), middle - wide, middle + wide);
        }
    }
};

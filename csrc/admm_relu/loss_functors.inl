// The mathematics of the losses, one number or one sample at a time, for every backend. Included
// inside a namespace, after core/vmath.hpp and functions natural_log(x) and log_one_plus(x): the
// CPU takes its library's, a GPU our own, which differ in the last bits. Rows of several outputs
// are strided arrays: number k of row z is z[k * stride].

FASTOPT_HD double loss_sigmoid(double x) {
    const double e = vexp(x < 0 ? x : -x);
    return x < 0 ? e / (1 + e) : 1 / (1 + e);
}
FASTOPT_HD double softplus(double x) {
    return x > 0 ? x + log_one_plus(vexp(-x)) : log_one_plus(vexp(x));
}
FASTOPT_HD double entropy_term(double p) { return p > 0 ? p * natural_log(p) : 0.0; } // p log p
FASTOPT_HD double clip(double x, double lo, double hi) { return x < lo ? lo : x > hi ? hi : x; }

// Rounding may push a dual variable out of its interval; further out it is no dual variable.
FASTOPT_HD bool inside(double& x, double lo, double hi) {
    const double slack = 1e-12 * (hi - lo);
    if (!(x >= lo - slack && x <= hi + slack)) return false;
    x = clip(x, lo, hi);
    return true;
}

// min softplus(-m) + k/2 (m - a)^2: Newton inside the bracket [a, a + 1/k].
FASTOPT_HD double logistic_prox(double a, double k) {
    double lo = a, hi = a + 1 / k, m = a + loss_sigmoid(-a) / (k + 0.25);
    for (int i = 0; i < 60; ++i) {
        const double s = loss_sigmoid(-m), slope = k * (m - a) - s;
        if (slope < 0)
            lo = m;
        else
            hi = m;
        double next = m - slope / (k + s * (1 - s));
        if (!(next > lo && next < hi)) next = 0.5 * (lo + hi);
        const bool done = vabs(next - m) <= 1e-15 * (vabs(a) + 1 / k);
        m = next;
        if (done) break;
    }
    return m;
}

FASTOPT_HD double huber_value(double r, double corner) {
    const double a = vabs(r);
    return a <= corner ? 0.5 * r * r : corner * (a - 0.5 * corner);
}

// p = softmax(z) and log sum exp(z).
FASTOPT_HD double softmax(index_t c, const double* z, index_t stride, double* p, index_t p_stride) {
    double top = z[0], sum = 0;
    for (index_t k = 1; k < c; ++k) top = z[k * stride] > top ? z[k * stride] : top;
    for (index_t k = 0; k < c; ++k) sum += p[k * p_stride] = vexp(z[k * stride] - top);
    for (index_t k = 0; k < c; ++k) p[k * p_stride] /= sum;
    return top + natural_log(sum);
}

FASTOPT_HD double softmax_value(index_t c, index_t stride, const double* z, const double* y,
                                double* p, index_t p_stride) {
    double l = softmax(c, z, stride, p, p_stride);
    for (index_t k = 0; k < c; ++k) l -= y[k * stride] * z[k * stride];
    return l;
}

// min logsumexp(z) - y'z + k/2 ||z - r||^2: Newton with backtracking; the Hessian is
// diag(p + k) - p p'. `work` holds three rows of the stride of z.
FASTOPT_HD void softmax_prox(index_t c, const double* r, index_t r_stride, const double* y,
                             index_t y_stride, double k, double* z, index_t stride, double* work) {
    double *p = work, *g = work + c * stride, *trial = work + 2 * c * stride;
    for (index_t i = 0; i < c; ++i) z[i * stride] = r[i * r_stride];
    const auto value = [=](const double* x) {
        double f = softmax(c, x, stride, p, stride);
        for (index_t i = 0; i < c; ++i) {
            const double xi = x[i * stride], off = xi - r[i * r_stride];
            f += -y[i * y_stride] * xi + 0.5 * k * off * off;
        }
        return f;
    };
    double f = value(z);
    for (int iteration = 0; iteration < 50; ++iteration) {
        double pw = 0, left = 0, size = 0;
        for (index_t i = 0; i < c; ++i) {
            const double pi = p[i * stride];
            const double gi = pi - y[i * y_stride] + k * (z[i * stride] - r[i * r_stride]);
            g[i * stride] = gi;
            pw += pi * gi / (pi + k);
            left += pi * k / (pi + k); // 1 - sum p^2 / (p + k)
            size = size < vabs(gi) ? vabs(gi) : size;
        }
        if (size <= 1e-15 * (1 + k)) return;
        double slope = 0;
        for (index_t i = 0; i < c; ++i) {
            const double pi = p[i * stride], gi = g[i * stride];
            const double step = gi / (pi + k) + pi / (pi + k) * pw / left;
            slope += gi * step;
            g[i * stride] = step;
        }
        double t = 1;
        for (; t > 1e-4; t *= 0.5) {
            for (index_t i = 0; i < c; ++i) trial[i * stride] = z[i * stride] - t * g[i * stride];
            const double next = value(trial);
            if (next <= f - 0.1 * t * slope || (slope < 1e-12 * (1 + vabs(f)) && t == 1)) {
                f = next;
                break;
            }
        }
        for (index_t i = 0; i < c; ++i) z[i * stride] = trial[i * stride];
        if (slope <= 1e-24 * (1 + vabs(f))) return;
    }
}

// l(f), for every loss but softmax.
FASTOPT_HD double loss_value(LossKind kind, double f, double y, double parameter) {
    const double r = f - y, slack = 1 - y * f;
    switch (kind) {
    case LossKind::squared:
        return 0.5 * r * r;
    case LossKind::logistic:
        return softplus(-y * f);
    case LossKind::hinge:
        return slack > 0 ? slack : 0;
    case LossKind::squared_hinge:
        return slack > 0 ? 0.5 * slack * slack : 0;
    case LossKind::huber:
        return huber_value(r, parameter);
    default: // quantile
        return r > 0 ? (1 - parameter) * r : -parameter * r;
    }
}

// A subgradient of l at f, for every loss but softmax.
FASTOPT_HD double loss_slope(LossKind kind, double f, double y, double parameter) {
    const double r = f - y;
    switch (kind) {
    case LossKind::squared:
        return r;
    case LossKind::logistic:
        return -y * loss_sigmoid(-y * f);
    case LossKind::hinge:
        return y * f < 1 ? -y : 0;
    case LossKind::squared_hinge:
        return y * f < 1 ? -y * (1 - y * f) : 0;
    case LossKind::huber:
        return clip(r, -parameter, parameter);
    default: // quantile
        return r > 0 ? 1 - parameter : r < 0 ? -parameter : 0;
    }
}

// l'' at f times the sample's weight, for losses that have one.
FASTOPT_HD double loss_curvature(LossKind kind, double f, double y, double s, double parameter) {
    const double p = loss_sigmoid(-y * f);
    switch (kind) {
    case LossKind::logistic:
        return s * p * (1 - p);
    case LossKind::squared_hinge:
        return y * f < 1 ? s : 0;
    case LossKind::huber:
        return vabs(f - y) <= parameter ? s : 0;
    default:
        return s;
    }
}

// min l(x) + k/2 (x - a)^2, for every loss but softmax; y = +-1 for the margin losses.
FASTOPT_HD double loss_prox(LossKind kind, double a, double y, double k, double parameter) {
    const double m = y * a;
    switch (kind) {
    case LossKind::squared:
        return (y + k * a) / (1 + k);
    case LossKind::logistic:
        return y * logistic_prox(m, k);
    case LossKind::hinge: {
        const double moved = m + 1 / k;
        return y * (m >= 1 ? m : moved < 1.0 ? moved : 1.0);
    }
    case LossKind::squared_hinge:
        return m >= 1 ? a : y * (1 + k * m) / (1 + k);
    case LossKind::huber:
        return a - clip((a - y) / (1 + k), -parameter / k, parameter / k);
    default: // quantile
        return y + (a - y) - clip(a - y, -parameter / k, (1 - parameter) / k);
    }
}

// l*(t / s) of one sample of weight s > 0; infinite outside the domain.
FASTOPT_HD double row_conjugate(LossKind kind, index_t c, index_t stride, const double* dual,
                                const double* targets, double s, double parameter) {
    double l = 0, total = 0;
    for (index_t k = 0; k < c; ++k) {
        const double y = targets[k * stride];
        double t = dual[k * stride] / s, m = -t * y;
        switch (kind) {
        case LossKind::squared:
            l += t * (0.5 * t + y);
            break;
        case LossKind::logistic:
            if (!inside(m, 0, 1)) return HUGE_VAL;
            l += entropy_term(m) + entropy_term(1 - m);
            break;
        case LossKind::softmax:
            m = t + y, total += t;
            if (!inside(m, 0, 1)) return HUGE_VAL;
            l += entropy_term(m);
            break;
        case LossKind::hinge:
            if (!inside(m, 0, 1)) return HUGE_VAL;
            l -= m;
            break;
        case LossKind::squared_hinge:
            if (m < 0) return HUGE_VAL;
            l += m * (0.5 * m - 1);
            break;
        case LossKind::huber:
            if (!inside(t, -parameter, parameter)) return HUGE_VAL;
            l += t * (0.5 * t + y);
            break;
        default: // quantile
            if (!inside(t, -parameter, 1 - parameter)) return HUGE_VAL;
            l += t * y;
            break;
        }
    }
    return vabs(total) <= 1e-9 ? l : HUGE_VAL;
}

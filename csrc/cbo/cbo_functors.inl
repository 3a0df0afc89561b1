// The mathematics of consensus-based optimisation, one number at a time, for every backend.
// Included inside a namespace, after core/vmath.hpp, by cbo/cbo_kernels.inl (CPU), by
// cbo/cbo_steps.cpp and by the GPU kernels.

template <class T> FASTOPT_HD T smaller(T a, T b) { return b < a ? b : a; }
template <class T> FASTOPT_HD T larger(T a, T b) { return b > a ? b : a; }

template <class T> FASTOPT_HD T clipped(T x, T lo, T hi) { return smaller(larger(x, lo), hi); }

// Mirrors x at the walls; a point that is still outside after two mirrors stops at the wall.
template <class T> FASTOPT_HD T reflected(T x, T lo, T hi) {
    x = x < lo ? lo + (lo - x) : x;
    x = x > hi ? hi - (x - hi) : x;
    x = x < lo ? lo + (lo - x) : x;
    return clipped(x, lo, hi);
}

template <class T> FASTOPT_HD T bounded(T x, T lo, T hi, bool clip) {
    return clip ? clipped(x, lo, hi) : reflected(x, lo, hi);
}

// One coordinate of the rule in cbo_kernels.hpp; `scale` is the row's min(||D||, truncation) when
// the noise is isotropic.
template <class T, bool isotropic> struct DriftDiffusion {
    T drift, diffusion, truncation;
    FASTOPT_HD T operator()(T deviation, T scale, T xi) const {
        const T s = isotropic ? scale : smaller(vabs(deviation), truncation);
        return diffusion * s * xi - drift * deviation;
    }
};

constexpr int sum_lanes = 8; // partial sums of a reduction, combined in a fixed tree

template <class T> FASTOPT_HD T tree_sum(const T s[sum_lanes]) {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

constexpr double infinity = HUGE_VAL;

// One Gibbs weight. The best particle keeps weight 1 at every alpha.
FASTOPT_HD double gibbs_weight(double e, double alpha, double e_min) {
    const double w = vexp(-alpha * (e - e_min));
    return e == e_min ? 1.0 : (e < infinity ? w : 0.0);
}

// The kernel ends at three widths. However much better another basin is, it cannot draw the
// particles of this one away; a Gaussian's tail times the weights of a large alpha would.
constexpr double kernel_reach = -4.5;

// e = f + penalty * violation; violation 0 where there are no constraints.
FASTOPT_HD double energy(double f, double violation, double penalty) {
    const double e = violation > 0 ? f + penalty * violation : f;
    return e == e ? e : infinity;
}

// Whether a particle's new place replaces its personal best, at the penalty now in force.
FASTOPT_HD bool replaces(double f, double violation, double best_f, double best_violation,
                         double penalty) {
    const double now = f + (violation > 0 ? penalty * violation : 0.0);
    const double then = best_f + (best_violation > 0 ? penalty * best_violation : 0.0);
    return now < then || !(best_f < infinity);
}

FASTOPT_HD double rounded(double x) { return ::rint(x); }
FASTOPT_HD float rounded(float x) { return ::rintf(x); }
FASTOPT_HD double ceiling(double x) { return ::ceil(x); }
FASTOPT_HD float ceiling(float x) { return ::ceilf(x); }
FASTOPT_HD double floored(double x) { return ::floor(x); }
FASTOPT_HD float floored(float x) { return ::floorf(x); }

// The nearest integer inside [lo, hi].
template <class T> FASTOPT_HD T integer_in(T x, T lo, T hi) {
    return clipped(rounded(x), ceiling(lo), floored(hi));
}

// alpha such that size(alpha) = (sum w)^2 / sum w^2 is the target within a thousandth: from the
// last alpha to a bracket, then secants inside it (the Illinois rule), where the logarithm of the
// size is nearly straight over that of alpha. Scale-free in f. On a GPU all threads of a block call
// it together.
FASTOPT_EITHER_SIDE template <class Size>
FASTOPT_HD double alpha_of_size(double alpha, double target, const Size& size) {
    constexpr double tolerance = 1e-3, limit = 667; // exp(667) is nearly 1e290
    double a = clipped(vlog(clipped(alpha, 1e-290, 1e290)), -limit, limit);
    double f = vlog(size(vexp(a)) / target);
    double b = a, g = f;
    const double way = f > 0 ? 1 : -1; // to the target
    for (double step = 0.1; f * way > 0; step *= 2) {
        if (vabs(f) <= tolerance || a == way * limit) return vexp(a);
        b = a, g = f;
        a = clipped(a + way * step, -limit, limit);
        f = vlog(size(vexp(a)) / target);
    }
    while (vabs(f) > tolerance && vabs(a - b) > tolerance) { // the sizes at a and b enclose it
        const double c = a + f / (f - g) * (b - a), h = vlog(size(vexp(c)) / target);
        if ((h > 0) == (f > 0))
            g *= 0.5;
        else
            b = a, g = f;
        a = c, f = h;
    }
    return vexp(a);
}

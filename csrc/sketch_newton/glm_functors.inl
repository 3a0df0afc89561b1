// The losses of generalised linear models, one sample at a time, for every backend. Included inside
// a namespace, after core/vmath.hpp and sketch_newton/glm.hpp.

struct GlmLoss {
    double value, first, second; // and its derivatives by z
};

// exp that stays a normal number; beyond the range the loss is infinite or zero anyway.
FASTOPT_HD double safe_exp(double z) { return z > 709.0 ? HUGE_VAL : vexp(fmax(z, -700.0)); }

template <Family family> FASTOPT_HD GlmLoss glm_loss(double z, double y) {
    if constexpr (family == Family::gaussian) return {0.5 * (z - y) * (z - y), z - y, 1.0};
    if constexpr (family == Family::logistic) {
        const double t = y * z, e = safe_exp(-vabs(t)), q = 1.0 / (1.0 + e);
        const double value = fmax(-t, 0.0) + vlog(1.0 + e);
        return {value, -y * (t > 0 ? e * q : q), e * q * q};
    }
    if constexpr (family == Family::poisson) {
        const double mean = safe_exp(z);
        return {mean - y * z, mean - y, mean};
    }
    const double ratio = y * safe_exp(-z);
    return {z + ratio, 1.0 - ratio, ratio};
}

// c s_i loss of sample i; z_i and w_i become those of its derivatives.
// Bytes: reads 8 count (2 + weighted); writes 16 count.
template <Family family> struct WeighedLoss {
    double factor;
    const double* y;
    const double* s; // or nullptr
    double* z;
    double* w;
    FASTOPT_HD double operator()(index_t i) const {
        const GlmLoss one = glm_loss<family>(z[i], y[i]);
        const double c = s ? factor * s[i] : factor;
        z[i] = c * one.first, w[i] = c * one.second;
        return c * one.value;
    }
};

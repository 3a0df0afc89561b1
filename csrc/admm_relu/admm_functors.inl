// The mathematics of admm_relu's loops, one number at a time, for every backend. Included inside a
// namespace, after core/vmath.hpp, by admm_steps.cpp (CPU) and by admm_steps.cu. Scalars are
// doubles, so that the structs, which are arguments of kernels, have no gaps.

template <class A, class B> struct Convert { // to = from
    const A* from;
    B* to;
    FASTOPT_HD void operator()(index_t i) const { to[i] = static_cast<B>(from[i]); }
};

template <class T> struct Subtract { // out = a - b
    const T* a;
    const T* b;
    T* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = a[i] - b[i]; }
};

template <class T> struct Add { // out = a + b
    const T* a;
    const T* b;
    T* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = a[i] + b[i]; }
};

struct Scale { // out = s x
    double s;
    const double* x;
    double* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = s * x[i]; }
};

struct ScaledDifference { // out = s (a - b)
    double s;
    const double* a;
    const double* b;
    double* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = s * (a[i] - b[i]); }
};

template <class T> struct Reflect { // out = 2 x - r
    const double* x;
    const double* r;
    T* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = static_cast<T>(2 * x[i] - r[i]); }
};

template <class T> struct Relax { // rn = r + factor (u - x)
    double factor;
    const T* r;
    const T* u;
    const double* x;
    T* rn;
    FASTOPT_HD void operator()(index_t i) const {
        rn[i] = r[i] + static_cast<T>(factor) * (u[i] - static_cast<T>(x[i]));
    }
};

struct GradientStep { // g = x - g / rho
    double rho;
    const double* x;
    double* g;
    FASTOPT_HD void operator()(index_t i) const { g[i] = x[i] - g[i] / rho; }
};

template <class T> struct AddMultiplier { // r = f + t / rho
    double rho;
    const double* f;
    const double* t;
    T* r;
    FASTOPT_HD void operator()(index_t i) const { r[i] = static_cast<T>(f[i] + t[i] / rho); }
};

struct Between { // out = a + t (b - a)
    double t;
    const double* a;
    const double* b;
    double* out;
    FASTOPT_HD void operator()(index_t i) const { out[i] = a[i] + t * (b[i] - a[i]); }
};

template <class T> struct Rescale { // r = x + (rn - x) / factor
    double factor;
    const double* x;
    const T* rn;
    T* r;
    FASTOPT_HD void operator()(index_t i) const {
        r[i] = static_cast<T>(x[i] + (static_cast<double>(rn[i]) - x[i]) / factor);
    }
};

template <class T> struct AddScaled { // e += s x
    double s;
    const T* x;
    T* e;
    FASTOPT_HD void operator()(index_t i) const { e[i] += static_cast<T>(s) * x[i]; }
};

template <class T> struct ScaleAndAdd { // y = x + s y
    double s;
    const T* x;
    T* y;
    FASTOPT_HD void operator()(index_t i) const { y[i] = x[i] + static_cast<T>(s) * y[i]; }
};

template <class T> struct AdvanceRows { // x_k += alpha_k q_k, r_k -= alpha_k g_k
    index_t n;
    const double* rho;
    const double* curvature;
    const T* q;
    const T* g;
    T* x;
    T* r;
    FASTOPT_HD void operator()(index_t i) const {
        const double a = rho[i / n], b = curvature[i / n];
        if (!(a > 0) || !(b > 0)) return;
        const T alpha = static_cast<T>(a / b);
        x[i] += alpha * q[i];
        r[i] -= alpha * g[i];
    }
};

template <class T> struct TurnRows { // q_k = y_k + next_k / rho_k q_k
    index_t n;
    const double* rho;
    const double* next;
    const T* y;
    T* q;
    FASTOPT_HD void operator()(index_t i) const {
        const double last = rho[i / n];
        const T ratio = last > 0 ? static_cast<T>(next[i / n] / last) : T(0);
        q[i] = y[i] + ratio * q[i];
    }
};

template <class T> struct Transpose { // to = from' of matrices side by side, rows x columns
    index_t rows, columns;
    const T* from;
    T* to;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t size = rows * columns, first = at / size * size, rest = at - first;
        to[at] = from[first + rest % rows * columns + rest / rows];
    }
};

template <class T> struct StepHalves { // u_1 = a_1 + s g, u_2 = a_2 - s g
    double s;
    index_t half, signs;
    const T* a;
    const T* g;
    T* u;
    FASTOPT_HD void operator()(index_t i) const {
        const T step = static_cast<T>(s) * g[i];
        u[i] = a[i] + step;
        if (signs == 2) u[half + i] = a[half + i] - step;
    }
};

template <class T> struct JoinHalves { // u_1, u_2 = (a_1 + a_2 +- delta) / 2, or delta
    index_t half, signs;
    const T* a;
    const T* delta;
    T* u;
    FASTOPT_HD void operator()(index_t i) const {
        if (signs == 1) {
            u[i] = delta[i];
            return;
        }
        const T sum = a[i] + a[half + i];
        u[i] = T(0.5) * (sum + delta[i]);
        u[half + i] = T(0.5) * (sum - delta[i]);
    }
};

template <class T> struct NextDifferences { // Anderson: g and rn step on, their differences stay
    const T* rn;
    T* last_rn;
    T* last_g;
    T* dg; // holds g
    T* dr;
    FASTOPT_HD void operator()(index_t i) const {
        const T g = dg[i];
        dg[i] = g - last_g[i];
        last_g[i] = g;
        dr[i] = rn[i] - last_rn[i];
        last_rn[i] = rn[i];
    }
};

// prox of level ||.||: what a block of this norm is multiplied with.
FASTOPT_HD double shrink_factor(double norm, double level) {
    return norm > level ? 1 - level / norm : 0.0;
}

// Hashes: FNV-1a over whole words.
constexpr std::uint64_t hash_start = 1469598103934665603u;
FASTOPT_HD std::uint64_t mixed(std::uint64_t h, std::uint64_t word) {
    return (h ^ word) * 1099511628211u;
}
